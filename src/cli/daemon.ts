/** `espd daemon`: the service in the foreground; wires the daemon to config, clock, ports and systemd. */

import { systemClock } from '../clock.ts';
import type { Config } from '../config/loader.ts';
import { watchConfig } from '../config/reload.ts';
import { Daemon, type DaemonSettings } from '../daemon/daemon.ts';
import { FleetView } from '../daemon/fleet-view.ts';
import { createNotifier } from '../daemon/notify.ts';
import { type ScheduledTask, scheduleTask } from '../daemon/schedule.ts';
import { createPortWatcher } from '../serial/watcher.ts';
import { type CommandContext, type Host, resetModeOf } from './context.ts';

/** Runs until the signal is aborted. @throws EspdError `archive-unwritable` at the start */
export async function daemon(context: CommandContext, host: Host): Promise<undefined> {
  const { archive, call, clock, log, signal } = context;
  // A service that could keep nothing must say so at its start, not at the first board.
  await archive.checkWritable();
  const notifier = createNotifier({ env: host.env, log, clock });
  const service = new Daemon({
    archive,
    call,
    clock,
    log,
    settings: settingsOf(context.config),
    watch: (onEvent) => createPortWatcher({ folders: context.config.watch.folders, clock, log, onEvent }),
    onStatus: (status) => notifier.status(status),
  });
  const fleet = new FleetView({ archive, clock, log });
  const scrub = scheduleScrub(context);
  const configWatch = watchConfig({
    loaded: context.loaded,
    load: context.reload,
    clock: systemClock,
    onChange: ({ config }) => {
      notifier.reloading();
      service.apply(settingsOf(config));
      log.setLevel(config.log.level);
      void scrub.reschedule(config.schedule.verify, config.schedule.timezone);
      warnOfRestart(context, config);
      log.info('Config reloaded');
      notifier.ready();
    },
    onError: (error) => log.error('The config has a fault; the old one stays in force', { problem: error.message }),
  });
  host.onHangup(() => void configWatch.reload());

  const stopped = aborted(signal);
  // A listing that hangs must not keep the service from stopping.
  await Promise.race([service.start(), stopped]);
  notifier.ready();
  notifier.startWatchdog(() => true);
  fleet.start();
  await stopped;
  log.info('Stopping');
  notifier.stopping();
  fleet.stop();
  // Side by side: the boards have the 5 s to themselves.
  await Promise.allSettled([service.stop(), configWatch.close(), scrub.stop()]);
  await notifier.close();
  return undefined;
}

function settingsOf(config: Config): DaemonSettings {
  return {
    rules: { allow: config.watch.allow, deny: config.watch.deny },
    existing: config.watch.existing,
    parallel: config.jobs.parallel,
    connectAttempts: config.jobs.connectAttempts,
    cooldownMs: config.jobs.cooldownMs,
    baudRate: config.serial.baudRate,
    reset: resetModeOf(config),
    full: config.transfer.full,
  };
}

/** Hashes the whole archive again by the clock, and reports what is damaged. */
function scheduleScrub({ archive, config: { schedule }, log, signal }: CommandContext): ScheduledTask {
  return scheduleTask(
    'verify',
    schedule.verify,
    schedule.timezone,
    async () => {
      const { checked, damaged, unreadable, foreign } = await archive.verify({ signal });
      for (const { file, problem } of damaged) log.error('The archive is damaged', { file, problem });
      for (const { file, problem, error } of unreadable) {
        log.error('A part of the archive could not be read', { file, problem, hint: error.hint || undefined });
      }
      const files = foreign.slice(0, 5).map(({ file }) => file);
      if (foreign.length > 0)
        log.warn('Foreign files in the archive; no backup suffers', { count: foreign.length, files });
      log.info('Archive verified', { checked, damaged: damaged.length, unreadable: unreadable.length });
    },
    log,
  );
}

/** What only a restart can change. */
function warnOfRestart({ config: before, log }: CommandContext, now: Config): void {
  const fixed = (config: Config) => JSON.stringify([config.archive, config.watch.folders, config.log.format]);
  if (fixed(before) === fixed(now)) return;
  log.warn('A change of archive, watch.folders or log.format takes effect when the daemon is started again');
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
