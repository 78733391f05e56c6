/** A file of somebody's disk to the bytes that it holds of a flash: whatever stands there, in bounded time and memory. */

import { inflate } from '../../archive/compression.ts';
import { type OpenFile, type PersonFiles, chunksOf } from '../../client/files.ts';
import { EspdError, systemCode } from '../../errors.ts';
import { LARGEST_FLASH_BYTES } from '../../firmware/dump/compose.ts';
import { IntelHexReader, type HexRun } from '../../firmware/dump/intel-hex.ts';
import { HEAD_BYTES, otherFile } from '../../firmware/dump/other-files.ts';
import { printable } from '../../printable.ts';

/** What was read of one file. */
export interface DumpFile {
  readonly path: string;
  /** When the file was written last, as its file system says. */
  readonly modifiedAt: Date;
  /** `hex` where the runs have addresses of their own; a file without them is one run at 0. */
  readonly form: 'binary' | 'hex';
  /** Sorted, none empty, none overlapping another; at most 128 MiB together. */
  readonly runs: readonly HexRun[];
}

/** Of a text as Intel HEX: 128 MiB in records of 16 bytes have 360 MiB. */
const LARGEST_HEX_BYTES = 512 * 1024 * 1024;
const LARGEST_TEXT = '128 MB, the size of the largest flash';
/** A first record: an encrypted flash may begin with a colon, but not with ten digits behind it. */
const HEX_START = /^:[0-9a-f]{10}/i;

/**
 * Reads a dump: as it is, packed with gzip, or as Intel HEX, by what it begins with. No link is followed and nothing but a
 * regular file is opened for good; not more than 128 MiB are unpacked.
 *
 * @throws EspdError `input-unreadable`, `not-an-image`; the signal's reason
 */
export async function readDumpFile(
  files: Pick<PersonFiles, 'open'>,
  path: string,
  signal: AbortSignal,
): Promise<DumpFile> {
  const name = printable(path);
  const file = await openFile(files, path, name);
  try {
    const before = await file.stat();
    if (before.kind !== 'file') throw noFile(name, before.kind === 'folder');
    const content = new Content(name);
    const head = await file.read(0, 2);
    const isGzip = head.length === 2 && head.readUInt16BE(0) === 0x1f8b;
    if (isGzip) await unpack(file, signal, content, name);
    else for await (const chunk of chunksOf(file, signal)) content.take(chunk);
    const after = await file.stat();
    if (after.sizeBytes !== before.sizeBytes || after.modifiedAtMs !== before.modifiedAtMs) {
      throw new EspdError('input-unreadable', `${name} has changed while it was read`, {
        hint: 'Another program is still writing it: wait for it, and try again',
      });
    }
    return { path, modifiedAt: new Date(Math.round(before.modifiedAtMs)), ...content.finish() };
  } catch (error) {
    throw toInputError(error, name);
  } finally {
    await file.close();
  }
}

async function openFile(files: Pick<PersonFiles, 'open'>, path: string, name: string): Promise<OpenFile> {
  try {
    return await files.open(path, { followLinks: false });
  } catch (error) {
    throw toInputError(error, name);
  }
}

function noFile(name: string, isFolder: boolean): EspdError {
  return new EspdError('input-unreadable', `${name} is ${isFolder ? 'a folder' : 'no regular file'}`, {
    hint: isFolder ? 'Name a file in it' : 'Only files are imported: no pipes, sockets or devices',
  });
}

const REASONS: Readonly<Record<string, readonly [what: string, hint: string]>> = {
  ENOENT: ['is missing', 'Check the path'],
  ENOTDIR: ['is missing: a part of its path is no folder', 'Check the path'],
  EACCES: ['may not be read by this user', 'Give this user the right to read it, or run espd as another one'],
  EPERM: ['may not be read by this user', 'Give this user the right to read it, or run espd as another one'],
  ELOOP: ['is a symbolic link, and none is followed', 'Name the file that it leads to: "readlink -f" tells'],
  EMLINK: ['is a symbolic link, and none is followed', 'Name the file that it leads to: "readlink -f" tells'],
  ENXIO: ['is no regular file', 'Only files are imported: no pipes, sockets or devices'],
  ENODEV: ['is no regular file', 'Only files are imported: no pipes, sockets or devices'],
  ENAMETOOLONG: ['has a name that is too long', 'Check the path'],
  EISDIR: ['is a folder', 'Name a file in it'],
};

