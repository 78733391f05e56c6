/** What `espd doctor` takes. A file of its own, so that other commands load nothing of its checks. */

import type { Command } from 'commander';

export function addDoctor(command: Command): Command {
  return command
    .option('--fix', 'do what is safe, each after a question; no board and no backup is touched', false)
    .option('--yes', 'with --fix: do it without a question', false);
}
