/** The completion script for zsh: a function file `_espd` for a folder of `$fpath`. Pure. */

import {
  type CommandFacts,
  type OptionFacts,
  type ProgramFacts,
  type ValueFacts,
  namesOf,
  spellingsOf,
} from './command-line.ts';
import { quoted } from './quoting.ts';

export function zshCompletion(program: ProgramFacts): string {
  return `#compdef espd
# Completion of espd for zsh, printed by "espd completion zsh".

# Asks espd itself: $1 is boards or ports. It prints nothing where it cannot tell.
_espd_ask() {
  local -a place lines values shown
  local -i i
  for ((i = 2; i < $#espd_words; i++)); do
    case $espd_words[i] in
      --config | --archive) place+=($espd_words[i] \${(Q)espd_words[i+1]}) ;;
      --config=* | --archive=*) place+=(\${(Q)espd_words[i]}) ;;
    esac
  done
  lines=("\${(@f)$(espd complete $place $1 -- \${(Q)PREFIX} 2>/dev/null)}")
  lines=(\${lines:#})
  values=("\${(@)lines%%$'\\t'*}")
  shown=("\${(@)lines/$'\\t'/  }")
  (($#values)) && compadd -l -d shown -a values
}
_espd_boards() { _espd_ask boards }
_espd_ports() { _espd_ask ports }
_espd_boards_or_files() { _espd_ask boards || _files }

_espd_commands() {
  local -a commands
  commands=(
${program.commands.flatMap((command) => namesOf(command).map((name) => `    ${quoted(`${name}:${command.description}`)}`)).join('\n')}
  )
  _describe command commands
}

_espd() {
  local curcontext=$curcontext state line
  local -a espd_words=("\${words[@]}") everywhere
  typeset -A opt_args
  everywhere=(
${specs(program.options)}
  )
  _arguments -C $everywhere '1:command:_espd_commands' '*::argument:->argument'
  [[ $state == argument ]] || return
  case $line[1] in
${program.commands.map(commandCase).join('\n')}
  esac
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _espd "$@"
else
  compdef _espd espd
fi
`;
}

function commandCase(command: CommandFacts): string {
  const own = specs(command.options, '        ');
  const args = command.args.map((argument, index) => `        ${argumentSpec(argument, index + 1)}`).join('\n');
  const lines = [own, args].filter((part) => part !== '').join('\n');
  return `    ${namesOf(command).join(' | ')})
      everywhere=(\${everywhere:#*--help*})
      _arguments $everywhere \\
${lines.split('\n').join(' \\\n')}
      ;;`;
}

function specs(options: readonly OptionFacts[], indent = '    '): string {
  return options.flatMap((option) => spellingsOf(option).map((name) => indent + optionSpec(option, name))).join('\n');
}

function optionSpec(option: OptionFacts, name: string): string {
  const { value, description, isRepeatable } = option;
  const excluded = isRepeatable || option.short === undefined ? '' : `(${spellingsOf(option).join(' ')})`;
  const star = isRepeatable ? '*' : '';
  const head = `${excluded}${star}${name}${value === null || !name.startsWith('--') ? '' : '='}`;
  const tail = value === null ? '' : `${value.isOptional ? '::' : ':'}${valueSpec(value)}`;
  return quoted(`${head}[${escaped(description, /[\\[\]]/g)}]${tail}`);
}

function argumentSpec(argument: ValueFacts, place: number): string {
  const head = argument.isVariadic ? '*:' : `${place}${argument.isOptional ? '::' : ':'}`;
  return quoted(`${head}${valueSpec(argument)}`);
}

const ACTIONS: Readonly<Record<Exclude<ValueFacts['kind'], 'choices'>, string>> = {
  boards: '_espd_boards',
  ports: '_espd_ports',
  files: '_files',
  folders: '_files -/',
  'boards-or-files': '_espd_boards_or_files',
  // A blank: the message is shown, and nothing offered.
  text: ' ',
};

/** `message:action` of zsh's _arguments. */
function valueSpec({ name, kind, choices }: ValueFacts): string {
  const action =
    kind === 'choices' ? `(${choices.map((choice) => escaped(choice, /[\\ ()]/g)).join(' ')})` : ACTIONS[kind];
  return `${escaped(name, /[\\:]/g)}:${action}`;
}

function escaped(text: string, signs: RegExp): string {
  return text.replaceAll(signs, String.raw`\$&`);
}