/** Errors of the system in words; espd's own, and aborts, stay what they are. */
export function toInputError(error: unknown, name: string): unknown {
  const code = error instanceof EspdError ? undefined : systemCode(error);
  if (code === undefined || code === 'ABORT_ERR') return error;
  const [what, hint] = REASONS[code] ?? [`cannot be read: ${code}`, 'The disk may report a fault: see dmesg'];
  return new EspdError('input-unreadable', `${name} ${what}`, { hint, cause: error });
}

async function unpack(file: OpenFile, signal: AbortSignal, content: Content, name: string): Promise<void> {
  try {
    await inflate('gzip', chunksOf(file, signal), LARGEST_FLASH_BYTES, (chunk) => {
      content.take(chunk);
    });
  } catch (error) {
    const code = error instanceof EspdError ? undefined : systemCode(error);
    if (code === 'EFBIG') throw tooLarge(name, `unpacks to more than ${LARGEST_TEXT}`);
    if (code?.startsWith('Z_') !== true) throw error;
    const what = code === 'Z_BUF_ERROR' ? 'is cut off' : 'is damaged';
    throw new EspdError('not-an-image', `${name} is packed with gzip and ${what}`, {
      hint: '"gzip -t" says the same of it. Look for another copy',
      cause: error,
    });
  }
}

function tooLarge(name: string, what: string): EspdError {
  return new EspdError('not-an-image', `${name} ${what}`, { hint: 'Import what was read out of one flash' });
}

/** Collects what comes, and knows by the first bytes what it is. */
class Content {
  readonly #name: string;
  readonly #chunks: Buffer[] = [];
  #lengthBytes = 0;
  #hex: IntelHexReader | undefined;

  constructor(name: string) {
    this.#name = name;
  }

  /** @throws EspdError `not-an-image` for a file that is too large, or seen to be of another kind */
  take(chunk: Buffer): void {
    if (this.#lengthBytes === 0) {
      if (HEX_START.test(chunk.toString('latin1', 0, 11))) this.#hex = new IntelHexReader(LARGEST_FLASH_BYTES);
      // A shorter piece says too little; the whole is judged in any case, once it is there.
      else if (chunk.length >= HEAD_BYTES) this.#refuseOthers(chunk);
    }
    this.#lengthBytes += chunk.length;
    if (this.#hex !== undefined) {
      if (this.#lengthBytes > LARGEST_HEX_BYTES) throw tooLarge(this.#name, 'has more text than a flash of 128 MB');
      if (!this.#hex.push(chunk)) this.finish();
    } else {
      if (this.#lengthBytes > LARGEST_FLASH_BYTES) throw tooLarge(this.#name, `has more than ${LARGEST_TEXT}`);
      this.#chunks.push(chunk);
    }
  }

  /** @throws EspdError `not-an-image` */
  finish(): Pick<DumpFile, 'form' | 'runs'> {
    if (this.#lengthBytes === 0) this.#refuseOthers(Buffer.alloc(0));
    if (this.#hex === undefined) {
      return { form: 'binary', runs: [{ offset: 0, bytes: Buffer.concat(this.#chunks) }] };
    }
    const { runs, problem } = this.#hex.finish();
    if (runs !== null) return { form: 'hex', runs };
    throw new EspdError('not-an-image', `${this.#name} ${problem}`, {
      hint: 'Make it anew, or import the image as binary',
    });
  }

  #refuseOthers(head: Buffer): void {
    const other = otherFile(head.subarray(0, HEAD_BYTES));
    if (other !== null) throw new EspdError('not-an-image', `${this.#name} ${other.what}`, { hint: other.hint });
  }
}
