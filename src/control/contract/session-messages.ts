/**
 * What is said between a person's espd, the daemon, and the process that does the command: JSON, one message a line.
 * Both legs speak the same messages; the daemon hands on what is not meant for it. Pure.
 *
 * ```
 * person's espd <- HTTP upgrade on the daemon's socket -> daemon <- stdio -> espd relay
 * ```
 */

import { z } from 'zod';
import { ERROR_CODES, type ErrorCode, EspdError } from '../../errors.ts';
import { type Mac, parseMac } from '../../mac.ts';

/** Value of the header `Upgrade`; the number changes when an older side would misunderstand a newer one. */
export const SESSION_PROTOCOL = 'espd-session/1';
export const SESSION_PATH = '/v1/session';
/** Header of both sides: the version of espd that speaks. */
export const VERSION_HEADER = 'espd-version';
/** Header of the daemon's answer: the folder of its archive, percent-encoded (encodeURIComponent). */
export const ARCHIVE_HEADER = 'espd-archive';

/** Without the newline. A piece of a file in base64, or 32 Ki characters that all need an escape, fit with room to spare. */
export const MAX_LINE_BYTES = 512 * 1024;
/** The most bytes of a file, or of an output that is no text, in one message. */
export const PIECE_BYTES = 256 * 1024;
/** The most UTF-16 units of text in one message: JSON writes each with at most 6 bytes. */
const TEXT_UNITS = 32 * 1024;
/** Of one command line. */
export const MAX_ARGUMENTS = 20_000;
/** UTF-16 units of a variable of the person's environment. */
export const MAX_VARIABLE_UNITS = 256;
/** The most names of a folder in one message. */
export const ENTRIES_AT_ONCE = 250;

const id = z.int().min(0).max(Number.MAX_SAFE_INTEGER);
const name = z.string().max(4096);
const text = z.string().max(MAX_LINE_BYTES);
const size = z.int().min(0).max(Number.MAX_SAFE_INTEGER);
/** An error as it is told. */
export const errorSchema = z.object({
  code: z.string().refine((code): code is ErrorCode => Object.hasOwn(ERROR_CODES, code)),
  message: text,
  hint: text,
});
/** An error of espd, as `EspdError.toJSON` gives it. */
export type ErrorFields = z.output<typeof errorSchema>;

const streamFacts = z.object({
  isTTY: z.boolean(),
  /** Width in characters; null where the stream has none. */
  columns: z.int().min(0).max(65_535).nullable(),
  rows: z.int().min(0).max(65_535).nullable(),
});
export type StreamFacts = z.output<typeof streamFacts>;

/** Variables of the person's environment that matter to what a command says. */
export const TOLD_VARIABLES = ['NO_COLOR', 'TERM', 'LANG', 'TZ'] as const;

const begin = z.object({
  type: z.literal('begin'),
  /** The command line, without node and script. */
  args: z.array(text).max(MAX_ARGUMENTS),
  /** Folder that relative paths are relative to. */
  cwd: name,
  terminal: z.object({ stdout: streamFacts, stderr: streamFacts, canAsk: z.boolean() }),
  env: z.partialRecord(z.enum(TOLD_VARIABLES), z.string().max(MAX_VARIABLE_UNITS)),
  /** Whether `plan`, `event` and `result` are wanted: the daemon's to say. */
  report: z.boolean().default(false),
});
export type Begin = z.output<typeof begin>;

const fileError = z.object({ system: z.string().max(64) });

/** Of the person's process, for the one that does the command. */
const personSchemas = [
  begin,
  z.object({ type: z.literal('answer'), id, text: text.optional(), error: errorSchema.optional() }),
  z.object({ type: z.literal('signal') }),
  z.object({ type: z.literal('columns'), stream: z.enum(['stdout', 'stderr']), ...streamFacts.shape }),
  z.object({
    type: z.literal('file-reply'),
    id,
    value: z.unknown().optional(),
    /** One of espd's, or a code of the system (ENOENT). */
    error: z.union([errorSchema, fileError]).optional(),
  }),
] as const;

/** Of the daemon, for the process that does the command. */
const daemonSchemas = [
  z.object({ type: z.literal('port-wait'), id, job: z.string().max(64) }),
  z.object({ type: z.literal('port-reply'), id, error: errorSchema.optional() }),
] as const;

const path = name;
/** A file that is open on the person's side: a number that the asking side has chosen. */
const file = z.int().min(0).max(Number.MAX_SAFE_INTEGER);

