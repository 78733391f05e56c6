/** `espd run`: a backup, then another program has the port, then a look at what it changed: an undo for every flash. */

import { sleep, systemClock } from '../../clock.ts';
import { loadConfig } from '../../config/loader.ts';
import { EspdError, hasCode, toEspdError } from '../../errors.ts';
import { silentLogger } from '../../log.ts';
import { listPorts } from '../../serial/listing.ts';
import { macFromUsb } from '../../serial/rules.ts';
import type { CommonOptions, Host } from '../host.ts';
import type { Output } from '../output.ts';
import { portOf } from '../station/target.ts';
import { type GuardParts, clientOf, guardPort } from './guard.ts';
import type { RunCommandOptions } from './options.ts';
import { type ProgramEnd, checkProgram, exitStatusOf, runProgram } from './program.ts';
import { type StepResult, Steps } from './steps.ts';
import type { RunCommandLine } from '../relay/relay.ts';

/** What a backup tells, as far as this command looks into it; the rest goes into the document as it is. */
interface BackupFacts {
  readonly port: string;
  readonly mac: string;
  readonly id: string;
  readonly unchanged: boolean;
}

interface BackupsDocument {
  readonly backups: readonly BackupFacts[];
}

/** What `run` came to. */
export interface RunResult {
  readonly status: number;
  /** What espd itself could not do; not printed yet. */
  readonly error: EspdError | undefined;
}

/** A board that was reset comes back within this time, and a program that has ended closes its port. */
const SETTLE_MS = 10_000;
const LOOK_MS = 500;
const PASSING = ['port-busy', 'port-missing', 'port-vanished', 'port-failed', 'board-not-found'] as const;

/**
 * @param words the command and its arguments
 * @throws EspdError where the command was not run: `usage`, and whatever kept the board from being backed up
 */
export async function run(
  words: readonly string[],
  options: CommonOptions & RunCommandOptions,
  { host, out, runCommandLine }: { host: Host; out: Output; runCommandLine: RunCommandLine },
): Promise<RunResult> {
  if ((options.port === undefined) === (options.mac === undefined)) {
    throw new EspdError('usage', 'Name the board, either with --port or with --mac', {
      hint: 'espd run --port /dev/ttyUSB0 -- COMMAND',
    });
  }
  checkProgram(words[0] ?? '', host.env);
  const { config } = await loadConfig({ path: options.config, env: host.env });
  const parts: GuardParts = { options, config, host, out };
  const steps = new Steps(options, host, runCommandLine);
  const before = await backUpBefore(parts, steps);
  out.note(`${before.mac}  ${before.unchanged ? 'unchanged since' : 'backed up as'} ${before.id}, at ${before.port}`);
  const guard = await guardPort(before.port, `espd run ${words[0] ?? ''}`, parts);
  const startedMs = systemClock.now();
  let end: ProgramEnd;
  try {
    end = await runProgram(words, environmentFor(before, host.env), host, out.json);
  } finally {
    await guard.release();
  }
  const seconds = (systemClock.now() - startedMs) / 1000;
  const status = exitStatusOf(end);
  if (status !== 0) out.note(endText(words[0] ?? '', end));
  host.signal.throwIfAborted();
  const look = await lookAfter(parts, steps, before);
  const command = { argv: words, ...end, seconds, portKeptBy: guard.by };
  const facts = { mac: before.mac, port: look.after?.port ?? before.port, command, before, after: look.after };
  out.document({ ...facts, ...look.told, ...(look.error && { error: look.error }) });
  return { status: status === 0 ? (look.error?.exitStatus ?? 0) : status, error: look.error };
}

async function backUpBefore(parts: GuardParts, steps: Steps): Promise<BackupFacts> {
  const { options, out } = parts;
  out.note('Backing the board up before the command runs');
  const now = options.now === true ? ['--now'] : [];
  const { document, error } = await steps.json<BackupsDocument>(['backup', ...(await targetOf(parts)), ...now]);
  const [found] = document.backups ?? [];
  if (error !== undefined || found === undefined) {
    const { code, hint, message } = error ?? new EspdError('internal', 'The backup told nothing');
    throw new EspdError(code, `${message}. The command was not run`, { hint });
  }
  return found;
}

