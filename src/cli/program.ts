/** The command line: options, help and errors of all commands; each command is a file of its own beside this one. */

import { Argument, Command, CommanderError, Help, Option } from 'commander';
import { EXIT, EspdError } from '../errors.ts';
import { VERSION } from '../version.ts';
import { FLASH_SIZE_HELP, NOW_HELP, PORT_HELP, boardArgument, flashSizeArgument, macOf } from './arguments.ts';
import type { BackupCommandOptions } from './backup.ts';
import { COMPLETION_HELP, SHELLS, type Shell, completionOf } from './completion/script.ts';
import type { ContentsCommandOptions } from './contents.ts';
import type { CommandContext } from './context.ts';
import { addDiff } from './diff-options.ts';
import type { DiffCommandOptions } from './diff.ts';
import { type DoctorCommandOptions, addDoctor } from './doctor-options.ts';
import { endedBy } from './ended-by.ts';
import type { ExportCommandOptions } from './export/export.ts';
import { addExport } from './export/options.ts';
import { addFleetCommands } from './fleet/commands.ts';
import { type CommonOptions, type Host, outputOf } from './host.ts';
import type { ImportCommandOptions } from './import/import.ts';
import { addImport } from './import/options.ts';
import { LABEL_HELP, type LabelCommandOptions } from './label.ts';
import { addList } from './list-options.ts';
import type { ListCommandOptions } from './list.ts';
import type { Output } from './output.ts';
import { type PruneCommandOptions, addPrune } from './prune-options.ts';
import { addRestore, addUndo } from './restore-options.ts';
import type { RestoreCommandOptions } from './restore.ts';
import type { ShowCommandOptions } from './show.ts';
import { addRecord } from './record-options.ts';
import type { Recorded } from './record.ts';
import { type RunCommandOptions, addRun } from './run/options.ts';
import { type LoneRunner, addStationCommands } from './station/commands.ts';
import { addWeb } from './web/command.ts';
import { throughDaemon } from './through-daemon.ts';
import type { UndoCommandOptions } from './undo.ts';
import { addVerify } from './verify-options.ts';
import type { VerifyCommandOptions } from './verify.ts';

const EXIT_HELP = `
Exit status:
  ${EXIT.done}    done
  ${EXIT.failed}    failed
  ${EXIT.usage}    wrong usage or config
  ${EXIT.notFound}    no matching board, port or archive
  ${EXIT.damaged}    verification found damage or a difference
  ${EXIT.refused}    refused for safety
  ${EXIT.interrupted}  interrupted`;

/** Commander's, but a switch is off unless it is given: that need not be said. */
const HELP_STYLE: Partial<Help> = {
  showGlobalOptions: true,
  optionDescription: (option) =>
    option.defaultValue === false ? option.description : new Help().optionDescription(option),
};

/**
 * Runs one command line.
 *
 * @param args without node and script
 * @returns the exit status; what went wrong has been printed
 */
export async function runCommandLine(args: readonly string[], host: Host): Promise<number> {
  let status: number = EXIT.done;
  const run: Runner = async (command, work, isService = false) => {
    status = await runCommand(args, command, host, work, isService);
  };
  const runAlone: LoneRunner = async (command, work) => {
    status = (await runWithoutContext(command.optsWithGlobals(), host, work))?.exitStatus ?? EXIT.done;
  };
  const program = buildProgram(host, run, runAlone, (ended) => (status = ended));
  try {
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return EXIT.done;
    const failure = usageError(error);
    report(failure, outputOf({ json: args.includes('--json'), color: !args.includes('--no-color') }, host));
    return failure.exitStatus;
  }
  return status;
}

/** Options as they were typed: the board of `K` is yet to be looked up. */
type Named<T, K extends keyof T> = Omit<T, K> & { readonly [_ in K]?: string };

type Runner = (
  command: Command,
  work: (context: CommandContext) => Promise<EspdError | undefined>,
  isService?: boolean,
) => Promise<void>;

/** The program without anything that runs: for those who only read what commands and options there are. */
export function programForReading(): Command {
  const silent = { write: () => undefined };
  const host: Host = {
    env: {},
    terminal: { stdout: silent, stderr: silent },
    signal: new AbortController().signal,
    onHangup: () => undefined,
  };
  return buildProgram(
    host,
    () => Promise.resolve(),
    () => Promise.resolve(),
    () => undefined,
  );
}

