/**
 * espd's command line as data: what commander knows of commands, options and arguments, for those who write it down in
 * another language (completions of shells, man pages). So none of them has a list of its own.
 */

import type { EventEmitter } from 'node:events';
import type { Argument, Command, Option } from 'commander';
import { listArgument } from '../arguments.ts';

/** What a value is, as far as a shell can offer some. `text` is everything else. */
export type ValueKind = 'boards' | 'ports' | 'files' | 'folders' | 'boards-or-files' | 'choices' | 'text';

/** The value of an option, or an argument. */
export interface ValueFacts {
  /** As the help shows it, without brackets and dots: `port`, `board`. */
  readonly name: string;
  readonly kind: ValueKind;
  /** All values there are, where `kind` is `choices`; else empty. */
  readonly choices: readonly string[];
  readonly isOptional: boolean;
  /** Takes all words from here on. */
  readonly isVariadic: boolean;
  readonly description: string;
}

export interface OptionFacts {
  /** `-V`; absent for most. */
  readonly short?: string;
  /** `--port`. Every option has one. */
  readonly long: string;
  readonly description: string;
  /** Null for a switch. */
  readonly value: ValueFacts | null;
  /** What is in force where it is not given, where that is more than "off". */
  readonly default: string | null;
  /** May be given several times. */
  readonly isRepeatable: boolean;
}

export interface CommandFacts {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly description: string;
  readonly options: readonly OptionFacts[];
  readonly args: readonly ValueFacts[];
  /** What the help says below its lists, without what the help of the program says there, too. */
  readonly notes: string;
}

export interface ProgramFacts extends CommandFacts {
  /** Without hidden ones; `help` is one of them. Options of the program are not repeated in their options. */
  readonly commands: readonly CommandFacts[];
}

/** Placeholders of options and arguments whose values a shell can offer. */
const KINDS: Readonly<Record<string, ValueKind>> = {
  board: 'boards',
  mac: 'boards',
  backup: 'boards',
  port: 'ports',
  file: 'files',
  files: 'files',
  dir: 'folders',
  folder: 'folders',
  other: 'boards-or-files',
};

/** Reads a program that has all its commands. Changes nothing of it. */
export function describeProgram(program: Command): ProgramFacts {
  const everywhere = afterHelpOf(program);
  const commands = program.createHelp().visibleCommands(program);
  const names = commands.map((command) => command.name());
  return {
    ...describe(program, ''),
    notes: everywhere,
    commands: commands.map((command) => {
      const facts = describe(command, everywhere);
      return command.name() === 'help' ? { ...facts, args: facts.args.map((arg) => withChoices(arg, names)) } : facts;
    }),
  };
}

function describe(command: Command, everywhere: string): CommandFacts {
  const help = command.createHelp();
  const notes = afterHelpOf(command);
  return {
    name: command.name(),
    aliases: command.aliases(),
    description: command.description(),
    options: help.visibleOptions(command).map(optionFacts),
    args: command.registeredArguments.map(argumentFacts),
    notes: (everywhere === '' ? notes : notes.replace(everywhere, '')).trim(),
  };
}

/** What `addHelpText('after', ...)` adds: commander asks whoever listens to this event, and keeps the texts nowhere else. */
function afterHelpOf(command: Command): string {
  let text = '';
  // A Command is an EventEmitter, which its types do not say.
  const emitter = command as unknown as EventEmitter;
  emitter.emit('afterHelp', { error: false, command, write: (part: string) => void (text += part) });
  return text.trim();
}

function optionFacts(option: Option): OptionFacts {
  const { short, long = '', description } = option;
  const defaultValue: unknown = option.defaultValue;
  const name = /[<[]([^>\]]+)[>\]]/.exec(option.flags)?.[1];
  const plain = typeof defaultValue === 'string' || typeof defaultValue === 'number' ? String(defaultValue) : null;
  return {
    ...(short === undefined ? {} : { short }),
    long,
    description,
    value: name === undefined ? null : valueFacts(name, option.argChoices, !option.required, description),
    default: option.defaultValueDescription ?? plain,
    isRepeatable: option.variadic || (option.parseArg as unknown) === listArgument,
  };
}

function argumentFacts(argument: Argument): ValueFacts {
  const { required, description, variadic } = argument;
  const facts = valueFacts(argument.name(), argument.argChoices, !required, description);
  // `--count <boards>` takes a number, `[boards...]` is several of them.
  const kind = variadic ? (KINDS[facts.name.replace(/s$/, '')] ?? facts.kind) : facts.kind;
  return { ...facts, kind, isVariadic: variadic };
}

function valueFacts(
  placeholder: string,
  choices: readonly string[] | undefined,
  isOptional: boolean,
  description: string,
): ValueFacts {
  const name = placeholder.replace(/\.\.\.$/, '');
  const facts = { name, isOptional, isVariadic: name !== placeholder, description };
  if (choices !== undefined) return { ...facts, kind: 'choices', choices };
  return { ...facts, kind: KINDS[name] ?? 'text', choices: [] };
}

function withChoices(facts: ValueFacts, choices: readonly string[]): ValueFacts {
  return { ...facts, kind: 'choices', choices };
}

/** All words that name a command. */
export function namesOf({ name, aliases }: CommandFacts): readonly string[] {
  return [name, ...aliases];
}

/** `-V` and `--version`, as far as there are both. */
export function spellingsOf({ short, long }: OptionFacts): readonly string[] {
  return short === undefined ? [long] : [short, long];
}
