/** The flash chip behind the ESP: attach it, ask who it is, and hash what it holds. */

import { BLOCK_BYTES, SECTOR_BYTES } from '../flash.ts';
import { EspdError } from '../errors.ts';
import type { Chip } from './chips/chip.ts';
import { digestLimitMs } from './costs.ts';
import { type Loader, agreedAnswer } from './loader.ts';
import { OPCODE, words } from './protocol.ts';
import { type KnownWords, agreeingRegisters, readAhead } from './registers.ts';

/** JEDEC "read identification" command, answered with three bytes by every NOR flash. */
const RDID = 0x9f;
/**
 * "Read status register", one byte on every NOR flash. The second and third registers are left alone: their command of
 * one maker (35h) switches the flash of another into a mode in which it answers no more (Macronix, EQIO).
 */
const RDSR = 0x05;

/** USER register: phases of a USR transaction (ESP32 Technical Reference Manual, SPI_USER_REG). */
const USER_COMMAND = 0x80000000;
const USER_MISO = 0x10000000;

export interface JedecId {
  /** Lower-case hex, two digits: `5e`. */
  readonly manufacturer: string;
  /** Lower-case hex, four digits, memory type then capacity: `4016`. */
  readonly device: string;
}

/** Connects the flash to the SPI peripheral. The stub does this itself when it starts. */
export async function attachFlash(loader: Loader, chip: Chip): Promise<void> {
  if (loader.kind === 'stub') return;
  if (chip.rom.spiAttach) await loader.command(OPCODE.SPI_ATTACH, words(0, 0), { repeatable: true });
  // The ESP8266's ROM attaches on an empty write.
  else await loader.command(OPCODE.FLASH_BEGIN, words(0, 0, 0, 0));
}

/** Tells ROM or stub the geometry: size in bytes, 64 KiB blocks, 4 KiB sectors, 256-byte pages. */
export async function setFlashSize(loader: Loader, chip: Chip, sizeBytes: number): Promise<void> {
  loader.flashSizeBytes = sizeBytes;
  if (loader.kind === 'rom' && !chip.rom.spiAttach) return;
  await loader.command(OPCODE.SPI_SET_PARAMS, words(0, sizeBytes, BLOCK_BYTES, SECTOR_BYTES, 256, 0xffff), {
    repeatable: true,
  });
}

/**
 * The JEDEC id, asked until two answers in a row agree: responses carry no checksum.
 * @throws EspdError `flash-unknown` when nothing answers (all zeros or all ones)
 */
export async function readJedecId(loader: Loader, chip: Chip): Promise<JedecId> {
  const id = await agreedTransaction(loader, chip, RDID, 24);
  if (id !== undefined) return parseJedecId(id);
  throw new EspdError('flash-unknown', 'The flash gives a different id each time it is asked', {
    hint: 'Check cable and power of the board',
  });
}

/** The first status register, asked until two answers in a row agree; undefined where it never settles. */
export async function readStatusRegister(loader: Loader, chip: Chip): Promise<number | undefined> {
  return agreedTransaction(loader, chip, RDSR, 8);
}

function parseJedecId(id: number): JedecId {
  if (id === 0 || id === 0xffffff) {
    throw new EspdError('flash-unknown', `No flash answers (its id reads ${id === 0 ? '000000' : 'ffffff'})`, {
      hint: 'The board has no flash, its flash is broken, or the flash pins are used by something else',
    });
  }
  const byte = (shift: number) => ((id >> shift) & 0xff).toString(16).padStart(2, '0');
  return { manufacturer: byte(0), device: byte(8) + byte(16) };
}

/**
 * One command on the SPI bus with up to 32 bits of answer, through the USR registers of the flash's SPI peripheral,
 * again and again until two answers agree; undefined where no two did.
 */
async function agreedTransaction(
  loader: Loader,
  chip: Chip,
  command: number,
  answerBits: number,
): Promise<number | undefined> {
  const { base, cmd, user, user1, user2, w0, misoLength, startBit } = chip.spi;
  // Written back in the end: a bit that flipped on the way here would stay in the chip.
  const words: KnownWords = new Map();
  await readAhead(loader, words, [base + user, base + user2]);
  const kept = agreeingRegisters(loader, words);
  const keptUser = await kept.read(base + user);
  const keptUser2 = await kept.read(base + user2);
  const setUp: readonly Write[] = [
    misoLength === null ? [base + user1, (answerBits - 1) << 8] : [base + misoLength, answerBits - 1],
    [base + user, (USER_COMMAND | USER_MISO) >>> 0],
    // The command's length in bits, minus one, stands in the top four bits.
    [base + user2, (7 << 28) | command],
    [base + w0, 0],
  ];
  const start: Write = [base + cmd, startBit];
  const answer = await agreedAnswer(async () => {
    // All of it each time: a bit that flips on its way here must not spoil every answer.
    // Of a ROM, the start waits for the answers to all that is set up: it must not run anything else.
    if (loader.kind === 'stub') await loader.writeRegisters([...setUp, start]);
    else {
      await loader.writeRegisters(setUp);
      await loader.writeRegisters([start]);
    }
    const word = async () => ((await loader.readRegister(base + w0)) & (2 ** answerBits - 1)) >>> 0;
    // 32 bits take the bus microseconds, and a request milliseconds: the answer is there. Only nothing is asked after.
    const early = await word();
    if (early !== 0) return early;
    for (let poll = 0; ((await loader.readRegister(base + cmd)) & startBit) !== 0; poll++) {
      if (poll === 10) throw new EspdError('flash-unknown', 'The SPI peripheral of the chip does not finish a command');
    }
    return word();
  });
  await loader.writeRegisters([
    [base + user, keptUser],
    [base + user2, keptUser2],
  ]);
  return answer;
}

type Write = readonly [address: number, value: number];

/**
 * MD5 of a region, computed by the chip: lower-case hex.
 * @param limitMs after which its answer counts as lost
 * @throws EspdError `chip-timeout`, `chip-error`
 */
export async function digestRegion(
  loader: Loader,
  offset: number,
  sizeBytes: number,
  limitMs = digestLimitMs(sizeBytes),
): Promise<string> {
  const response = await loader.command(OPCODE.SPI_FLASH_MD5, words(offset, sizeBytes, 0, 0), {
    repeatable: true,
    timeoutMs: limitMs,
  });
  // A stub sends 16 bytes, a ROM 32 hex digits.
  const { body } = response;
  const digest = loader.kind === 'rom' ? body.toString('latin1').toLowerCase() : body.toString('hex');
  if (!/^[0-9a-f]{32}$/.test(digest))
    throw new EspdError('chip-error', 'The chip answered SPI_FLASH_MD5 with no digest');
  return digest;
}