function buildProgram(host: Host, run: Runner, runAlone: LoneRunner, onStatus: (status: number) => void): Command {
  const program = new Command('espd')
    .description('Backs up the whole flash of every ESP8266 and ESP32 board that you plug in, and puts it back.')
    .version(VERSION, '-V, --version')
    .option(
      '--config <file>',
      'read this config (default: $ESPD_CONFIG, ~/.config/espd/config.yaml, /etc/espd/config.yaml)',
    )
    .option('--archive <dir>', 'use this archive folder instead of the one in the config')
    .option('--json', 'write one JSON document to stdout')
    .option('--no-daemon', 'do it in this process, also where a daemon runs that could be asked')
    .addOption(new Option('--log-level <level>', 'log this much on stderr').choices(['error', 'warn', 'info', 'debug']))
    .option('--no-color', 'write without colors')
    .addHelpText('after', EXIT_HELP)
    .configureHelp(HELP_STYLE)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void host.terminal.stdout.write(text),
      // Errors are printed once, by this file.
      writeErr: () => undefined,
    });

  const add = (name: string, description: string) =>
    program
      .command(name)
      .description(description)
      .addHelpText('after', EXIT_HELP)
      .configureHelp(HELP_STYLE)
      .exitOverride();

  add('daemon', 'back up every board that is plugged in, until it is stopped: the service').action(
    (_, command: Command) => run(command, async (context) => (await import('./daemon.ts')).daemon(context, host), true),
  );

  addRecord(add('identify', "show a board's chip, MAC, flash and security state: esptool's flash_id, and more"))
    .alias('flash-id')
    .option('--port <port>', PORT_HELP)
    .action((options: { port?: string }, command: Command) =>
      run(command, async (context) => (await import('./identify.ts')).identify(context, options)),
    );

  addRecord(add('backup', 'back up one board, or all that are attached, now'))
    .option('--port <port>', PORT_HELP)
    .option('--mac <board>', 'only the attached board with this MAC or label', boardArgument)
    .option('--full', 'read every byte, even where a digest says that it is known', false)
    .option('--plain', "without espd's own reader on the chip: nothing is compressed on its way", false)
    .option('--half-restored', 'back up a board although a restore of it was interrupted', false)
    .option('--output <file>', 'also write the image to this new file')
    .option('--flash-size <size>', FLASH_SIZE_HELP, flashSizeArgument)
    .option('--now', NOW_HELP)
    .action(({ mac, ...options }: Named<BackupCommandOptions, 'mac'>, command: Command) =>
      run(command, async (context) =>
        (await import('./backup.ts')).backup(
          context,
          { ...options, ...(mac !== undefined && { mac: await macOf(context.archive, mac) }) },
          host.env,
        ),
      ),
    );

  addRecord(addRestore(add('restore', 'put an archived image back on its board'))).action(
    (board: string | undefined, { to, ...options }: Named<RestoreCommandOptions, 'to'>, command: Command) =>
      run(command, async (context) => {
        const target = to === undefined ? {} : { to: await macOf(context.archive, to) };
        return (await import('./restore.ts')).restore(context, { ...options, ...target, ...(board && { board }) });
      }),
  );

  addRecord(addUndo(add('undo', 'put back what was on a board before its last restore, or its last change'))).action(
    (board: string, options: Omit<UndoCommandOptions, 'board'>, command: Command) =>
      run(command, async (context) => (await import('./undo.ts')).undo(context, { ...options, board })),
  );

  addList(add('list', 'list the boards in the archive, all or some of them')).action(
    (options: ListCommandOptions, command: Command) =>
      run(command, async (context) => (await import('./list.ts')).list(context, options)),
  );

  add('label', 'give a board a name, a note or a group')
    .argument('<board>', 'its MAC, or the label that it has')
    .argument('[name]', 'the label that it gets')
    .option('--note <text>', 'note this of the board')
    .option('--group <group>', 'put it in this group, which list and retention know')
    .option('--clear', 'clear what is not given: label, note and group')
    .addHelpText('after', LABEL_HELP)
    .action((board: string, name: string | undefined, options: LabelCommandOptions, command: Command) =>
      run(command, async (context) =>
        (await import('./label.ts')).label(context, board, { ...options, ...(name !== undefined && { name }) }),
      ),
    );

  add('show', 'show the backups of one board, with partitions, firmware and history')
    .argument('<board>', 'its MAC or label, or BOARD@WHICH for one backup (WHICH as for restore --at)')
    .option('--removed', 'list the backups that were removed, and why', false)
    .action((text: string, options: ShowCommandOptions, command: Command) => {
      const [board = '', which] = text.split(/@(.*)/s);
      return run(command, async (context) => (await import('./show.ts')).show(context, board, which, options));
    });

  add('contents', 'tell what is in a backup: NVS keys and files; values of secrets are never shown')
    .argument('<backup>', 'MAC or label, or BOARD@WHICH (WHICH as for restore --at; default: latest)')
    .option('--reveal', 'show the values of NVS keys, but for secrets', false)
    .action((text: string, options: ContentsCommandOptions, command: Command) => {
      const [board = '', which] = text.split(/@(.*)/s);
      return run(command, async (context) => (await import('./contents.ts')).contents(context, board, which, options));
    });

  addRecord(
    addDiff(add('diff', 'tell what changed between two backups, or between a backup and the attached board')),
  ).action((board: string, other: string | undefined, options: DiffCommandOptions, command: Command) =>
    run(command, async (context) =>
      (await import('./diff.ts')).diff(context, other === undefined ? [board] : [board, other], options),
    ),
  );

  addVerify(add('verify', 'hash the archive or what is in the object store again, or compare attached boards')).action(
    (boards: string[], options: Omit<VerifyCommandOptions, 'boards'>, command: Command) =>
      run(command, async (context) => (await import('./verify.ts')).verify(context, { ...options, boards }, host.env)),
  );

  addExport(add('export', 'write a backup, a part of it, or a file out of it, to a new file')).action(
    (text: string, file: string, options: ExportCommandOptions, command: Command) => {
      const [board = '', which] = text.split(/@(.*)/s);
      return run(command, async (context) =>
        (await import('./export/export.ts')).exportBackup(context, board, which, file, options),
      );
    },
  );

  addImport(add('import', 'bring dumps of whole flashes into the archive: .bin, .bin.gz, Intel HEX, folders')).action(
    (files: string[], options: ImportCommandOptions, command: Command) =>
      run(command, async (context) => (await import('./import/import.ts')).importDumps(context, files, options)),
  );

  addPrune(add('prune', 'remove backups that the policy does not keep; shows them first, and asks')).action(
    (boards: string[], options: Omit<PruneCommandOptions, 'boards'>, command: Command) =>
      run(command, async (context) => (await import('./prune.ts')).prune(context, { ...options, boards }, host.env)),
  );

  const PINNED = 'MAC or label, or MAC@WHICH (WHICH as for restore --at; default: latest)';
  add('pin', 'keep a backup, whatever the policy says')
    .argument('<backup>', PINNED)
    .option('--note <text>', 'why')
    .action((text: string, options: { note?: string }, command: Command) =>
      run(command, async (context) => (await import('./pin.ts')).pin(context, text, options.note)),
    );

  add('unpin', 'let the policy decide about a backup again')
    .argument('<backup>', PINNED)
    .action((text: string, _, command: Command) =>
      run(command, async (context) => (await import('./pin.ts')).unpin(context, text)),
    );

  addRun(add('run', 'back a board up, run a command that has its port, and tell what that changed')).action(
    async (words: string[], _: RunCommandOptions, command: Command) => {
      const options = command.optsWithGlobals<CommonOptions & RunCommandOptions>();
      let ended: number | undefined;
      await runAlone(command, async (out) => {
        const result = await (await import('./run/run.ts')).run(words, options, { host, out, runCommandLine });
        ended = result.status;
        return result.error;
      });
      if (ended !== undefined) onStatus(ended);
    },
  );

  addFleetCommands(add, run, host);
  addStationCommands(add, runAlone, host);
  addWeb(add, runAlone, host);

  addDoctor(add('doctor', "check this machine's set-up; each finding with the command that mends it")).action(
    (options: DoctorCommandOptions, command: Command) => {
      const common: CommonOptions = command.optsWithGlobals();
      return runAlone(command, async (out) => (await import('./doctor.ts')).doctor({ common, host, out }, options));
    },
  );

  add('demo', 'run the real daemon and commands on simulated boards; no hardware needed').action(
    (_, command: Command) => run(command, async (context) => (await import('./demo.ts')).demo(context.out, host)),
  );

  add('completion', 'print the script by which bash, zsh or fish completes this command line')
    .addArgument(new Argument('<shell>', 'the shell').choices(SHELLS))
    .addHelpText('after', COMPLETION_HELP)
    .action((shell: Shell, _, command: Command) => void host.terminal.stdout.write(completionOf(shell, command)));

  program.command('relay', { hidden: true }).action(async (_, command: Command) => {
    const { relay } = await import('./relay/relay.ts');
    const { config, archive }: CommonOptions = command.optsWithGlobals();
    const options = { ...(config !== undefined && { config }), ...(archive !== undefined && { archive }) };
    onStatus(await relay({ input: process.stdin, output: process.stdout }, options, host, runCommandLine));
  });
  return program;
}

