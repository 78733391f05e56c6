/** What has changed between two flash images. */

export { compareFlash, sameBlocks, type CompareOptions, type ComparedImage } from './compare.ts';
export type * from './types.ts';
