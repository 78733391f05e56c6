/** Options and help of the commands about the object store. */

import type { Command } from 'commander';

const PUSH_HELP = `
A running daemon pushes by itself; this does it now, and says how it went. What
is there already is not sent again. Backups are never changed or removed by it,
neither here nor there. Which store: the section "store" of the config.`;

export function addPush(command: Command): Command {
  return command
    .argument('[boards...]', 'only these boards: MACs or labels')
    .option('--dry-run', 'only say what is not there yet', false)
    .option('--probe', 'first test again whether the store does what it should', false)
    .addHelpText('after', PUSH_HELP);
}
