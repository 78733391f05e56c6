/** Which boards a command means: the one at `--port`, the one with `--mac`, or all that are attached. */

import { lstat, realpath } from 'node:fs/promises';
import { EspdError, hasCode, toEspdError } from '../errors.ts';
import type { BoardIdentity } from '../esp/identity.ts';
import type { Mac } from '../mac.ts';
import { type Finder, finderIn } from '../plugs/follow.ts';
import { type Followed, followBoard } from '../plugs/job.ts';
import { sameSpelling } from '../serial/address.ts';
import type { PortInfo } from '../serial/ports.ts';
import { remoteNameProblem } from '../serial/remotes.ts';
import { decide, macFromUsb } from '../serial/rules.ts';
import type { Port, Session, SessionOptions } from '../transfer/session.ts';
import { type CommandContext, sessionOptions } from './context.ts';

export interface Failure {
  readonly port: string;
  readonly mac?: Mac;
  readonly error: EspdError;
}

export interface Outcome<T> extends Followed<T> {
  readonly identity: BoardIdentity;
}

/** How a board is found again that goes away at its resets. */
export function finderOf(context: CommandContext): Finder {
  return finderIn(() => context.listPorts());
}

/**
 * The ports that a command asks: the one named, or all that look like ESP boards.
 * @throws EspdError `board-not-found` when there is none
 */
export async function selectPorts(context: CommandContext, address: string | undefined): Promise<Port[]> {
  const present = await context.listPorts();
  if (address !== undefined) {
    const named = context.addressOf(address);
    await checkIsMeant(context, address, named, present);
    return [await namedPort(named, present)];
  }
  const { allow, deny } = context.config.watch;
  const likely = present.filter((port) => decide(port, { allow, deny }).touch);
  if (likely.length > 0) return likely;
  throw new EspdError('board-not-found', 'No serial port that looks like an ESP board is attached', {
    hint:
      present.length === 0
        ? 'Plug a board in, or name its port with --port'
        : `There are other ports (${present.map((port) => port.address).join(', ')}): name one with --port`,
  });
}

/**
 * A bare word that is neither a remote nor a file is most likely a slip in the name of one.
 * @throws EspdError `port-missing`, naming the remotes
 */
async function checkIsMeant(
  { config }: CommandContext,
  word: string,
  address: string,
  present: readonly PortInfo[],
): Promise<void> {
  const names = config.watch.remotes.map(({ name }) => name);
  const isListed = present.some((port) => port.address === address || port.aliases?.includes(address));
  if (names.length === 0 || isListed || remoteNameProblem(word) !== undefined) return;
  const isThere = await lstat(address).then(
    () => true,
    () => false,
  );
  if (isThere) return;
  throw new EspdError('port-missing', `${word} is no port, and no remote of the config`, {
    hint: `Its remotes are: ${names.slice(0, MOST_NAMES).join(', ')}${names.length > MOST_NAMES ? ', ...' : ''}`,
  });
}

/** So many names are told. */
const MOST_NAMES = 20;

/** USB facts tell how the board is reset, so they are found by whatever name of the port was given. */
async function namedPort(address: string, present: readonly PortInfo[]): Promise<Port> {
  const device = await realpath(address).catch(() => address);
  const names = [address, device, sameSpelling(address)];
  const found = present.find((port) => names.includes(port.address) || port.aliases?.includes(address));
  // A remote is opened by its address, whatever it was called.
  if (found?.name !== undefined) return found;
  return { address, usb: found?.usb ?? null };
}

/**
 * Does `work` on the board at each port, `jobs.parallel` at once; one that fails stops no other.
 * @param afterwards what is to be done with the result once the board has been released
 */
export async function onBoards<T, R = T>(
  context: CommandContext,
  ports: readonly Port[],
  work: (session: Session) => Promise<T>,
  afterwards: (value: T) => Promise<R> = (value) => Promise.resolve(value as unknown as R),
  more: Pick<SessionOptions, 'toldFlashBytes' | 'reader'> = {},
): Promise<{ outcomes: Outcome<R>[]; failures: Failure[] }> {
  const outcomes: Outcome<R>[] = [];
  const failures: Failure[] = [];
  const waiting = [...ports];
  const worker = async () => {
    for (let port = waiting.shift(); port !== undefined; port = waiting.shift()) {
      const { address } = port;
      let identity: BoardIdentity | undefined;
      try {
        const options = { ...sessionOptions(context, address, ports.length === 1), ...more };
        const followed = await followBoard(port, finderOf(context), options, (session) => {
          identity = session.board.identity;
          return work(session);
        });
        const value = await afterwards(followed.result.value);
        if (identity !== undefined) outcomes.push({ ...followed, identity, result: { ...followed.result, value } });
      } catch (error) {
        failures.push({
          port: address,
          ...(identity === undefined ? {} : { mac: identity.mac }),
          error: toEspdError(error),
        });
      } finally {
        context.out.progressEnd(address);
      }
    }
  };
  await Promise.all(Array.from({ length: context.config.jobs.parallel }, worker));
  context.signal.throwIfAborted();
  return { outcomes, failures };
}

