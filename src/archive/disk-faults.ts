/** What failures of the disk mean for the archive: full, not to be written, damaged, or just not readable now. */

import { EspdError, systemCode } from '../errors.ts';
import type { ErrorCode } from '../errors.ts';
import { noInodes } from './inodes.ts';

/** Whether an error says that the disk is full, or what this user may take of it. */
export function isDiskFull(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT'].includes(systemCode(error) ?? '');
}

/** What a failure while writing in the archive means; errors that are no system errors stay what they are. */
export function toWriteError(error: unknown, root: string): unknown {
  const code = faultCode(error);
  if (code === undefined) return error;
  if (code === 'ENOSPC' && (error as { lacksInodes?: boolean }).lacksInodes === true) return noInodes(root, error);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new EspdError('disk-full', `No space left in the archive ${root}`, {
      hint:
        code === 'EDQUOT'
          ? 'The disk quota of this user is used up: free some space or raise it: of bytes, or of files'
          : 'Free some space on the disk of the archive',
      cause: error,
    });
  }
  const reason = (error as Error).message;
  const hints: Readonly<Record<string, string>> = {
    EROFS: 'The file system is mounted read-only: an unclean disk is often mounted so; see dmesg',
    EACCES: 'Run espd as the user that owns the archive, or give this user the right to write there',
    EPERM: 'Run espd as the user that owns the archive, or give this user the right to write there',
    ENOTDIR: 'A file stands where a folder is needed: move it away',
    EEXIST: 'Something else writes into the archive: see what else runs there',
    ELOOP: 'A symbolic link stands where a file or folder is needed: espd follows none inside the archive',
    EIO: 'The disk reports a fault: see dmesg',
  };
  return new EspdError('archive-unwritable', `The archive ${root} cannot be written: ${reason}`, {
    hint: hints[code] ?? 'Look at the folder with "ls -la" and "df"',
    cause: error,
  });
}

/** What is wrong with a file or folder of the archive. */
export interface Fault {
  readonly code: ErrorCode;
  /** A sentence fragment after its name. */
  readonly problem: string;
  readonly hint: string;
}

/**
 * What a failure while reading a file or folder of the archive means. Only what the system says of the thing itself
 * (there is none, it is a link, no regular file, cut off) is a fact about the archive, so `archive-damaged`. Every other
 * failure tells nothing of the content: `archive-unreadable`. Throws errors that are neither the system's nor zlib's.
 */
export function readFault(error: unknown): Fault {
  const damaged = (problem: string): Fault => ({ code: 'archive-damaged', problem, hint: '' });
  const unreadable = (problem: string, hint: string): Fault => ({ code: 'archive-unreadable', problem, hint });
  const code = faultCode(error);
  switch (code) {
    case 'ENOENT':
      return damaged('is missing');
    case 'ELOOP':
      return damaged('is a symbolic link; espd follows none');
    case 'EISDIR':
    case 'ENXIO': // open(2): a socket, or a device file without a device
    case 'ENODEV':
      return damaged('is no regular file');
    case 'ENOTDIR':
      return damaged('is no folder');
    case 'EFBIG':
      return damaged('is larger than such a file can be');
    case 'EACCES':
    case 'EPERM':
      return unreadable('may not be read by this user', 'Run espd as the user that owns the archive, or as root');
    case 'EMFILE':
    case 'ENFILE':
      return unreadable(
        `cannot be read now: too many files are open (${code})`,
        'Close other programs, or raise the limit ("ulimit -n"), and try again',
      );
    case 'ENOMEM':
    case 'Z_MEM_ERROR':
    case 'ESTALE': // a network file system has lost sight of it
    case 'EINTR':
    case 'EAGAIN':
    case 'ETIMEDOUT':
      return unreadable(`cannot be read now: ${code}`, 'Try again later');
    case 'Z_BUF_ERROR':
      return damaged('is cut off');
    case 'Z_DATA_ERROR':
    case 'Z_NEED_DICT':
    case 'Z_STREAM_ERROR':
      return damaged('is no sound gzip file');
    case 'ZSTD_DATA_ERROR': // of zstd.ts
      return damaged('is no sound zstd file');
    case undefined:
      throw error;
    default:
      return unreadable(
        `cannot be read: ${(error as Error).message}`,
        'The disk, or the way to it, reports a fault: see dmesg',
      );
  }
}

/** The code of an error of the system or of zlib; undefined for espd's own, for aborts and for faults of a caller. */
function faultCode(error: unknown): string | undefined {
  const code = error instanceof EspdError ? undefined : systemCode(error);
  return code === undefined || code === 'EBADF' || code === 'ABORT_ERR' || code.startsWith('ERR_') ? undefined : code;
}
