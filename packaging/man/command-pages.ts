/** Manual pages of the program and of each command, made of the definitions that the program itself runs with. Pure. */

import type { CommandFacts, OptionFacts, ProgramFacts, ValueFacts } from '../../src/cli/completion/command-line.ts';
import { namesOf, spellingsOf } from '../../src/cli/completion/command-line.ts';
import type { Block, Inline, ManPage } from './roff.ts';

const FILES: readonly Block[] = [
  { section: 'FILES' },
  {
    term: [{ italic: '/etc/espd/config.yaml' }],
    meaning: ['The config of the service, and of everyone without one in ', { italic: '~/.config/espd' }, '.'],
  },
  {
    term: [{ italic: '/var/lib/espd' }],
    meaning: [
      'The archive of the service, and of root. Of other users without that config: ',
      { italic: '~/.local/share/espd' },
      '.',
    ],
  },
];

const ENVIRONMENT: readonly Block[] = [
  { section: 'ENVIRONMENT' },
  { term: [{ bold: 'ESPD_CONFIG' }], meaning: ['The config file, where ', { bold: '--config' }, ' is not given.'] },
  {
    term: [{ bold: 'ESPD_SOCKET' }],
    meaning: ['The socket of the daemon that does commands, instead of the one that the config names.'],
  },
  {
    term: [{ bold: 'ESPD_NO_DAEMON' }],
    meaning: ['Not empty, 0 or false: no daemon is asked, as with ', { bold: '--no-daemon' }, '.'],
  },
  { term: [{ bold: 'NO_COLOR' }], meaning: ['Any value: no colors.'] },
];

/** `help` has no page: the pages are the help. */
export function commandPages(program: ProgramFacts): ManPage[] {
  const commands = program.commands.filter(({ name }) => name !== 'help');
  return [programPage(program, commands), ...commands.map((command) => commandPage(command, program))];
}

function programPage(program: ProgramFacts, commands: readonly CommandFacts[]): ManPage {
  return {
    name: 'espd',
    section: 1,
    summary: 'back up and restore the flash of ESP8266 and ESP32 boards',
    blocks: [
      { section: 'SYNOPSIS' },
      { paragraph: [{ bold: 'espd' }, ' [', { italic: 'OPTION' }, '...] ', { italic: 'COMMAND' }, ' [', { italic: 'ARGUMENT' }, '...]'] },
      { section: 'DESCRIPTION' },
      { paragraph: [program.description] },
      { section: 'COMMANDS' },
      ...commands.map((command): Block => ({
        term: [{ bold: `espd-${command.name}` }, '(1)'],
        meaning: [`${capital(command.description)}.`],
      })),
      { section: 'OPTIONS' },
      { paragraph: ['These stand before or behind the command.'] },
      ...program.options.map(optionBlock),
      ...noteBlocks(program.notes),
      ...FILES,
      ...ENVIRONMENT,
      ...seeAlso(['espd.yaml(5)', 'espd.service(8)']),
    ],
  };
}

function commandPage(command: CommandFacts, program: ProgramFacts): ManPage {
  const options = command.options.filter(({ long }) => long !== '--help');
  return {
    name: `espd-${command.name}`,
    section: 1,
    summary: command.description,
    blocks: [
      { section: 'SYNOPSIS' },
      ...namesOf(command).map((name): Block => ({
        paragraph: [
          { bold: `espd ${name}` },
          ...(options.length === 0 ? [] : [' [', { italic: 'OPTION' }, '...]']),
          ...command.args.flatMap((argument): Inline[] => [' ', ...argumentSpans(argument)]),
        ],
      })),
      { section: 'DESCRIPTION' },
      { paragraph: [`${capital(command.description)}.`] },
      ...(command.args.length === 0 ? [] : [{ section: 'ARGUMENTS' }]),
      ...command.args.map((argument): Block => ({
        term: argumentSpans(argument),
        meaning: [`${capital(argument.description)}${choicesText(argument.choices)}.`],
      })),
      ...(options.length === 0 ? [] : [{ section: 'OPTIONS' }]),
      ...options.map(optionBlock),
      { section: 'COMMON OPTIONS' },
      { paragraph: ['See ', { bold: 'espd' }, '(1): ', ...listed(program.options)] },
      ...noteBlocks(command.notes === '' ? '' : `Notes:\n${command.notes}`),
      ...noteBlocks(program.notes),
      ...seeAlso(['espd(1)', ...(command.name === 'daemon' ? ['espd.service(8)'] : []), 'espd.yaml(5)']),
    ],
  };
}

