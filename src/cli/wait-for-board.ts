/** `--wait`: until the board that is meant is plugged in. */

import { EspdError, hasCode, toEspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { type PlugIn, returned, workOnPlugIn } from '../plugs/job.ts';
import { PlugIns } from '../plugs/plug-ins.ts';
import { macFromUsb } from '../serial/rules.ts';
import type { Port, Session, SessionResult } from '../transfer/session.ts';
import { ambiguousBoard, finderOf } from './boards.ts';
import { type CommandContext, sessionOptions } from './context.ts';

export function plugInsOf(context: CommandContext, signal: AbortSignal): PlugIns {
  const { watch, jobs } = context.config;
  return new PlugIns({
    list: () => context.listPorts(),
    rules: { allow: watch.allow, deny: watch.deny },
    clock: context.clock,
    signal,
    cooldownMs: jobs.cooldownMs,
  });
}

/** Does `work` on the board that was plugged in; `plugIns` learns what that does to the port. */
export async function workFor<T>(
  context: CommandContext,
  { slots }: PlugIns,
  { port, inDownloadMode }: PlugIn,
  work: (session: Session) => Promise<T>,
): Promise<SessionResult<T>> {
  try {
    return await workOnPlugIn(port, { ...sessionOptions(context, port.address, false), inDownloadMode, slots }, work);
  } finally {
    context.out.progressEnd(port.address);
  }
}

/**
 * The port of the board with this MAC, as soon as it is there. Each likely board is asked once, and again only when it
 * is plugged in anew; one on its own USB says who it is without a reset.
 *
 * @param waitMs undefined = until the command is interrupted
 * @throws EspdError `board-not-found` when the time is over; `board-ambiguous`
 */
export async function waitForBoard(context: CommandContext, mac: Mac, waitMs: number | undefined): Promise<Port> {
  const { clock, out, log, signal } = context;
  const plugIns = plugInsOf(context, signal);
  /** Where the board is now, if it is the one that is meant. */
  const meant = async (plugIn: PlugIn): Promise<Port | undefined> => {
    const { port } = plugIn;
    const byUsb = macFromUsb(port);
    if (byUsb !== undefined) return byUsb === mac ? port : undefined;
    try {
      const asked = await workFor(context, plugIns, plugIn, ({ board }) => Promise.resolve(board.identity.mac));
      if (asked.value !== mac) return undefined;
      return asked.wentAway ? await returned(port, finderOf(context), context) : port;
    } catch (error) {
      signal.throwIfAborted();
      const { message, code } = toEspdError(error);
      const isLeaving = hasCode(error, 'port-vanished');
      log[isLeaving ? 'debug' : 'warn'](message, { port: plugIn.port.address, code });
      return undefined;
    }
  };
  const present: Port[] = [];
  for await (const plugIn of plugIns.next(clock.now())) {
    const port = await meant(plugIn);
    if (port !== undefined) present.push(port);
  }
  const [first, second] = present;
  if (first !== undefined && second !== undefined) throw ambiguousBoard(mac, first, second);
  if (first !== undefined) return first;
  const limit = waitMs === undefined ? '' : `, at most ${Math.round(waitMs / 1000)} s`;
  out.note(`Waiting for ${mac}: plug it in${limit} (Ctrl-C ends)`);
  for await (const plugIn of plugIns.next(clock.now() + (waitMs ?? Infinity))) {
    const port = await meant(plugIn);
    if (port !== undefined) return port;
  }
  throw new EspdError('board-not-found', `${mac} was not plugged in within ${Math.round((waitMs ?? 0) / 1000)} s`, {
    hint: 'A board without auto-reset needs BOOT held while it is plugged in',
  });
}
