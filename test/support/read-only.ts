/** A file system that is mounted read-only from some folder on: what Linux answers there, also to root. */

import nodeFs, { constants } from 'node:fs/promises';
import { relative } from 'node:path';
import type { FileSystem } from '../../src/archive/disk.ts';

/** @param isOn false = mounted for writing again */
export function readOnlyBelow(root: string, isOn: () => boolean = () => true): FileSystem {
  const isBelow = (path: unknown) => isOn() && !relative(root, String(path)).startsWith('..');
  const refuse = () => Promise.reject(Object.assign(new Error('EROFS: read-only file system'), { code: 'EROFS' }));
  const writes = (flags: unknown) =>
    typeof flags === 'string'
      ? /[wa+]/.test(flags)
      : (Number(flags) & (constants.O_WRONLY | constants.O_RDWR | constants.O_CREAT)) !== 0;
  const changing = ['chmod', 'rename', 'rm', 'rmdir', 'unlink'] as const;
  const refusing = Object.fromEntries(
    changing.map((name) => [
      name,
      (path: string, ...args: never[]) =>
        isBelow(path) ? refuse() : (nodeFs[name] as (...all: unknown[]) => Promise<unknown>)(path, ...args),
    ]),
  );
  return {
    ...nodeFs,
    ...refusing,
    access: (path, mode = 0) => (isBelow(path) && (mode & constants.W_OK) !== 0 ? refuse() : nodeFs.access(path, mode)),
    // mkdir(2) looks first: what is there is EEXIST, also where nothing could be made.
    mkdir: (async (path: string, options: object) => {
      if (isBelow(path) && !(await nodeFs.lstat(path).catch(() => null))) return refuse();
      return nodeFs.mkdir(path, options);
    }) as FileSystem['mkdir'],
    open: (path, flags, mode) => (isBelow(path) && writes(flags) ? refuse() : nodeFs.open(path, flags, mode)),
  };
}
