/** Options of `espd doctor`. */

import type { Command } from 'commander';

export interface DoctorCommandOptions {
  readonly fix: boolean;
  readonly yes: boolean;
}

export function addDoctor(command: Command): Command {
  return command
    .option('--fix', 'do what is safe, each after a question; no board and no backup is touched', false)
    .option('--yes', 'with --fix: do it without a question', false);
}
