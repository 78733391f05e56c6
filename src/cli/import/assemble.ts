/** The files of one dump to the image of one flash, or why they are none. */

import { EspdError } from '../../errors.ts';
import { composeFlash, isFlashSize, type DumpPart } from '../../firmware/dump/compose.ts';
import { offsetInName } from '../../firmware/dump/file-name.ts';
import { notTheBeginning, recognizeDump, SIZE_HINT, sizeText } from '../../firmware/dump/recognize-dump.ts';
import { printable } from '../../printable.ts';
import type { DumpFile } from './dump-file.ts';
import { nameOfFile } from './sources.ts';

export interface PlacedFile extends DumpFile {
  /** Where a person has put it; null where they have not. */
  readonly offset: number | null;
}

export interface Assembled {
  readonly image: Buffer;
  /** Of the chip; null where the image does not tell. */
  readonly family: string | null;
  /** Bytes that no file holds, which are as erased flash is; null for one file that is the whole flash. */
  readonly filledBytes: number | null;
  /** Sentences without a full stop, printable. */
  readonly remarks: readonly string[];
}

/**
 * @param name of all files together, printable
 * @param toldBytes the size of the flash, as a person has told it
 * @throws EspdError `not-an-image`, `import-unclear`, `usage`
 */
export async function assembleDump(
  name: string,
  files: readonly PlacedFile[],
  toldBytes: number | undefined,
): Promise<Assembled> {
  const isPlaced = files.some(({ offset }) => offset !== null);
  const parts = files.flatMap((file) => partsOf(file));
  const hasAddresses = isPlaced || files.some(({ form }) => form === 'hex');
  const facts = { sizeIsTold: toldBytes !== undefined, placeIsTold: hasAddresses };
  const first = parts[0];
  if (!hasAddresses && first !== undefined) {
    const verdict = await notTheBeginning(first.bytes, facts);
    if (verdict?.isFlash === false) throw noImage(name, verdict);
    refusePlaceInName(name, files);
  }
  const sizeBytes = toldBytes ?? sizeOf(name, parts, hasAddresses, isPlaced);
  const { image, problem } = composeFlash(parts, sizeBytes);
  if (image === null) {
    throw new EspdError('not-an-image', problem, { hint: 'Check the offsets, and the size of the flash: --size 4M' });
  }
  const verdict = await recognizeDump(image, facts);
  if (!verdict.isFlash) throw noImage(name, verdict);
  const covered = parts.reduce((sum, { bytes }) => sum + bytes.length, 0);
  const isWhole = covered === sizeBytes && files.length === 1;
  return { image, family: verdict.family, filledBytes: isWhole ? null : sizeBytes - covered, remarks: verdict.remarks };
}

function noImage(name: string, { what, hint }: { what: string; hint: string }): EspdError {
  return new EspdError('not-an-image', `${name} ${what}`, { hint });
}

function partsOf({ path, offset, form, runs }: PlacedFile): DumpPart[] {
  const name = printable(nameOfFile(path));
  if (form === 'hex' && offset !== null) {
    throw new EspdError('usage', `${name} is an Intel HEX file, which has addresses of its own`, {
      hint: 'Name it without an offset',
    });
  }
  return runs.map((run) => ({ name, offset: run.offset + (offset ?? 0), bytes: run.bytes }));
}

/** `nvs_0x9000.bin`: whoever has called it so knew that it is no whole flash. */
function refusePlaceInName(name: string, files: readonly PlacedFile[]): void {
  const offset = offsetInName(nameOfFile(files[0]?.path ?? '')) ?? 0;
  if (offset === 0) return;
  const place = `0x${offset.toString(16)}`;
  throw new EspdError('not-an-image', `${name} is named as a part of a flash, from ${place} on`, {
    hint: `Name every part with its offset: ${place}=FILE ... --size 4M`,
  });
}

/** The size that nobody has told. */
function sizeOf(name: string, parts: readonly DumpPart[], hasAddresses: boolean, isPlaced: boolean): number {
  const end = Math.max(...parts.map(({ offset, bytes }) => offset + bytes.length));
  if (!hasAddresses && isFlashSize(end)) return end;
  if (!hasAddresses) throw noImage(name, { what: `has ${end} bytes, which no flash has`, hint: SIZE_HINT });
  // One run of a HEX file from the first byte to the last is as good as a binary.
  if (!isPlaced && parts.length === 1 && parts[0]?.offset === 0 && isFlashSize(end)) return end;
  throw new EspdError('import-unclear', `How large the flash is must be told: ${name} ends at 0x${end.toString(16)}`, {
    hint: `What no file holds becomes ff, as in erased flash: --size ${sizeText(nextFlashSize(end))}, if it is so large`,
  });
}

function nextFlashSize(bytes: number): number {
  return Math.max(256 * 1024, 2 ** Math.ceil(Math.log2(bytes)));
}
