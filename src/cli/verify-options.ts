/** Options of `espd verify`. */

import type { Command } from 'commander';
import { PORT_HELP } from './arguments.ts';
import { addRecord } from './record-options.ts';

export function addVerify(command: Command): Command {
  return addRecord(command)
    .option('--mac <board>', 'only this board: its MAC or label')
    .option(
      '--device',
      'compare attached boards with the backups that they should hold, by a digest of the chip',
      false,
    )
    .option('--port <port>', `with --device: ${PORT_HELP}`)
    .option('--sample <part>', 'only a part, verified longest ago first: 5% of the backups, or group 2/7 of them');
}
