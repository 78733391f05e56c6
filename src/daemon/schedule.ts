/** Work by the clock: the one place that knows node-cron. */

import { type TaskOptions, schedule } from 'node-cron';
import { toEspdError } from '../errors.ts';
import type { Logger } from '../log.ts';

export interface ScheduledTask {
  /** From now on by another expression; a run that is going counts as running for it, too. Throws like the first. */
  reschedule(expression: string | null, timezone: string | null): Promise<void>;
  /** Nothing starts any more; what runs goes on. Never rejects, may be called again. */
  stop(): Promise<void>;
}

/**
 * Runs `work` by a cron expression. A run that is still going when the next is due is not joined by another; one that
 * fails is logged and stops nothing.
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
): ScheduledTask {
  let running = false;
  const run = async () => {
    if (running) {
      log.warn('Still running from the last time', { task: name });
      return;
    }
    running = true;
    try {
      await work();
    } catch (error) {
      const { code, message, hint } = toEspdError(error);
      if (code === 'interrupted') log.info('A scheduled task was stopped', { task: name });
      else log.error('A scheduled task failed', { task: name, code, reason: message, hint: hint || undefined });
    } finally {
      running = false;
    }
  };
  const begin = (by: string | null, zone: string | null) =>
    by === null
      ? undefined
      : schedule(by, run, { name, logger: loggerOf(name, log), ...(zone === null ? {} : { timezone: zone }) });
  let task = begin(expression, timezone);
  return {
    reschedule: async (by, zone) => {
      const before = task;
      task = begin(by, zone);
      await before?.destroy();
    },
    stop: async () => {
      await task?.destroy();
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