const fileRequests = [
  z.object({ op: z.literal('check-new'), path }),
  z.object({ op: z.literal('create'), file, path }),
  z.object({ op: z.literal('write'), file, data: text }),
  z.object({ op: z.literal('finish'), file }),
  z.object({ op: z.literal('discard'), file }),
  z.object({ op: z.literal('open'), file, path, followLinks: z.boolean() }),
  z.object({ op: z.literal('stat'), file }),
  z.object({ op: z.literal('read'), file, offset: size, length: z.int().min(0).max(PIECE_BYTES) }),
  z.object({ op: z.literal('list'), file, path }),
  z.object({ op: z.literal('entries'), file, from: size }),
  z.object({ op: z.literal('close'), file }),
] as const;
const fileRequest = z.discriminatedUnion('op', fileRequests);
/** Something to be done with a file of the person's. */
export type FileRequest = z.output<typeof fileRequest>;

export const fileFactsSchema = z.object({
  kind: z.enum(['file', 'folder', 'pipe', 'socket', 'device']),
  sizeBytes: size,
  modifiedAtMs: z.number(),
});
export const fileBytesSchema = z.object({ data: text });
export const folderSchema = z.object({ count: size });
export const entriesSchema = z.object({
  entries: z.array(z.object({ name, isFolder: z.boolean() })).max(ENTRIES_AT_ONCE),
});

/** Of the process that does the command, for the person's. */
const toPersonSchemas = [
  z.object({
    type: z.literal('output'),
    stream: z.enum(['stdout', 'stderr']),
    /** Text; or bytes in base64. */
    data: text.optional(),
    base64: text.optional(),
  }),
  z.object({ type: z.literal('ask'), id, question: text }),
  z.object({ type: z.literal('file'), id, request: fileRequest }),
  z.object({ type: z.literal('end'), status: z.int().min(0).max(255), error: errorSchema.optional() }),
] as const;

const mac = z.string().refine((text): text is Mac => parseMac(text) === text);
const aboutText = z.string().max(4096).nullable();
const errorMark = { port: name, error: errorSchema };
const firmware = z.object({ name, version: name.nullable() }).nullable();
const kept = {
  ...{ job: z.null(), port: name, mac, id: name, chip: name, sizeBytes: size, flashBytesRead: size, wireBytes: size },
  ...{ seconds: z.number().min(0), retries: size, baudRate: size.nullable(), firmware },
};
/** What a command has done to a board or a backup, or noted of it, as the daemon's event of that name tells it to others. */
const markSchemas = [
  z.object({ type: z.literal('backup-kept'), ...kept, aliasedAtBytes: size.nullable() }),
  z.object({ type: z.literal('backup-unchanged'), ...kept }),
  z.object({ type: z.literal('new-board'), port: name, mac, chip: name, id: name }),
  z.object({ type: z.literal('firmware-changed'), port: name, mac, id: name, before: firmware, now: firmware }),
  z.object({ type: z.literal('board-restored'), port: name, mac, from: mac, id: name, sectors: size }),
  z.object({ type: z.literal('half-restored'), mac, ...errorMark }),
  z.object({ type: z.literal('board-stuck'), mac, ...errorMark }),
  z.object({ type: z.literal('board-described'), mac, label: aboutText, note: aboutText, group: aboutText }),
  z.object({ type: z.literal('backup-pinned'), mac, id: name, pinned: z.boolean() }),
  z.object({ type: z.literal('backup-imported'), mac, id: name }),
  z.object({ type: z.literal('backup-removed'), mac, id: name, sizeBytes: size, why: z.string().max(4096) }),
  z.object({ type: z.literal('backup-released'), mac, id: name, sizeBytes: size }),
  z.object({ type: z.literal('backup-pulled'), mac, id: name, fetchedBytes: size, reusedBytes: size }),
] as const;

/** Of the process that does the command, for the daemon. */
const toDaemonSchemas = [
  z.object({
    type: z.literal('port'),
    id,
    op: z.literal('take'),
    address: name,
    purpose: z.object({
      command: z.string().max(64),
      /** End the daemon's own job there, instead of waiting for it. */
      now: z.boolean(),
    }),
  }),
  z.object({ type: z.literal('port-release'), id }),
  z.object({
    type: z.literal('progress'),
    /** Null: the command works at none. */
    port: name.nullable(),
    phase: z.string().max(64),
    mac: z.string().max(64).optional(),
    doneBytes: size.optional(),
    totalBytes: size.optional(),
  }),
  /** What a restore is about to do; the next question is about it. */
  z.object({ type: z.literal('plan'), plan: z.unknown() }),
  /** One of many documents of a command that goes on: what became of a board. */
  z.object({ type: z.literal('event'), event: z.unknown() }),
  /** The JSON document of the command, whatever the person sees; null where it was too long for a line. */
  z.object({ type: z.literal('result'), document: z.unknown() }),
  ...markSchemas,
] as const;

const toCommand = z.discriminatedUnion('type', [...personSchemas, ...daemonSchemas]);
const fromPerson = z.discriminatedUnion('type', personSchemas);
const toPerson = z.discriminatedUnion('type', toPersonSchemas);
const fromCommand = z.discriminatedUnion('type', [...toPersonSchemas, ...toDaemonSchemas]);

