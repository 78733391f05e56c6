/** The options by which a command records what is said to boards. */

import type { Command } from 'commander';

export function addRecord(command: Command): Command {
  return command
    .option('--record <file>', 'write the conversation with the board to this new file, without bytes of its flash')
    .option('--with-payload', 'with --record: with those bytes, and so with passwords and keys');
}
