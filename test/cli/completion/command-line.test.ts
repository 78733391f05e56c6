/** What is read out of commander: every command, option and argument, as it is. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Argument, Command, Option } from 'commander';
import { listArgument } from '../../../src/cli/arguments.ts';
import { describeProgram, namesOf, spellingsOf } from '../../../src/cli/completion/command-line.ts';
import { SHELLS, completionScript } from '../../../src/cli/completion/script.ts';
import { programForReading } from '../../../src/cli/program.ts';

const program = describeProgram(programForReading());

function sample() {
  const made = new Command('made')
    .description('a program')
    .version('1', '-V, --version')
    .option('--config <file>', 'a file')
    .addHelpText('after', '\nEverywhere')
    .exitOverride();
  made
    .command('work')
    .alias('w')
    .description("it's [work]: with `signs`")
    .argument('<board>', 'which')
    .argument('[files...]', 'more')
    .option('--wait [seconds]', 'a while')
    .option('--keep <name>', 'one', listArgument)
    .option('--count <boards>', 'so many', Number, 3)
    .addOption(new Option('--secret', 'unseen').hideHelp())
    .addOption(new Option('--how <way>', 'how').choices(['fast', 'slow']).default('fast'))
    .option('--yes', 'do not ask', false)
    .addHelpText('after', '\nEverywhere')
    .addHelpText('after', '\nMore of it.');
  made.command('unseen', { hidden: true });
  made.command('shell').addArgument(new Argument('<shell>', 'one').choices(['a', 'b']));
  return describeProgram(made);
}

test('commands, aliases, options and arguments are read as they were defined; hidden ones are not', () => {
  const { commands, options, notes } = sample();
  assert.deepEqual(commands.map(namesOf), [['work', 'w'], ['shell'], ['help']]);
  assert.deepEqual(options.map(spellingsOf), [['-V', '--version'], ['--config'], ['-h', '--help']]);
  assert.equal(notes, 'Everywhere');
  const [work] = commands;
  assert.equal(work!.notes, 'More of it.');
  assert.deepEqual(
    work!.options.map(({ long, value, default: inForce, isRepeatable }) => [
      ...[long, value?.kind ?? null, value?.isOptional ?? null, inForce, isRepeatable],
    ]),
    [
      ['--wait', 'text', true, null, false],
      ['--keep', 'text', false, null, true],
      // A number of boards is no board.
      ['--count', 'text', false, '3', false],
      ['--how', 'choices', false, 'fast', false],
      ['--yes', null, null, null, false],
      ['--help', null, null, null, false],
    ],
  );
  assert.deepEqual(
    work!.args.map(({ name, kind, isOptional, isVariadic }) => [name, kind, isOptional, isVariadic]),
    [
      ['board', 'boards', false, false],
      ['files', 'files', true, true],
    ],
  );
});

test('the choices of help are the commands', () => {
  assert.deepEqual(sample().commands.at(-1)?.args[0]?.choices, ['work', 'shell', 'help']);
});

test('espd: every command has its options, and values of boards, ports and files are known as such', () => {
  const names = program.commands.map(({ name }) => name);
  for (const name of ['daemon', 'backup', 'restore', 'completion', 'help']) assert.ok(names.includes(name), name);
  assert.ok(!names.includes('complete'));
  const kindOf = (command: string, long: string) =>
    program.commands.find(({ name }) => name === command)?.options.find((option) => option.long === long)?.value?.kind;
  assert.equal(kindOf('backup', '--port'), 'ports');
  assert.equal(kindOf('backup', '--mac'), 'boards');
  assert.equal(kindOf('backup', '--output'), 'files');
  assert.equal(kindOf('restore', '--count'), 'text');
  assert.equal(program.options.find(({ long }) => long === '--archive')?.value?.kind, 'folders');
});

describe('scripts', () => {
  for (const shell of SHELLS) {
    test(`${shell}: each option of each command is in it, whatever signs its description has`, () => {
      for (const facts of [program, sample()]) {
        const script = completionScript(shell, facts);
        for (const command of facts.commands) {
          for (const { long } of command.options) {
            if (long === '--help') continue;
            const pattern = shell === 'fish' ? `-l ${long.slice(2)} ` : long;
            assert.ok(script.includes(pattern), `${command.name} ${long}`);
          }
        }
        assert.ok(!script.includes('unseen'));
      }
    });
  }
});
