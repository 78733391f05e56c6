/** The registry of simulated chip families. */

import { esp32 } from './esp32.ts';
import { esp8266 } from './esp8266.ts';
import type { ChipModel, Family } from './model.ts';
import { newerChips } from './newer.ts';

export const chipModels: readonly ChipModel[] = [esp8266, esp32, ...newerChips];

export function chipModelOf(family: Family): ChipModel {
  const model = chipModels.find((candidate) => candidate.family === family);
  if (model === undefined) throw new RangeError(`no such chip family: ${family}`);
  return model;
}
