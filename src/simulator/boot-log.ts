/** What a chip prints behind a reset, before anything of espd's is there to hear it. */

import type { ChipModel, ResetReason } from './chips/model.ts';

export type BootOutcome = 'download' | 'app' | 'no-app' | 'download-disabled';

export function bootLogOf(model: ChipModel, outcome: BootOutcome, reason: ResetReason): Buffer {
  const { banner, download, app, noApp, downloadDisabled } = model.bootLog;
  switch (outcome) {
    case 'download':
      return text(banner + download(reason));
    case 'app':
      return text(banner + app(reason));
    case 'no-app':
      return text(banner + (app(reason).split('\r\n')[0] ?? '') + '\r\n' + noApp.repeat(3));
    case 'download-disabled':
      // The ESP32 prints nothing else; later ROMs start over again and again.
      return text(model.family === 'esp32' ? downloadDisabled : (banner + downloadDisabled).repeat(3));
  }
}

function text(log: string): Buffer {
  return Buffer.from(log, 'latin1');
}
