/** Work by the clock: the one place that knows node-cron. */

import { type ScheduledTask as CronTask, type TaskOptions, schedule } from 'node-cron';
import { toEspdError } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { CatchUp } from './catch-up.ts';

export interface ScheduledTask {
  /** What it runs by, and when it is due next: null = never. */
  readonly due: { readonly name: string; readonly cron: string | null; readonly nextRun: string | null };
  /** From now on by another expression; a run that is going counts as running for it, too. Throws like the first. */
  reschedule(expression: string | null, timezone: string | null): Promise<void>;
  /** Nothing starts any more; what runs goes on. Never rejects, may be called again. */
  stop(): Promise<void>;
}

/**
 * Runs `work` by a cron expression. A run that is still going when the next is due is not joined by another; one that
 * fails is logged and stops nothing.
 *
 * With `catchUp`, a time that came while the process was not there, or while the machine slept, is made up for some
 * minutes later. What was stopped or has failed counts as not run when the process starts again.
 *
 * @param expression five cron fields (see config/cron.ts); null = never. Throws for what is no cron expression
 * @param timezone IANA name; null = that of the machine
 */
export function scheduleTask(
  name: string,
  expression: string | null,
  timezone: string | null,
  work: () => Promise<void>,
  log: Logger,
  catchUp?: CatchUp,
): ScheduledTask {
  let running = false;
  let task: CronTask | undefined;
  let by = '';
  let current = expression;
  let cancelLater: (() => void) | undefined;
  const dropLater = () => {
    cancelLater?.();
    cancelLater = undefined;
  };
  const noteNext = async () => {
    const next = task?.getNextRun();
    if (next) await catchUp?.note(name, by, next);
  };
  const run = async () => {
    if (running) {
      log.warn('Still running from the last time', { task: name });
      return;
    }
    running = true;
    dropLater();
    try {
      await work();
      await noteNext();
    } catch (error) {
      const { code, message, hint } = toEspdError(error);
      if (code === 'interrupted') log.info('A scheduled task was stopped', { task: name });
      else log.error('A scheduled task failed', { task: name, code, reason: message, hint: hint || undefined });
    } finally {
      running = false;
    }
  };
  const makeUp = () => {
    if (catchUp === undefined || cancelLater !== undefined) return;
    cancelLater = catchUp.later(name, () => {
      cancelLater = undefined;
      if (!running) void run();
    });
  };
  const begin = (cron: string | null, zone: string | null) => {
    current = cron;
    by = `${cron} ${zone ?? 'local'}`;
    if (cron === null) return undefined;
    const options = { name, logger: loggerOf(name, log), ...(zone === null ? {} : { timezone: zone }) };
    const begun = schedule(cron, run, options);
    // With a listener node-cron does not say itself that it missed a run.
    if (catchUp !== undefined) begun.on('execution:missed', makeUp);
    return begun;
  };
  const look = async () => {
    const looked = task;
    const isMissed = (await catchUp?.wasMissed(name, by)) === true;
    // It may have been stopped or replaced meanwhile.
    if (looked === undefined || task !== looked) return;
    if (isMissed) makeUp();
    else if (!running) await noteNext();
  };
  task = begin(expression, timezone);
  void look();
  return {
    get due() {
      return { name, cron: current, nextRun: task?.getNextRun()?.toISOString() ?? null };
    },
    reschedule: async (cron, zone) => {
      const before = task;
      task = begin(cron, zone);
      dropLater();
      void look();
      await before?.destroy();
    },
    stop: async () => {
      const before = task;
      task = undefined;
      dropLater();
      await before?.destroy();
    },
  };
}

/** node-cron would print on its own: of runs that it missed (the machine slept), and of faults. */
function loggerOf(task: string, log: Logger): NonNullable<TaskOptions['logger']> {
  const text = (message: string | Error) => (message instanceof Error ? message.message : message);
  return {
    debug: (message) => log.debug(text(message), { task }),
    info: (message) => log.debug(message, { task }),
    warn: (message) => log.warn(message, { task }),
    error: (message, error) => log.error(text(message), { task, reason: error?.message }),
  };
}
