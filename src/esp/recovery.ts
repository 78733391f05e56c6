/** What to do when a read or a command has failed: the order of the ways out, pure. `persistence.ts` goes them. */

/**
 * In this order: the same again; smaller packets; a lower baud rate, without a reset where the loader still answers;
 * reset and stub again; at last reads through the ROM.
 */
export type RecoveryStep = 'repeated' | 'smallerPackets' | 'lowerBaudRate' | 'reconnected' | 'romReads';

/** How often each step was gone in a session. */
export type RecoveryCounts = Readonly<Record<RecoveryStep, number>>;

export interface Trouble {
  /** Steps gone so far for this region or command, in order. */
  readonly tried: readonly RecoveryStep[];
  /** A loader answers at the rate in force, or might. */
  readonly answers: boolean;
  /** No read has proven the rate in force yet: it is the first suspect. */
  readonly isTrial: boolean;
  /** There is a lower rate. */
  readonly canLower: boolean;
  /** What failed came in packets of the stub. */
  readonly hasPackets: boolean;
  /** The ROM could be reached and read the same. */
  readonly canUseRom: boolean;
  /** The region before this one was to be had through the ROM only. */
  readonly romWasNeeded: boolean;
}

/** Packets of two other sizes: each ends its frame at another place of a USB packet. */
const SMALLER_PACKETS = 2;
/** Where the loader answers, and all else has failed. */
const RECONNECTIONS = 2;
/** Where nobody answers any more: a board can go away again and again (brown-outs). */
const RECONNECTIONS_WHEN_LOST = 4;
const ROM_READS = 2;

/** The next step, or null: nothing helps. */
export function nextStep(trouble: Trouble): RecoveryStep | null {
  const { tried, answers, isTrial, canLower, hasPackets, canUseRom, romWasNeeded } = trouble;
  const times = (step: RecoveryStep) => tried.filter((each) => each === step).length;
  const rom = canUseRom && times('romReads') < ROM_READS ? 'romReads' : null;
  if (times('romReads') > 0) return rom;
  if (romWasNeeded && rom !== null && tried.length > 0) return rom;
  if (!answers) {
    if (isTrial && canLower) return 'lowerBaudRate';
    return times('reconnected') < RECONNECTIONS_WHEN_LOST ? 'reconnected' : rom;
  }
  if (times('repeated') === 0) return 'repeated';
  if (isTrial && canLower) return 'lowerBaudRate';
  if (hasPackets && times('smallerPackets') < SMALLER_PACKETS) return 'smallerPackets';
  if (canLower) return 'lowerBaudRate';
  return times('reconnected') < RECONNECTIONS ? 'reconnected' : rom;
}

/** How to read a region after so many steps: in what packets, and at most how many bytes of it at once. */
export function packetsAfter(tried: readonly RecoveryStep[]): { packetBytes: number; pieceBytes: number } {
  const smaller = tried.filter((step) => step === 'smallerPackets').length;
  // Two delimiters around content without escapes: 4098, 2003 and 1025 bytes, none of them a multiple of 64.
  if (smaller === 0) return { packetBytes: 4096, pieceBytes: 16 * 1024 };
  return smaller === 1 ? { packetBytes: 2001, pieceBytes: 8192 } : { packetBytes: 1023, pieceBytes: 4096 };
}
