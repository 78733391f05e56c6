/** Options of `espd verify`. */

import type { Command } from 'commander';
import { PORT_HELP } from './arguments.ts';
import { addRecord } from './record-options.ts';

const STORE_HELP = `
--store downloads what it verifies, which many stores charge for: --dry-run says
how much it is, --sample and --newest make it less. It reads no faster than
store.bandwidth. Nothing is changed there without --repair.`;

export function addVerify(command: Command): Command {
  return addRecord(command)
    .argument('[boards...]', 'with --store: only these boards: MACs or labels')
    .option('--mac <board>', 'only this board: its MAC or label')
    .option(
      '--device',
      'compare attached boards with the backups that they should hold, by a digest of the chip',
      false,
    )
    .option('--port <port>', `with --device: ${PORT_HELP}`)
    .option('--sample <part>', 'only a part, verified longest ago first: 5% of the backups, or group 2/7 of them')
    .option('--store', 'read back what lies in the object store of the config, and compare it', false)
    .option('--newest', 'with --store: of each board only its newest backup', false)
    .option('--continue', 'with --store: go on with a run over everything that was broken off', false)
    .option(
      '--repair',
      'with --store: put sound copies of here in the place of what is damaged or missing there',
      false,
    )
    .option('--dry-run', 'with --store: only list it, and say how much would be read', false)
    .addHelpText('after', STORE_HELP);
}
