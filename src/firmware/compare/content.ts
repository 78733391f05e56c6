/** What changed inside one part of two images, in words that matter; each kind by its own reader. */

import { SECTOR_BYTES } from '../../flash.ts';
import { APP_SEARCH_BYTES, nameByDescription, scanApp } from '../app-name.ts';
import { OTA_DATA_BYTES, OTA_SELECT_BYTES, parseOtaSelect } from '../boot-order.ts';
import { BoundedFlash } from '../bytes.ts';
import { readPartition, useOf, type FlashSource } from '../contents.ts';
import { parseAppDescription } from '../descriptions.ts';
import { firstSegment, type FirmwareSummary } from '../describe.ts';
import { readFileSystem } from '../filesystems/index.ts';
import type { FlashRegion } from '../flash-map.ts';
import { findImage } from '../image.ts';
import { readNvs, type NvsReading } from '../nvs.ts';
import { compareFiles, fileProblems } from './files.ts';
import { compareNvs, nvsProblems } from './nvs.ts';
import type { AppContent, AppFacts, OtaContent, Pair, PartComparison, PartContent } from './types.ts';

export interface DescribedImage extends FlashSource {
  readonly summary: FirmwareSummary;
}

export interface ContentFinding {
  readonly content: PartContent | null;
  readonly problems: readonly string[];
}

/** What may be read of one app: its headers, its description, and the texts that it is known by. */
const APP_BUDGET_BYTES = APP_SEARCH_BYTES + 64 * 1024;

/** Of a part in which something differs. Never throws on content. */
export async function contentOf(
  images: Pair<DescribedImage>,
  part: Pick<PartComparison, 'name' | 'kind' | 'type' | 'subtype' | 'place'>,
  reveal: boolean,
): Promise<ContentFinding> {
  if (part.kind === 'bootloader') {
    const { before, after } = images;
    const descriptions = { before: before.summary.bootloader, after: after.summary.bootloader };
    return { content: { kind: 'bootloader', descriptions }, problems: [] };
  }
  if (part.kind !== 'partition') return { content: null, problems: [] };
  const use = useOf(part);
  if (use === 'app') return { content: await compareApps(images, part), problems: [] };
  const { before, after } = part.place;
  // Of a partition that only one of the images has, all would be new or gone.
  if (before === null || after === null || use === 'other') return { content: null, problems: [] };
  if (use === 'ota') return { content: await compareOta(images, { before, after }), problems: [] };
  const bytes = {
    before: await readPartition(images.before, before),
    after: await readPartition(images.after, after),
  };
  if (bytes.before.bytes === null || bytes.after.bytes === null) {
    const problems = sided(
      bytes.before.problem === null ? [] : [`it ${bytes.before.problem}`],
      bytes.after.problem === null ? [] : [`it ${bytes.after.problem}`],
    );
    return { content: null, problems };
  }
  const both = { before: bytes.before.bytes, after: bytes.after.bytes };
  return use === 'nvs' ? nvsContent(both, reveal) : filesContent(both);
}

function nvsContent({ before, after }: Pair<Buffer>, reveal: boolean): ContentFinding {
  const [old, now] = [readNvs(before), readNvs(after)];
  const problems = sided(nvsProblems(old), nvsProblems(now));
  const isTold = ({ kind }: NvsReading) => kind === 'plain' || kind === 'blank';
  const content = isTold(old) && isTold(now) ? compareNvs(old.entries, now.entries, { reveal }) : null;
  return { content, problems };
}

function filesContent({ before, after }: Pair<Buffer>): ContentFinding {
  const [old, now] = [readFileSystem(before), readFileSystem(after)];
  // Not a file system at all: nothing is missing.
  if (old === undefined && now === undefined) return { content: null, problems: [] };
  return { content: compareFiles(old, now), problems: sided(fileProblems(old), fileProblems(now)) };
}

function sided(before: readonly string[], after: readonly string[]): string[] {
  return [...before.map((problem) => `before: ${problem}`), ...after.map((problem) => `after: ${problem}`)];
}

async function compareApps(
  images: Pair<DescribedImage>,
  { name, place }: Pick<PartComparison, 'name' | 'place'>,
): Promise<AppContent> {
  return {
    kind: 'app',
    apps: {
      before: await appIn(images.before, name, place.before),
      after: await appIn(images.after, name, place.after),
    },
  };
}

/** Null where there is no app, or none that says what it is. */
async function appIn(image: DescribedImage, name: string, place: FlashRegion | null): Promise<AppFacts | null> {
  const { summary, family, sizeBytes } = image;
  if (place === null) return null;
  if (family === 'esp8266' && summary.tableOffset === null) {
    // Its code need not lie in the image, and the version of some firmware is not in the code.
    const { firmware, activePartition } = summary;
    return name === activePartition && firmware !== null ? { ...firmware, built: null } : null;
  }
  const flash = new BoundedFlash(image.read, sizeBytes, APP_BUDGET_BYTES);
  const found = await findImage(flash, place.offset, place.offset + place.sizeBytes, family);
  if (found === null || found.image === null) return null;
  const app = parseAppDescription(await firstSegment(flash, found.image));
  const firmware = nameByDescription(await scanApp(flash, found.image), app, family);
  return firmware && { ...firmware, built: app?.built ?? null };
}

async function compareOta(images: Pair<DescribedImage>, place: Pair<FlashRegion>): Promise<OtaContent> {
  return {
    kind: 'ota',
    slot: { before: images.before.summary.activePartition, after: images.after.summary.activePartition },
    updates: {
      before: await updatesIn(images.before, place.before),
      after: await updatesIn(images.after, place.after),
    },
  };
}

/** The highest update counter of the two records that is valid. */
async function updatesIn(image: DescribedImage, { offset, sizeBytes }: FlashRegion): Promise<number | null> {
  if (sizeBytes < OTA_DATA_BYTES) return null;
  const flash = new BoundedFlash(image.read, image.sizeBytes, OTA_DATA_BYTES);
  let highest: number | null = null;
  for (const at of [offset, offset + SECTOR_BYTES]) {
    const { usable, crcOk, sequence } = parseOtaSelect(await flash.read(at, OTA_SELECT_BYTES));
    if (usable && crcOk) highest = Math.max(highest ?? 0, sequence);
  }
  return highest;
}
