/** `espd completion SHELL`: the script by which a shell completes espd's command line. */

import type { Command } from 'commander';
import { bashCompletion } from './bash.ts';
import { type ProgramFacts, describeProgram } from './command-line.ts';
import { fishCompletion } from './fish.ts';
import { zshCompletion } from './zsh.ts';

const SCRIPTS = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion } as const;
export type Shell = keyof typeof SCRIPTS;
export const SHELLS = Object.keys(SCRIPTS) as Shell[];

export const COMPLETION_HELP = `
For yourself, in one of these ways:
  bash  espd completion bash > ~/.local/share/bash-completion/completions/espd
        (needs the package bash-completion), or in ~/.bashrc:
        source <(espd completion bash)
  zsh   espd completion zsh > DIR/_espd, in a DIR of $fpath; or in ~/.zshrc,
        after compinit: source <(espd completion zsh)
  fish  espd completion fish > ~/.config/fish/completions/espd.fish
Debian's package of espd has installed them.`;

export function completionScript(shell: Shell, program: ProgramFacts): string {
  return SCRIPTS[shell](program);
}

/** @param command one of the program's own; the script is of the whole program */
export function completionOf(shell: Shell, command: Command): string {
  return completionScript(shell, describeProgram(command.parent ?? command));
}
