/** The first argument that asks for candidates (`complete.ts`), and is no command of the program. */
export const COMPLETE = 'complete';