/**
 * The port of the one attached board with this MAC: known by its USB serial number without a reset where the chip's
 * own USB gives it, else by asking every likely board.
 *
 * @throws EspdError `board-not-found`, `board-ambiguous`
 */
export async function findBoard(context: CommandContext, mac: Mac): Promise<Port> {
  const present = await context.listPorts();
  const { allow, deny } = context.config.watch;
  const byUsb = present.filter((port) => decide(port, { allow, deny }).touch && macFromUsb(port) === mac);
  const asked = byUsb.length > 0 ? { ports: byUsb, closed: undefined } : await askBoards(context, mac);
  const [port, second] = asked.ports;
  if (port === undefined) {
    const { closed } = asked;
    const why = closed === undefined ? '' : `, and one was not asked: ${closed.message}`;
    throw new EspdError('board-not-found', `No attached board answers as ${mac}${why}`, {
      hint: closed?.hint ?? 'Plug it in; a board without auto-reset needs BOOT held while RESET is pressed',
    });
  }
  if (second !== undefined) {
    throw ambiguousBoard(mac, port, second);
  }
  return port;
}

export function ambiguousBoard(mac: Mac, one: Port, another: Port): EspdError {
  return new EspdError('board-ambiguous', `Several boards answer as ${mac}: ${one.address} and ${another.address}`, {
    hint: 'Name one with --port',
  });
}

/**
 * Notes that a job works on this board. Two boards with one MAC are two boards: which of them is meant only a person can
 * say.
 * @throws EspdError `board-ambiguous` where another job of this command works on a board with this MAC
 */
export function claim(busyMacs: Set<Mac>, mac: Mac): void {
  if (busyMacs.has(mac)) {
    throw new EspdError('board-ambiguous', `Another port answers as ${mac} too`, {
      hint: 'Two boards have the same MAC, or one board is attached twice: name one with --port',
    });
  }
  busyMacs.add(mac);
}

/** `closed`: why a port could not even be opened, which may have that board. */
async function askBoards(
  context: CommandContext,
  mac: Mac,
): Promise<{ readonly ports: Port[]; readonly closed: EspdError | undefined }> {
  const ports = await selectPorts(context, undefined);
  const { outcomes, failures } = await onBoards(context, ports, () => Promise.resolve());
  for (const { port, error } of failures) context.log.warn(error.message, { port, code: error.code });
  return {
    ports: outcomes.filter(({ identity }) => identity.mac === mac).map(({ port }) => port),
    closed: failures.find(({ error }) => hasCode(error, 'port-busy', 'port-denied'))?.error,
  };
}

/** Notes what failed beside the result; what the command itself ends with is printed at its end. */
export function noteFailures(context: CommandContext, failures: readonly Failure[], end: EspdError | undefined): void {
  for (const { port, error } of failures) {
    if (error === end) continue;
    context.out.note(`${error.message.includes(port) ? '' : `${port}: `}${error.message} (${error.code})`);
    if (error.hint !== '') context.out.note(`  ${error.hint}`);
  }
}

/** `failed` of a JSON document. */
export function failuresJson(failures: readonly Failure[]): object[] {
  return failures.map(({ port, mac, error }) => ({ port, ...(mac === undefined ? {} : { mac }), ...error.toJSON() }));
}

/**
 * The error that a command over several boards ends with, after it has printed what it has; none where all went well,
 * or where a scan that found boards merely met a device that does not answer.
 *
 * @param strict the person named the board or the port
 */
export function overallError(failures: readonly Failure[], successes: number, strict: boolean): EspdError | undefined {
  const isSilence = ({ error }: Failure) => hasCode(error, 'no-answer', 'port-flooded');
  const serious = failures.find((failure) => !isSilence(failure));
  return serious?.error ?? (successes > 0 && !strict ? undefined : failures[0]?.error);
}