/** @returns the exit status; what went wrong has been printed */
async function runCommand(
  args: readonly string[],
  command: Command,
  host: Host,
  work: (context: CommandContext) => Promise<EspdError | undefined>,
  isService: boolean,
): Promise<number> {
  const options: CommonOptions = command.optsWithGlobals();
  const out = outputOf(options, host);
  let context: CommandContext | undefined;
  let recorded: Recorded | undefined;
  try {
    refuseOwn(options, host);
    const relayed = await throughDaemon(args, options, host);
    if (relayed !== undefined) {
      // A document that has begun to appear on stdout stays the only one.
      if (relayed.error !== undefined && relayed.hasOutput) out.error(relayed.error);
      else if (relayed.error !== undefined) report(relayed.error, out);
      return relayed.status;
    }
    const [{ openContext }, { startRecording }] = await Promise.all([import('./context.ts'), import('./record.ts')]);
    context = await openContext(options, host, out, { command: command.name(), isService });
    recorded = await startRecording(context, options, command.name());
    const error = (await work(recorded?.context ?? context)) ?? faultOf(host.signal);
    // The command has printed its document already.
    if (error !== undefined && !out.json) out.error(error);
    if (error?.code === 'internal') context.log.debug(error.message, { stack: stackOf(error) });
    return error?.exitStatus ?? EXIT.done;
  } catch (error) {
    const failure = endedBy(host.signal, error);
    if (failure.code === 'internal') context?.log.debug(failure.message, { stack: stackOf(failure) });
    report(failure, out);
    return failure.exitStatus;
  } finally {
    await recorded?.finish();
    await context?.log.close();
  }
}