/** What the process that does the command is told. */
export type ToCommand = z.output<typeof toCommand>;
export type FromPerson = z.output<typeof fromPerson>;
export type ToPerson = z.output<typeof toPerson>;
/** What the process that does the command says. */
export type FromCommand = z.output<typeof fromCommand>;
export type PortPurpose = Extract<FromCommand, { type: 'port' }>['purpose'];
export type ProgressMessage = Extract<FromCommand, { type: 'progress' }>;
export type MarkMessage = z.output<(typeof markSchemas)[number]>;
export type FileReply = Extract<FromPerson, { type: 'file-reply' }>;

const MARKS: ReadonlySet<string> = new Set(markSchemas.map(({ shape }) => shape.type.value));

/** Whether a message is for everybody who follows the daemon's events. */
export function isMark(message: FromCommand): message is MarkMessage {
  return MARKS.has(message.type);
}

/** One line with its newline. */
export function encodeMessage(message: ToCommand | FromCommand): string {
  return `${JSON.stringify(message)}\n`;
}

export interface Received<T> {
  readonly message: T;
  /** As it came, with its newline: to be handed on. */
  readonly line: Buffer;
}

/** Bytes to messages: lines of bounded length, each one of the messages that are expected from that side. */
export class MessageReader<T> {
  readonly #schema: z.ZodType<T>;
  #pieces: Buffer[] = [];
  #lengthBytes = 0;
  #isBroken = false;

  private constructor(schema: z.ZodType<T>) {
    this.#schema = schema;
  }

  static toCommand(): MessageReader<ToCommand> {
    return new MessageReader(toCommand);
  }

  static fromPerson(): MessageReader<FromPerson> {
    return new MessageReader(fromPerson);
  }

  static toPerson(): MessageReader<ToPerson> {
    return new MessageReader(toPerson);
  }

  static fromCommand(): MessageReader<FromCommand> {
    return new MessageReader(fromCommand);
  }

  /** Whether a line has begun that is not complete. */
  get isInLine(): boolean {
    return this.#lengthBytes > 0;
  }

  /**
   * The messages that are complete with `chunk`, in order.
   * @throws EspdError `daemon-protocol` at a line that is too long or no message; nothing more is read then
   */
  *push(chunk: Buffer): Generator<Received<T>> {
    for (let at = 0; at < chunk.length && !this.#isBroken;) {
      const end = chunk.indexOf(0x0a, at);
      const piece = chunk.subarray(at, end === -1 ? chunk.length : end + 1);
      at += piece.length;
      this.#pieces.push(piece);
      this.#lengthBytes += piece.length;
      if (this.#lengthBytes > MAX_LINE_BYTES + 1) throw this.#broken(`a line of more than ${MAX_LINE_BYTES} bytes`);
      if (end === -1) return;
      const line = this.#pieces.length === 1 ? piece : Buffer.concat(this.#pieces);
      this.#pieces = [];
      this.#lengthBytes = 0;
      yield { message: this.#parse(line), line };
    }
  }

  #parse(line: Buffer): T {
    let value: unknown;
    try {
      value = JSON.parse(line.toString('utf8'));
    } catch {
      throw this.#broken('a line that is no JSON');
    }
    const result = this.#schema.safeParse(value);
    if (result.success) return result.data;
    throw this.#broken('a message that is not one of the protocol');
  }

  #broken(what: string): EspdError {
    this.#isBroken = true;
    this.#pieces = [];
    this.#lengthBytes = 0;
    return new EspdError('daemon-protocol', `The daemon and the command do not understand each other: ${what}`, {
      hint: 'Is the daemon of the same installation? Restart it (systemctl restart espd), or add --no-daemon',
    });
  }
}

/** Output as messages of bounded length. */
export function* outputMessages(stream: 'stdout' | 'stderr', data: string | Uint8Array): Generator<FromCommand> {
  if (typeof data === 'string') {
    for (const part of textPieces(data)) yield { type: 'output', stream, data: part };
    return;
  }
  for (const piece of bytePieces(data)) yield { type: 'output', stream, base64: piece.toString('base64') };
}

/** Never cut within a character. */
function* textPieces(whole: string): Generator<string> {
  for (let at = 0; at < whole.length;) {
    let end = Math.min(at + TEXT_UNITS, whole.length);
    // A high surrogate at the end: its other half is the next unit.
    if (end < whole.length && (whole.charCodeAt(end - 1) & 0xfc00) === 0xd800) end--;
    yield whole.slice(at, end);
    at = end;
  }
}

/** At most {@link PIECE_BYTES} each. */
export function* bytePieces(whole: Uint8Array): Generator<Buffer> {
  const bytes = Buffer.from(whole.buffer, whole.byteOffset, whole.byteLength);
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) yield bytes.subarray(at, at + PIECE_BYTES);
}

export function errorFrom({ code, message, hint }: ErrorFields): EspdError {
  return new EspdError(code, message, { hint });
}
