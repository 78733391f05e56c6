/** The board's own firmware, as far as a flasher can tell: it prints, and it writes its settings as soon as it runs. */

import { SECTOR_BYTES } from './flash.ts';
import type { BoardPlan } from './options.ts';

const ENTRY_BYTES = 32;

export interface AppHands {
  after(delayMs: number, work: () => void): void;
  print(text: string, baudRate: number): void;
}

export function runApp(plan: BoardPlan, hands: AppHands): void {
  const { options } = plan;
  const baudRate = options.appBaudRate ?? 115200;
  hands.print(options.appOutput ?? 'I (312) app_init: App version:      1.4.2\r\nI (318) main: ready\r\n', baudRate);
  const { appWritesNvsAfterMs, appChatterMs } = options;
  if (appWritesNvsAfterMs !== undefined) hands.after(appWritesNvsAfterMs, () => writeNvs(plan));
  if (appChatterMs !== undefined) {
    let lines = 0;
    const chatter = () => {
      hands.print(`I (${++lines * appChatterMs}) main: heartbeat\r\n`, baudRate);
      hands.after(appChatterMs, chatter);
    };
    hands.after(appChatterMs, chatter);
  }
}

/** Where an app keeps its settings: NVS at 0x9000 in the usual partition table, the SDK's own area on ESP8266. */
export function nvsAddressOf(plan: Pick<BoardPlan, 'model' | 'flash'>): number {
  return plan.model.family === 'esp8266' ? plan.flash.sizeBytes - 3 * SECTOR_BYTES : 0x9000;
}

/** Appends one entry to the NVS page, or starts the page anew when it is full. */
function writeNvs(plan: BoardPlan): void {
  const { flash } = plan;
  const page = nvsAddressOf(plan);
  const entry = Buffer.alloc(ENTRY_BYTES, 0x42);
  const content = flash.read(page, SECTOR_BYTES);
  for (let at = 2 * ENTRY_BYTES; at < SECTOR_BYTES; at += ENTRY_BYTES) {
    if (!content.subarray(at, at + ENTRY_BYTES).every((byte) => byte === 0xff)) continue;
    flash.program(page + at, entry);
    return;
  }
  flash.erase(page, SECTOR_BYTES);
  flash.program(page + 2 * ENTRY_BYTES, entry);
}
