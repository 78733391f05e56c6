/** The registry of chip families: one line each. */

import type { Chip, Family } from './chip.ts';
import { esp32 } from './esp32.ts';
import { esp32c2 } from './esp32c2.ts';
import { esp32c3 } from './esp32c3.ts';
import { esp32c5 } from './esp32c5.ts';
import { esp32c6 } from './esp32c6.ts';
import { esp32c61 } from './esp32c61.ts';
import { esp32h2 } from './esp32h2.ts';
import { esp32h4 } from './esp32h4.ts';
import { esp32p4 } from './esp32p4.ts';
import { esp32s2 } from './esp32s2.ts';
import { esp32s3 } from './esp32s3.ts';
import { esp32s31 } from './esp32s31.ts';
import { esp8266 } from './esp8266.ts';

const byFamily: Readonly<Record<Family, Chip>> = {
  esp8266,
  esp32,
  esp32s2,
  esp32s3,
  esp32c2,
  esp32c3,
  esp32c5,
  esp32c6,
  esp32c61,
  esp32h2,
  esp32h4,
  esp32p4,
  esp32s31,
};

export const chips: readonly Chip[] = Object.values(byFamily);

export function chipByFamily(family: Family): Chip {
  return byFamily[family];
}

/** By the chip id of GET_SECURITY_INFO or of an image header; undefined for one that espd does not know. */
export function chipByImageId(imageChipId: number): Chip | undefined {
  return chips.find((chip) => chip.imageChipId === imageChipId);
}

/** By the word at 0x40001000, for chips that GET_SECURITY_INFO does not identify; undefined for an unknown one. */
export function chipByMagicWord(word: number): Chip | undefined {
  return chips.find((chip) => chip.magicWords.includes(word));
}
