/**
 * zstd frames (RFC 8878) unpacked in pieces, by libzstd compiled to WebAssembly: Node 20 has no zstd of its own, and one
 * decoder on every Node means one behaviour. Each stream gets an instance of its own, whose memory goes with it.
 */

import { ZSTDDecoder } from 'zstddec/stream';

/** Compiled WebAssembly; the types of Node 20 do not have it. */
type Module = object;
declare const WebAssembly: { readonly Instance: new (module: Module, imports: object) => { readonly exports: object } };

/** What of the library's exports is called here; its own class ignores error codes. All numbers are 32 bits. */
interface Library {
  readonly memory: { readonly buffer: ArrayBuffer };
  malloc(sizeBytes: number): number;
  ZSTD_createDCtx(): number;
  ZSTD_DStreamOutSize(): number;
  /** @returns 0 at the end of a frame, else a hint of what is missing, or an error code */
  ZSTD_decompressStream(context: number, output: number, input: number): number;
}

/** `ZSTD_isError` (lib/common/error_private.h of zstd 1.5.7): codes are negative, down to -ZSTD_error_maxCode, 120. */
const FIRST_ERROR = 2 ** 32 - 120;
/** zstd_errors.h: ZSTD_error_memory_allocation. */
const NO_MEMORY = 2 ** 32 - 64;
const INPUT_BYTES = 64 * 1024;
/** ZSTD_inBuffer and ZSTD_outBuffer of zstd.h with pointers of 32 bits: where, size, position. */
const BUFFER_BYTES = 12;

let compiled: Promise<Module> | undefined;

function library(): Promise<Module> {
  compiled ??= new Promise((resolve, reject) => {
    class Loader extends ZSTDDecoder {
      override _init({ module }: { readonly module: Module }): void {
        resolve(module);
      }
    }
    new Loader().init().catch(reject);
  });
  return compiled;
}

function failure(message: string, code: string): Error {
  return Object.assign(new Error(message), { code });
}

/**
 * Hands out what the frames hold, one after the other; skippable frames hold nothing. The window may have 128 MiB, the
 * library's limit, which bounds the memory. Content checksums are checked where a frame has one.
 *
 * Rejects with a code: `EFBIG` when there is more than `maxBytes`, `Z_BUF_ERROR` where the last frame is cut off,
 * `ZSTD_DATA_ERROR` for what is no zstd or wants a larger window or a dictionary, `Z_MEM_ERROR`.
 */
export async function inflateZstd(
  from: AsyncIterable<Uint8Array>,
  maxBytes: number,
  take: (chunk: Buffer) => void | Promise<void>,
): Promise<void> {
  const imports = { env: { emscripten_notify_memory_growth: () => undefined } };
  const instance = new WebAssembly.Instance(await library(), imports);
  const zstd = instance.exports as unknown as Library;
  const outputBytes = zstd.ZSTD_DStreamOutSize();
  const allocated = [
    zstd.ZSTD_createDCtx(),
    ...[2 * BUFFER_BYTES, INPUT_BYTES, outputBytes].map((bytes) => zstd.malloc(bytes)),
  ];
  if (allocated.includes(0)) throw failure('no memory for zstd', 'Z_MEM_ERROR');
  const [context = 0, inputBuffer = 0, inputAt = 0, outputAt = 0] = allocated;
  const outputBuffer = inputBuffer + BUFFER_BYTES;
  // Made anew for each use: memory that grows is another ArrayBuffer.
  const setBuffer = (at: number, fields: readonly number[]) => new Uint32Array(zstd.memory.buffer, at, 3).set(fields);
  const positionOf = (at: number) => new Uint32Array(zstd.memory.buffer, at, 3)[2] ?? 0;

  let sizeBytes = 0;
  let missing = 1;
  for await (const chunk of from) {
    for (let at = 0; at < chunk.length; at += INPUT_BYTES) {
      const piece = chunk.subarray(at, at + INPUT_BYTES);
      new Uint8Array(zstd.memory.buffer, inputAt, piece.length).set(piece);
      setBuffer(inputBuffer, [inputAt, piece.length, 0]);
      for (let consumed = 0, isFull = false; consumed < piece.length || isFull;) {
        setBuffer(outputBuffer, [outputAt, outputBytes, 0]);
        const before = consumed;
        const wasFull = isFull;
        const result = zstd.ZSTD_decompressStream(context, outputBuffer, inputBuffer) >>> 0;
        if (result > FIRST_ERROR) throw toError(result);
        consumed = positionOf(inputBuffer);
        const produced = positionOf(outputBuffer);
        isFull = produced === outputBytes;
        if (consumed === before && produced === 0) {
          if (wasFull && consumed === piece.length) break; // there was nothing left behind the full buffer
          throw failure('zstd stands still', 'ZSTD_DATA_ERROR');
        }
        missing = result;
        sizeBytes += produced;
        if (sizeBytes > maxBytes) throw failure('is too large', 'EFBIG');
        if (produced > 0) await take(Buffer.from(new Uint8Array(zstd.memory.buffer, outputAt, produced)));
      }
    }
  }
  if (missing !== 0) throw failure('unexpected end of file', 'Z_BUF_ERROR');
}

function toError(result: number): Error {
  if (result === NO_MEMORY) return failure('no memory for zstd', 'Z_MEM_ERROR');
  return failure(`zstd reports error ${2 ** 32 - result}`, 'ZSTD_DATA_ERROR');
}
