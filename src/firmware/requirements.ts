/**
 * Which chips an image says that it runs on: the revisions in the headers of its bootloader and of the app that boots.
 * https://github.com/espressif/esp-idf/blob/0431e088831b6db1f219c0f4f6f68f59fb973740/components/bootloader_support/include/esp_app_format.h
 */

import { BoundedFlash, type ReadFlash } from './bytes.ts';
import { bootloaderOffset, findActiveApp, findTable } from './describe.ts';
import { findImage, type ImageHeader } from './image.ts';

export interface RevisionRequirement {
  /** Who demands it: `the bootloader`, `the app in "ota_0"`. */
  readonly by: string;
  /** Major * 100 + minor; 0 = any. */
  readonly minRevision: number;
  /** Null = any. */
  readonly maxRevision: number | null;
}

/** Tables, headers and segments of some images. */
const READ_BUDGET_BYTES = 512 * 1024;

/**
 * The requirements of what would boot from this flash; none on an ESP8266, whose images name no revision, and none of
 * what is no image for this family. Never throws on content: rejects only if `read` does.
 */
export async function revisionRequirements(
  read: ReadFlash,
  sizeBytes: number,
  family: string,
): Promise<RevisionRequirement[]> {
  if (family === 'esp8266') return [];
  const flash = new BoundedFlash(read, sizeBytes, READ_BUDGET_BYTES);
  const table = await findTable(flash, family);
  const bootloader = await findImage(flash, bootloaderOffset(family), table?.offset ?? sizeBytes, family);
  const app = table && (await findActiveApp(flash, table.partitions, family, []));
  return [
    ...(bootloader?.image ? requirementOf('the bootloader', bootloader.header, family) : []),
    ...(app ? requirementOf(`the app in "${app.partition.name}"`, app.image.header, family) : []),
  ];
}

function requirementOf(by: string, { extended }: ImageHeader, family: string): RevisionRequirement[] {
  if (extended?.chipFamily !== family) return [];
  const { minRevision: full, oldMinRevision: old, maxRevision } = extended;
  // Before ESP-IDF 4.4.2 there was one byte only: the major version, or the minor one on ESP32-C3. Newer builds keep it
  // beside the new field, which counts.
  const minRevision = full !== 0 ? full : family === 'esp32c3' ? old : old * 100;
  return minRevision === 0 && maxRevision === null ? [] : [{ by, minRevision, maxRevision }];
}

/** `v3.1` as 301; undefined for anything else. */
export function parseRevision(text: string): number | undefined {
  const match = /^v(\d{1,2})\.(\d{1,2})$/.exec(text);
  return match === null ? undefined : Number(match[1]) * 100 + Number(match[2]);
}

/** 301 as `v3.1`. */
export function formatRevision(revision: number): string {
  return `v${Math.floor(revision / 100)}.${revision % 100}`;
}
