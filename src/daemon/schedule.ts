/** Work by the clock: the one place that knows node-cron. */

import { type TaskOptions, schedule } from 'node-cron';
import { toEspdError } from '../errors.ts';
import type { Logger } from '../log.ts';

export interface ScheduledTask {
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
  if (expression === null) return { stop: () => Promise.resolve() };
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
  const task = schedule(expression, run, {
    name,
    logger: loggerOf(name, log),
    ...(timezone === null ? {} : { timezone }),
  });
  return {
    stop: async () => {
      await task.destroy();
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