/** The port that the daemon knows the board at, so that no other board is asked. */
async function targetOf(parts: GuardParts): Promise<readonly string[]> {
  const { port, mac = '' } = parts.options;
  if (port !== undefined) return ['--port', port];
  const client = clientOf(parts);
  if (client === undefined) return ['--mac', mac];
  try {
    return ['--port', await portOf(client, mac, parts.host.signal), '--mac', mac];
  } catch (error) {
    parts.host.signal.throwIfAborted();
    if (hasCode(error, 'board-ambiguous')) throw error;
    return ['--mac', mac];
  }
}

/** Programs for boards take the port from these: esptool, idf.py, PlatformIO. */
function environmentFor({ mac, port }: BackupFacts, env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return {
    ...env,
    ...{ ESPD_PORT: port, ESPD_MAC: mac },
    ...{ ESPTOOL_PORT: port, ESPPORT: port, PLATFORMIO_UPLOAD_PORT: port },
  };
}

function endText(name: string, { signal, status }: ProgramEnd): string {
  return signal === null ? `${name} ended with status ${status ?? 0}` : `${name} was ended by ${signal}`;
}

interface Look {
  readonly after: BackupFacts | null;
  /** Of the document. */
  readonly told: object;
  readonly error: EspdError | undefined;
}

/** Never rejects but for a signal: the command has been run, and that is to be told. */
async function lookAfter(parts: GuardParts, steps: Steps, before: BackupFacts): Promise<Look> {
  const { out } = parts;
  const { mac } = before;
  out.note('Looking what the command changed');
  const { document, error } = await backUpAfter(parts, steps, before);
  const [after] = document.backups ?? [];
  if (after === undefined) {
    const { code, hint, message } = error ?? new EspdError('internal', 'The backup told nothing');
    const why = `${message}. So what the command changed is not known`;
    out.note(`What was on ${mac} before the command is backup ${before.id}: espd restore ${mac}@${before.id}`);
    const told = { changed: null, diff: null, goBack: `espd restore ${mac}@${before.id}` };
    return { after: null, told, error: new EspdError(code, why, { hint }) };
  }
  if (after.id === before.id) {
    out.line(`${mac}  the command has changed nothing on the flash`);
    return { after, told: { changed: false, diff: null, goBack: null }, error };
  }
  const sides = [`${mac}@${before.id}`, `${mac}@${after.id}`];
  const diff = out.json ? (await steps.json(['diff', ...sides])).document : null;
  if (!out.json) await steps.text(['diff', ...sides], false);
  const goBack = await goBackFrom(steps, before);
  out.line(`To go back to what was on it before: ${goBack}`);
  return { after, told: { changed: true, diff, goBack }, error };
}

/** The board may be on its way back from a reset, and the program on its way out of the port. */
async function backUpAfter(parts: GuardParts, steps: Steps, before: BackupFacts): Promise<StepResult<BackupsDocument>> {
  const { signal } = parts.host;
  const deadline = systemClock.now() + SETTLE_MS;
  for (;;) {
    const port = await portNow(parts, before);
    const result = await steps.json<BackupsDocument>(['backup', '--port', port, '--mac', before.mac]);
    if (!hasCode(result.error, ...PASSING) || systemClock.now() >= deadline) return result;
    await sleep(systemClock, LOOK_MS, signal);
  }
}

/** A board on its own USB says who it is, also where it has come back under another name. */
async function portNow({ config }: GuardParts, { mac, port }: BackupFacts): Promise<string> {
  const ports = await listPorts({ folders: config.watch.folders, log: silentLogger }).catch(() => []);
  return ports.find((each) => macFromUsb(each) === mac)?.address ?? port;
}

/** `espd undo` takes back the last restore where one is on record, which may be an older one. */
async function goBackFrom(steps: Steps, { mac, id }: BackupFacts): Promise<string> {
  const { document } = await steps.json<{ restores: readonly unknown[] }>(['show', mac]).catch((error: unknown) => ({
    document: {},
    error: toEspdError(error),
  }));
  const { restores } = document as { readonly restores?: readonly unknown[] };
  return restores?.length === 0 ? `espd undo ${mac}` : `espd restore ${mac}@${id}`;
}
