/** The person's files, asked for over a session: what is done is done in their process, with their rights. */

import type { FileFacts, FolderEntry, OpenFile, PersonFiles } from '../../client/files.ts';
import {
  ENTRIES_AT_ONCE,
  type FileRequest,
  PIECE_BYTES,
  bytePieces,
  entriesSchema,
  fileBytesSchema,
  fileFactsSchema,
  folderSchema,
} from '../../control/contract/session-messages.ts';

/**
 * Sends one request; resolves to the value of its reply.
 * @throws EspdError, or an error with a code of the system, as it was there
 */
export type AskFor = (request: FileRequest) => Promise<unknown>;

/** One request at a time for each file: what is on its way is at most a piece of each. */
export class RemoteFiles implements PersonFiles {
  readonly #ask: AskFor;
  #next = 1;

  constructor(ask: AskFor) {
    this.#ask = ask;
  }

  async checkNewFile(path: string): Promise<void> {
    await this.#ask({ op: 'check-new', path });
  }

  async writeNewFile(path: string, content: AsyncIterable<Uint8Array | string>): Promise<void> {
    const file = this.#next++;
    await this.#ask({ op: 'create', file, path });
    try {
      for await (const part of content) {
        const bytes = typeof part === 'string' ? Buffer.from(part) : part;
        for (const piece of bytePieces(bytes)) {
          await this.#ask({ op: 'write', file, data: piece.toString('base64') });
        }
      }
    } catch (error) {
      // Where the write itself has failed, there is nothing left to discard.
      await this.#ask({ op: 'discard', file }).catch(() => undefined);
      throw error;
    }
    await this.#ask({ op: 'finish', file });
  }

  async open(path: string, { followLinks }: { readonly followLinks: boolean }): Promise<OpenFile> {
    const file = this.#next++;
    await this.#ask({ op: 'open', file, path, followLinks });
    return new RemoteFile(this.#ask, file);
  }

  async list(path: string): Promise<readonly FolderEntry[]> {
    const file = this.#next++;
    const { count } = folderSchema.parse(await this.#ask({ op: 'list', file, path }));
    const entries: FolderEntry[] = [];
    for (let from = 0; from < count; from += ENTRIES_AT_ONCE) {
      entries.push(...entriesSchema.parse(await this.#ask({ op: 'entries', file, from })).entries);
    }
    await this.#ask({ op: 'close', file });
    return entries;
  }
}

class RemoteFile implements OpenFile {
  readonly #ask: AskFor;
  readonly #file: number;

  constructor(ask: AskFor, file: number) {
    this.#ask = ask;
    this.#file = file;
  }

  async stat(): Promise<FileFacts> {
    return fileFactsSchema.parse(await this.#ask({ op: 'stat', file: this.#file }));
  }

  async read(offset: number, length: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    for (let filled = 0; filled < length;) {
      const wanted = Math.min(PIECE_BYTES, length - filled);
      const request = { op: 'read', file: this.#file, offset: offset + filled, length: wanted } as const;
      const piece = Buffer.from(fileBytesSchema.parse(await this.#ask(request)).data, 'base64').subarray(0, wanted);
      pieces.push(piece);
      filled += piece.length;
      if (piece.length < wanted) break;
    }
    return Buffer.concat(pieces);
  }

  async close(): Promise<void> {
    await this.#ask({ op: 'close', file: this.#file });
  }
}
