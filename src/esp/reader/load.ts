/**
 * Puts the reader into the chip's RAM beside the running stub, and makes it show that it works: `reader/PROTOCOL.md`,
 * "Loading" and "Self-test". Three words of the stub's RAM are changed, its flash and its settings are not touched.
 */

import { createHash } from 'node:crypto';
import { ChipRefusal, type Loader } from '../loader.ts';
import { uploadToRam } from '../ram-upload.ts';
import { PROTOCOL_VERSION, type ReaderProgram } from './artefact.ts';
import { ReaderFault, asReaderFault } from './fault.ts';
import { inflateWhole } from './inflate.ts';
import { testPattern } from './pattern.ts';
import { FLAG, READER_OPCODE, runStream, streamRequest } from './stream.ts';

export interface LoadedReader {
  readonly program: ReaderProgram;
  /**
   * Bytes of the test pattern that the chip has compressed and sent in a ms: as fast as it can at its present clock, or as
   * fast as the line let it, which is then the slower of the two.
   */
  readonly bytesPerMs: number;
}

/** `ERD1`. */
const INFO_VALUE = 0x31445245;
/** Status of a program that is damaged: the stub does not check what MEM_DATA brings, the reader does. */
const DAMAGED = 0xc1;
/** A byte that was lost on the way costs a second upload. */
const UPLOADS = 2;
export const SELF_TEST_BYTES = 16384;
const SELF_TEST_WINDOW = 8;
/** The slowest chip takes 0.2 s for the pattern; the rest is for line and workstation. */
const SELF_TEST_LIMIT_MS = 2000;
const SELF_TEST_LEVEL = 2;

/**
 * @param blockBytes of one MEM_DATA
 * @returns undefined where this is another stub, or something else is in its slots
 * @throws ReaderFault where it does not arrive, or does not do what it should
 */
export async function loadReader(
  stub: Loader,
  program: ReaderProgram,
  blockBytes: number,
): Promise<LoadedReader | undefined> {
  try {
    return await load(stub, program, blockBytes);
  } catch (error) {
    throw asReaderFault(error, 'to-chip');
  }
}

async function load(stub: Loader, program: ReaderProgram, blockBytes: number): Promise<LoadedReader | undefined> {
  const [info] = program.slots;
  const slot = info === undefined ? undefined : await stub.readRegister(info.address);
  if (slot !== program.unusedSlot && slot !== info?.value) return undefined;
  let infoMs = slot === info?.value ? await askInfo(stub, program) : undefined;
  for (let upload = 1; infoMs === undefined; upload++) {
    if (upload > UPLOADS) throw new ReaderFault('The reader does not arrive whole on the chip', { damage: 'to-chip' });
    await uploadToRam(stub, program.segments, blockBytes);
    await stub.writeRegisters(program.slots.map(({ address, value }) => [address, value] as const));
    infoMs = await askInfo(stub, program);
  }
  const testMs = await selfTest(stub);
  // A clock's resolution must not make a chip infinitely fast.
  return { program, bytesPerMs: SELF_TEST_BYTES / Math.max(testMs - infoMs, 1) };
}

/**
 * @returns how long the answer took, in ms; undefined where the program in RAM is damaged
 * @throws ReaderFault for another program
 */
async function askInfo(stub: Loader, program: ReaderProgram): Promise<number | undefined> {
  const { clock } = stub.context;
  const startedAt = clock.now();
  try {
    const { value, body } = await stub.command(READER_OPCODE.INFO, Buffer.alloc(0), { believesRefusal: true });
    const [version, build, sum] = body.length < 12 ? [] : [0, 4, 8].map((at) => body.readUInt32LE(at));
    if (value === INFO_VALUE && version === PROTOCOL_VERSION && build === program.build && sum === program.crc32) {
      return clock.now() - startedAt;
    }
  } catch (error) {
    if (error instanceof ChipRefusal && error.reason === DAMAGED) return undefined;
    throw error;
  }
  throw new ReaderFault('Another program answers in place of the reader');
}

/**
 * @returns how long it took the chip, in ms
 * @throws ReaderFault where what comes is not the pattern, or is not said to be
 */
async function selfTest(stub: Loader): Promise<number> {
  const { clock } = stub.context;
  const parts: Buffer[] = [];
  const request = streamRequest({
    ...{ level: SELF_TEST_LEVEL, windowFrames: SELF_TEST_WINDOW, flags: FLAG.pattern, offset: 0 },
    ...{ sizeBytes: SELF_TEST_BYTES, frameLimitMs: SELF_TEST_LIMIT_MS },
  });
  const startedAt = clock.now();
  const end = await runStream(stub, request, (payload) => {
    parts.push(payload);
    return undefined;
  });
  const ms = clock.now() - startedAt;
  const pattern = testPattern(SELF_TEST_BYTES);
  const isRight = inflateWhole(Buffer.concat(parts), SELF_TEST_BYTES).equals(pattern);
  const isSaid = end.bytesRead === SELF_TEST_BYTES && end.digest.equals(createHash('md5').update(pattern).digest());
  if (!isRight || !isSaid) throw new ReaderFault('The reader has failed its self-test');
  return ms;
}
