/** What a daemon asks for of the person's files, done by this process with the person's rights: only what they have named. */

import type { TouchableFiles } from '../control/contract/relayed-commands.ts';
import { ENTRIES_AT_ONCE, type FileReply, type FileRequest } from '../control/contract/session-messages.ts';
import { EspdError, systemCode, toEspdError } from '../errors.ts';
import { printable } from '../printable.ts';
import type { FolderEntry, OpenFile, PersonFiles } from './files.ts';

/** A command has one file open, or a folder; this is a bound and no limit that is met. */
const MOST_OPEN = 16;

/** Answers requests; those of one file come one after the other, as a command sends them. */
export class ServedFiles {
  readonly #files: PersonFiles;
  readonly #touchable: TouchableFiles;
  readonly #reading = new Map<number, OpenFile>();
  readonly #folders = new Map<number, readonly FolderEntry[]>();
  readonly #writing = new Map<number, NewFile>();

  constructor(files: PersonFiles, touchable: TouchableFiles) {
    this.#files = files;
    this.#touchable = touchable;
  }

  /** Never rejects: what goes wrong is in the reply. */
  async reply(id: number, request: FileRequest): Promise<FileReply> {
    try {
      return { type: 'file-reply', id, value: await this.#do(request) };
    } catch (error) {
      const system = error instanceof EspdError ? undefined : systemCode(error);
      return { type: 'file-reply', id, error: system === undefined ? toEspdError(error).toJSON() : { system } };
    }
  }

  /** Nothing half written is left, and nothing open. */
  async close(): Promise<void> {
    const writing = [...this.#writing.values()].map((file) => file.discard().catch(() => undefined));
    const reading = [...this.#reading.values()].map((file) => file.close().catch(() => undefined));
    this.#writing.clear();
    this.#reading.clear();
    this.#folders.clear();
    await Promise.all([...writing, ...reading]);
  }

  async #do(request: FileRequest): Promise<unknown> {
    switch (request.op) {
      case 'check-new':
        this.#mayCreate(request.path);
        return this.#files.checkNewFile(request.path);
      case 'create': {
        this.#mayCreate(request.path);
        this.#mayOpen(request.file);
        const file = new NewFile();
        this.#writing.set(request.file, file);
        return file.begin(this.#files, request.path);
      }
      case 'write':
        return this.#newFile(request.file).write(Buffer.from(request.data, 'base64'));
      case 'finish': {
        const file = this.#newFile(request.file);
        this.#writing.delete(request.file);
        return file.finish();
      }
      case 'discard': {
        const file = this.#newFile(request.file);
        this.#writing.delete(request.file);
        return file.discard();
      }
      case 'open': {
        this.#mayRead(request.path);
        this.#mayOpen(request.file);
        const file = await this.#files.open(request.path, { followLinks: request.followLinks });
        this.#reading.set(request.file, file);
        return undefined;
      }
      case 'stat':
        return this.#openFile(request.file).stat();
      case 'read': {
        const bytes = await this.#openFile(request.file).read(request.offset, request.length);
        return { data: bytes.toString('base64') };
      }
      case 'list': {
        this.#mayRead(request.path);
        this.#mayOpen(request.file);
        const entries = await this.#files.list(request.path);
        this.#folders.set(request.file, entries);
        return { count: entries.length };
      }
      case 'entries': {
        const entries = this.#folders.get(request.file) ?? notOpen();
        return { entries: entries.slice(request.from, request.from + ENTRIES_AT_ONCE) };
      }
      case 'close': {
        const file = this.#reading.get(request.file);
        this.#reading.delete(request.file);
        this.#folders.delete(request.file);
        return file?.close();
      }
    }
  }

  #newFile(file: number): NewFile {
    return this.#writing.get(file) ?? notOpen();
  }

  #openFile(file: number): OpenFile {
    return this.#reading.get(file) ?? notOpen();
  }

  #mayOpen(file: number): void {
    const isTaken = [this.#reading, this.#writing, this.#folders].some((open) => open.has(file));
    const isFull = this.#reading.size + this.#writing.size + this.#folders.size >= MOST_OPEN;
    if (isTaken || isFull) throw refused('The daemon asks for too many files at once');
  }

  #mayRead(path: string): void {
    if (!this.#touchable.mayRead(path)) throw notNamed(path);
  }

  #mayCreate(path: string): void {
    if (!this.#touchable.mayCreate(path)) throw notNamed(path);
  }
}

/** A file in the making: pieces that come one by one are what the local implementation takes as the content. */
class NewFile {
  #written: Promise<void> = Promise.resolve();
  /** Takes the next piece; a null ends the content, an error breaks it off. */
  #give: (next: Buffer | null | Error) => void = () => undefined;
  #onWanted: () => void = () => undefined;
  #discarded: Error | undefined;

  /** Resolves when the file is there to be written to. */
  begin(files: PersonFiles, path: string): Promise<void> {
    const wanted = this.#wanted();
    this.#written = files.writeNewFile(path, this.#content());
    return this.#settled(wanted);
  }

  /** Resolves when the piece has been written. */
  write(piece: Buffer): Promise<void> {
    const wanted = this.#wanted();
    this.#give(piece);
    return this.#settled(wanted);
  }

  finish(): Promise<void> {
    this.#give(null);
    return this.#written;
  }

  async discard(): Promise<void> {
    const discarded = new Error('discarded');
    this.#discarded = discarded;
    this.#give(discarded);
    await this.#written.catch((error: unknown) => {
      if (error !== discarded) throw error;
    });
  }

  /** The writing fails instead of asking for more: whichever comes first. */
  #settled(wanted: Promise<void>): Promise<void> {
    return Promise.race([wanted, this.#written.then(() => notOpen())]);
  }

  #wanted(): Promise<void> {
    return new Promise((resolve) => {
      this.#onWanted = resolve;
    });
  }

  async *#content(): AsyncGenerator<Buffer> {
    for (;;) {
      if (this.#discarded !== undefined) throw this.#discarded;
      const next = await new Promise<Buffer | null | Error>((resolve) => {
        this.#give = resolve;
        this.#onWanted();
      });
      if (next === null) return;
      if (next instanceof Error) throw next;
      yield next;
    }
  }
}

function notNamed(path: string): EspdError {
  return refused(`The daemon asks for ${printable(path)}, which this command line does not name`);
}

function refused(message: string): EspdError {
  return new EspdError('daemon-protocol', message, {
    hint: 'It was not touched. Is the daemon the one of this machine?',
  });
}

function notOpen(): never {
  throw refused('The daemon speaks of a file that is not open');
}