function listed(options: readonly OptionFacts[]): Inline[] {
  const last = options.length - 1;
  return options.flatMap(({ long }, index): Inline[] => [{ bold: long }, index < last ? ', ' : '.']);
}

function optionBlock(option: OptionFacts): Block {
  const { value } = option;
  const names = spellingsOf(option).flatMap((name, index): Inline[] => [...(index > 0 ? [', '] : []), { bold: name }]);
  const shown: Inline[] = value === null ? [] : value.isOptional ? [' [', valueName(value), ']'] : [' ', valueName(value)];
  const inForce = option.default === null ? '' : ` (default: ${option.default})`;
  return {
    term: [...names, ...shown],
    meaning: [`${capital(option.description)}${choicesText(value?.choices ?? [])}${inForce}.`],
  };
}

function choicesText(choices: readonly string[]): string {
  return choices.length === 0 ? '' : `: ${choices.join(', ')}`;
}

function valueName({ name }: ValueFacts): Inline {
  return { italic: name.toUpperCase() };
}

function argumentSpans(argument: ValueFacts): Inline[] {
  const dots = argument.isVariadic ? '...' : '';
  return argument.isOptional ? ['[', valueName(argument), `${dots}]`] : [valueName(argument), dots];
}

/**
 * The texts below the lists of a help: a line that ends with a colon and stands at the margin begins a section where it
 * is the first of its paragraph and indented lines follow; indented lines stay as they are.
 */
export function noteBlocks(notes: string): Block[] {
  const blocks: Block[] = [];
  for (const paragraph of notes.split(/\n{2,}/)) {
    const lines = paragraph.split('\n').filter((line) => line !== '');
    while (lines.length > 0) {
      const isIndented = lines[0]?.startsWith(' ') === true;
      const end = lines.findIndex((line) => line.startsWith(' ') !== isIndented);
      const run = lines.splice(0, end === -1 ? lines.length : end);
      if (isIndented) blocks.push({ literal: run.map((line) => line.replace(/^ {1,2}/, '')) });
      else blocks.push(...marginBlocks(run));
    }
  }
  return blocks;
}

function marginBlocks([first = '', ...rest]: readonly string[]): Block[] {
  const heading = /^([A-Z][A-Za-z ]{1,30}):$/.exec(first)?.[1];
  if (heading === undefined) return [{ paragraph: [[first, ...rest].join('\n')] }];
  const section = { section: heading.toUpperCase() };
  return rest.length === 0 ? [section] : [section, { paragraph: [rest.join('\n')] }];
}

/** @param pages `espd(1)` */
export function seeAlso(pages: readonly string[]): Block[] {
  const spans = pages.flatMap((page, index): Inline[] => {
    const [, name = page, section = ''] = /^(.*)(\(\d\))$/.exec(page) ?? [];
    return [...(index > 0 ? [', '] : []), { bold: name }, section];
  });
  return [{ section: 'SEE ALSO' }, { paragraph: spans }];
}

function capital(text: string): string {
  // An option, a word of espd or the name of a program stays as it is.
  return /^[a-z]+[ ,]/.test(text) && !text.startsWith('esptool') ? text.charAt(0).toUpperCase() + text.slice(1) : text;
}