async function runWithoutContext(
  options: CommonOptions,
  host: Host,
  work: (out: Output) => Promise<EspdError | undefined>,
): Promise<EspdError | undefined> {
  const out = outputOf(options, host);
  try {
    const error = await work(out);
    if (error !== undefined && !out.json) out.error(error);
    return error;
  } catch (error) {
    const failure = endedBy(host.signal, error);
    report(failure, out);
    return failure;
  }
}

/** Config, archive and log of a daemon are its own: whoever wants others does without it. */
function refuseOwn({ config, archive, logLevel }: CommonOptions, { service }: Host): void {
  if (service === undefined || (config ?? archive ?? logLevel) === undefined) return;
  throw new EspdError('daemon-protocol', 'A daemon uses its own config, archive and log', { hint: 'Add --no-daemon' });
}

/** Why the process ends, where that is a fault of its own and no signal. */
function faultOf(signal: AbortSignal): EspdError | undefined {
  return signal.reason instanceof EspdError ? signal.reason : undefined;
}

function stackOf({ cause }: EspdError): string | undefined {
  return cause instanceof Error ? cause.stack : undefined;
}

/** Prints an error that kept a command from having any result. */
function report(error: EspdError, out: Output): void {
  out.document({ error });
  if (!out.json) out.error(error);
}

function usageError(error: CommanderError): EspdError {
  if (error.code === 'commander.help') return new EspdError('usage', 'No command given', { hint: 'Run "espd --help"' });
  // "Did you mean ...?" stands on a line of its own.
  const message = error.message
    .replace(/^error: /, '')
    .replace(/\.$/, '')
    .replaceAll('\n', ' ');
  return new EspdError('usage', message, { hint: 'Run "espd --help", or "espd COMMAND --help"' });
}
