/** The completion script for bash, 3.2 or newer; nothing of the package bash-completion is needed. Pure. */

import {
  type CommandFacts,
  type OptionFacts,
  type ProgramFacts,
  type ValueFacts,
  namesOf,
  spellingsOf,
} from './command-line.ts';
import { quoted } from './quoting.ts';

export function bashCompletion(program: ProgramFacts): string {
  return `# Completion of espd for bash, printed by "espd completion bash".

# Words as they were typed, up to the cursor. Bash splits them at the signs of COMP_WORDBREAKS, and a MAC has five colons:
# pieces without a blank between them are one word. The last one is being completed.
_espd_split() {
  local line=\${COMP_LINE:0:COMP_POINT} rest piece i
  words=()
  for ((i = 0; i <= COMP_CWORD; i++)); do
    rest=\${line#"\${line%%[![:space:]]*}"}
    if ((i == 0)) || [[ $rest != "$line" ]]; then words+=(''); fi
    piece=\${COMP_WORDS[i]}
    piece=\${piece:0:\${#rest}}
    words[\${#words[@]}-1]+=$piece
    line=\${rest:\${#piece}}
  done
}

# Asks espd itself. It prints nothing where it cannot tell.
_espd_ask() {
  local line
  while IFS= read -r line; do
    printf -v line %q "\${line%%$'\\t'*}"
    candidates+=("$line")
  done < <(espd complete "\${place[@]}" "$1" -- "$2" 2>/dev/null)
}

# Sets kind and choices: of the value that option $2 of command $1 takes. A switch takes none.
_espd_value() {
  kind= choices=
  case "$1 $2" in
${[...valueCases('*', program.options), ...program.commands.flatMap((command) => valueCases(namesOf(command), command.options))].join('\n')}
  esac
}

# Sets options, and kinds of arguments; the last one may end with + and then stands for all that follow.
_espd_command() {
  options= arguments=()
  case $1 in
${program.commands.map(commandCase).join('\n')}
  esac
}

_espd() {
  local words place=() candidates=() options arguments kind= choices= command= takes= isAll= count=0 i word
  COMPREPLY=()
  _espd_split
  local last=$((\${#words[@]} - 1))
  local cur=\${words[last]} lead=
  for ((i = 1; i < last; i++)); do
    word=\${words[i]}
    if [[ -n $takes ]]; then
      case $takes in --config | --archive) place+=("$takes" "$word") ;; esac
      takes=
    elif [[ -n $isAll ]]; then
      ((count++))
    elif [[ $word == -- ]]; then
      isAll=yes
    elif [[ $word == --config=* || $word == --archive=* ]]; then
      place+=("$word")
    elif [[ $word == -*=* ]]; then
      :
    elif [[ $word == -* ]]; then
      _espd_value "$command" "$word"
      if [[ -n $kind ]]; then takes=$word; fi
    elif [[ -z $command ]]; then
      command=$word
    else
      ((count++))
    fi
  done
  kind= choices=

  if [[ -n $takes ]]; then
    _espd_value "$command" "$takes"
  elif [[ -z $isAll && $cur == --*=* ]]; then
    lead=\${cur%%=*}=
    _espd_value "$command" "\${cur%%=*}"
  elif [[ -z $isAll && $cur == -* ]]; then
    _espd_command "$command"
    kind=choices choices="$options ${program.options.flatMap(spellingsOf).join(' ')}"
  elif [[ -z $command ]]; then
    kind=choices choices=${quoted(program.commands.flatMap(namesOf).join(' '))}
  else
    _espd_command "$command"
    if ((count >= \${#arguments[@]})) && [[ \${#arguments[@]} -gt 0 && \${arguments[\${#arguments[@]}-1]} == *+* ]]; then
      count=$((\${#arguments[@]} - 1))
    fi
    kind=\${arguments[count]}
    choices=\${kind#*:}
    kind=\${kind%%[+:]*}
  fi

  case $kind in
    choices) for word in $choices; do candidates+=("$word"); done ;;
    boards | ports) _espd_ask "$kind" "\${cur#"$lead"}" ;;
    boards-or-files) _espd_ask boards "\${cur#"$lead"}"; compopt -o default 2>/dev/null ;;
    files) compopt -o default 2>/dev/null ;;
    folders) compopt -o dirnames 2>/dev/null ;;
  esac

  # Bash replaces only what stands behind the last sign at which it has split the word; of these @ is replaced, too.
  local breaks=\${COMP_WORDBREAKS//[^:=@]/} kept=
  if [[ -n $breaks ]]; then kept=\${cur%"\${cur##*[$breaks]}"}; fi
  kept=\${kept%@}
  for word in "\${candidates[@]}"; do
    word=$lead$word
    if [[ $word == "$cur"* ]]; then COMPREPLY+=("\${word#"$kept"}"); fi
  done
}

complete -F _espd espd
`;
}

function valueCases(commands: '*' | readonly string[], options: readonly OptionFacts[]): string[] {
  return options.flatMap((option) => {
    const { value } = option;
    // The word behind an option whose value may be left out can be anything.
    if (value === null || value.isOptional) return [];
    const prefixes = commands === '*' ? ['*'] : commands;
    const patterns = prefixes.flatMap((prefix) =>
      spellingsOf(option).map((spelling) => (prefix === '*' ? `*' ${spelling}'` : `'${prefix} ${spelling}'`)),
    );
    const choices = value.kind === 'choices' ? ` choices=${quoted(value.choices.join(' '))}` : '';
    return [`    ${patterns.join(' | ')}) kind=${value.kind}${choices} ;;`];
  });
}

function commandCase(command: CommandFacts): string {
  const options = command.options.flatMap(spellingsOf).join(' ');
  const kinds = command.args.map((argument) => quoted(argumentKind(argument))).join(' ');
  return `    ${namesOf(command).join(' | ')}) options=${quoted(options)} arguments=(${kinds}) ;;`;
}

function argumentKind({ kind, choices, isVariadic }: ValueFacts): string {
  return `${kind}${isVariadic ? '+' : ''}${kind === 'choices' ? `:${choices.join(' ')}` : ''}`;
}
