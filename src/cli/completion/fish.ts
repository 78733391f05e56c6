/** The completion script for fish, 3.0 or newer. Pure. */

import { type CommandFacts, type OptionFacts, type ProgramFacts, type ValueFacts, namesOf } from './command-line.ts';
import { fishQuoted } from './quoting.ts';

export function fishCompletion(program: ProgramFacts): string {
  const takingValue = program.options.filter(({ value }) => value !== null).map(({ long }) => long);
  return `# Completion of espd for fish, printed by "espd completion fish".

# The command of the line: the first word that is neither an option nor the value of one.
function __espd_command
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
        else if contains -- $word ${takingValue.join(' ')}
            set skip 1
        else if not string match -q -- '-*' $word
            echo $word
            return
        end
    end
    return 1
end

function __espd_has_no_command
    not __espd_command >/dev/null
end

function __espd_is
    contains -- (__espd_command; or echo '') $argv
end

# Asks espd itself: boards or ports. It prints nothing where it cannot tell.
function __espd_ask
    set -l place
    set -l takes
    for word in (commandline -opc)[2..-1]
        if test -n "$takes"
            set -a place $takes $word
            set takes
        else if contains -- $word --config --archive
            set takes $word
        else if string match -q -r -- '^--(config|archive)=' $word
            set -a place $word
        end
    end
    espd complete $place $argv[1] -- (string replace -r -- '^--[a-z-]+=' '' (commandline -ct)) 2>/dev/null
end

complete -c espd -f
${program.options.map((option) => optionLine(option, null)).join('\n')}
${program.commands.map(commandLines).join('\n')}
`;
}

function commandLines(command: CommandFacts): string {
  const names = namesOf(command);
  return [
    ...names.map(
      (name) => `complete -c espd -n __espd_has_no_command -a ${name} -d ${fishQuoted(command.description)}`,
    ),
    ...command.args.flatMap((argument) => argumentLine(argument, names)),
    ...command.options.filter(({ long }) => long !== '--help').map((option) => optionLine(option, names)),
  ].join('\n');
}

/** @param commands whose option it is; null for all */
function optionLine({ short, long, description, value }: OptionFacts, commands: readonly string[] | null): string {
  const letter = short === undefined ? '' : ` -s ${short.slice(1)}`;
  const place = commands === null ? '' : ` -n ${conditionOf(commands)}`;
  // The word behind an option whose value may be left out can be anything, so nothing is asked for.
  const offered = value === null || value.isOptional ? '' : offer(value);
  return `complete -c espd${place}${letter} -l ${long.slice(2)}${offered} -d ${fishQuoted(description)}`;
}

function argumentLine(argument: ValueFacts, commands: readonly string[]): string[] {
  if (argument.kind === 'text') return [];
  return [`complete -c espd -n ${conditionOf(commands)}${offer(argument).replace(/^ -r/, '')}`];
}

function conditionOf(commands: readonly string[]): string {
  return fishQuoted(`__espd_is ${commands.join(' ')}`);
}

function offer({ kind, choices }: ValueFacts): string {
  switch (kind) {
    case 'boards':
    case 'ports':
      return ` -r -f -a '(__espd_ask ${kind})'`;
    case 'boards-or-files':
      return ` -r -F -a '(__espd_ask boards)'`;
    case 'files':
      return ' -r -F';
    case 'folders':
      return ` -r -f -a '(__fish_complete_directories (commandline -ct))'`;
    case 'choices':
      return ` -r -f -a ${fishQuoted(choices.join(' '))}`;
    case 'text':
      return ' -r -f';
  }
}
