/** `espd daemon`: the service in the foreground; wires the daemon to config, clock, ports and systemd. */

import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { SPOOL } from '../archive/cache.ts';
import { systemClock, whenAborted } from '../clock.ts';
import type { Config } from '../config/loader.ts';
import { parseQuietHours } from '../config/quiet-hours.ts';
import { retentionPolicy } from '../config/retention.ts';
import { watchConfig } from '../config/reload.ts';
import { REMOTE_SPANS } from '../config/remotes.ts';
import { parseSize } from '../config/size.ts';
import { parseSpan } from '../config/span.ts';
import { CatchUp } from '../daemon/catch-up.ts';
import { Daemon, type DaemonSettings } from '../daemon/daemon.ts';
import { DiskWatch } from '../daemon/disk-watch.ts';
import { EventBus } from '../daemon/events.ts';
import { giveBackFreedMemory } from '../daemon/freed-memory.ts';
import { FleetView } from '../daemon/fleet-view.ts';
import { LineBook } from '../daemon/line-book.ts';
import { JobNumbers } from '../daemon/job-numbers.ts';
import { createNotifier } from '../daemon/notify.ts';
import { pruneByPolicy } from '../daemon/prune-task.ts';
import { StatusLine, logEvents } from '../daemon/report.ts';
import { scheduleTask } from '../daemon/schedule.ts';
import { Scrub } from '../daemon/scrub.ts';
import { Station } from '../daemon/station.ts';
import { toEspdError } from '../errors.ts';
import { startOutbound } from '../outbound/outbound.ts';
import { remoteAddress } from '../serial/remotes.ts';
import { createPortWatcher } from '../serial/watcher.ts';
import { VERSION } from '../version.ts';
import { type CommandContext, resetModeOf } from './context.ts';
import { openDaemonControl } from './daemon-control.ts';
import type { StoreService } from './fleet/service.ts';
import type { StoreUpkeep } from './fleet/store-upkeep.ts';
import type { Host } from './host.ts';

/** Runs until the signal is aborted. @throws EspdError `archive-unwritable` at the start */
export async function daemon(context: CommandContext, host: Host): Promise<undefined> {
  await giveBackFreedMemory();
  const { archive, call, clock, log, signal } = context;
  // A service that could keep nothing must say so at its start, not at the first board.
  await archive.checkWritable();
  const notifier = createNotifier({ env: host.env, log, clock });
  const events = new EventBus({ clock, log });
  events.subscribe(logEvents(log));
  events.subscribe(new StatusLine((status) => notifier.status(status)).onEvent);
  // What speaks to a store is loaded where the config names one.
  const store =
    context.config.store === null
      ? undefined
      : (await import('./fleet/service.ts')).openStoreService(context, context.config.store, events, host.env);
  const look = async () => {
    const { bavail, blocks, bsize } = await statfs(archive.root);
    return { freeBytes: bavail * bsize, diskBytes: blocks * bsize };
  };
  const outbound = startOutbound({
    ...{ clock, log, events, version: VERSION, config: context.config, env: host.env, random: Math.random },
    boards: async (aborting) => (await archive.overview({ signal: aborting })).boards,
    freeBytes: async () => (await look()).freeBytes,
    stations: () => store?.status(),
    spoolFolder: join(context.config.archive.statePath, SPOOL),
    requestBackup: (mac) => service.requestBackup({ mac }, { full: false, allowHalfRestored: false }).id,
  });
  const { minFreeBytes } = context.config.archive;
  const disk = new DiskWatch({
    ...{ clock, log, look, path: archive.root, emit: (event) => events.emit(event) },
    minFreeBytes: minFreeBytes === null ? null : parseSize(minFreeBytes),
  });
  events.subscribe(disk.onEvent);
  const station = new Station();
  events.subscribe(station.onEvent);
  const lineBook = new LineBook({ archive, log, emit: (event) => events.emit(event) });
  events.subscribe(lineBook.onEvent);
  await lineBook.load();
  const numbers = new JobNumbers();
  let { remotes } = context.config.watch;
  const { folders } = context.config.watch;
  const service = new Daemon({
    stations: store?.stations,
    archive,
    call,
    clock,
    events,
    log,
    numbers,
    settings: settingsOf(context.config),
    watch: (onEvent) => createPortWatcher({ folders, remotes: () => remotes, clock, log, onEvent }),
  });
  const fleet = new FleetView({ archive, clock, log });
  const catchUp = new CatchUp({ cache: archive.cache, clock, log, isBusy: () => service.isBusy });
  const scrub = scheduleScrub(context, events, service, catchUp);
  const pruning = schedulePrune(context, events, catchUp);
  const upkeep = scheduleUpkeep(store?.upkeep, context, catchUp);
  const storeScrub = scheduleStoreScrub(store, context, catchUp);
  let zone = context.config.schedule.timezone;
  const configWatch = watchConfig({
    loaded: context.loaded,
    load: context.reload,
    clock: systemClock,
    onChange: ({ config }) => {
      notifier.reloading();
      remotes = config.watch.remotes;
      service.apply(settingsOf(config));
      log.setLevel(config.log.level);
      scrub.apply(config.schedule);
      pruning.apply(config);
      upkeep?.apply(config.schedule);
      storeScrub?.apply(config.schedule);
      zone = config.schedule.timezone;
      outbound.apply(config);
      events.emit({ type: 'config-reloaded', needsRestart: needsRestart(context.config, config) });
      notifier.ready();
    },
    onError: ({ message }) => events.emit({ type: 'config-rejected', problem: message }),
  });
  host.onHangup(() => void configWatch.reload());

  const control = await openDaemonControl(context, host, {
    ...{ events, station, service, numbers, metrics: () => outbound.metrics() },
    fleet: () => store?.status() ?? null,
    schedules: () => ({
      timezone: zone,
      schedules: [scrub, pruning, upkeep, storeScrub].flatMap((task) => task?.due ?? []),
    }),
    reload: async () => {
      // Why it is not taken over is for whoever asked, also where the log has it already.
      const fault = await context.reload().then(() => undefined, toEspdError);
      await configWatch.reload();
      return fault;
    },
  });
  const stopped = whenAborted(signal);
  // A listing that hangs must not keep the service from stopping.
  await Promise.race([service.start(), stopped]);
  notifier.ready();
  notifier.startWatchdog(() => true);
  // All that goes through the archive begins now: of 2,000 boards it would keep the first one waiting for seconds.
  outbound.readBoards();
  fleet.start();
  store?.start();
  disk.start();
  void scrub.resume();
  await stopped;
  events.emit({ type: 'service-stopping', reason: null });
  notifier.stopping();
  fleet.stop();
  disk.stop();
  // Side by side: the boards have the 5 s to themselves.
  await Promise.allSettled([
    control?.close(),
    service.stop(),
    configWatch.close(),
    scrub.stop(),
    pruning.stop(),
    upkeep?.stop(),
    storeScrub?.stop(),
    outbound.stop(),
    lineBook.close(),
    store?.stop(),
  ]);
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
    reader: config.transfer.reader,
    afterRelease: config.watch.afterRelease,
    rounds: new Map(
      config.watch.remotes.flatMap(({ url, every }) => {
        const everyMs = every === null ? null : parseSpan(every, REMOTE_SPANS);
        return everyMs === null ? [] : [[remoteAddress(url), everyMs]];
      }),
    ),
    timing: {
      graceMs: config.watch.graceSeconds * 1000,
      quietHours: config.watch.quietHours === null ? null : parseQuietHours(config.watch.quietHours),
      timezone: config.schedule.timezone,
      dueMs: parseSpan(config.watch.due, ['m', 'h', 'd']),
    },
  };
}

/** Hashes the whole archive again by the clock, and goes on with what was not reached the last time. */
function scheduleScrub(context: CommandContext, events: EventBus, service: Daemon, catchUp: CatchUp) {
  const { archive, config, log, clock, signal } = context;
  let { schedule } = config;
  const scrub = new Scrub({
    ...{ archive, clock, log },
    emit: (event) => events.emit(event),
    sharePercent: () => schedule.verifyShare,
    isBusy: () => service.isBusy,
  });
  const task = scheduleTask('verify', schedule.verify, schedule.timezone, () => scrub.run(signal), log, catchUp);
  return {
    get due() {
      return task.due;
    },
    apply: (now: Config['schedule']) => {
      schedule = now;
      void task.reschedule(now.verify, now.timezone);
    },
    resume: async () => {
      if (schedule.verify === null) return;
      await scrub.resume(signal).catch((error: unknown) => {
        if (!signal.aborted) log.error('The archive could not be verified', { reason: toEspdError(error).message });
      });
    },
    stop: () => task.stop(),
  };
}

/** Removes by the clock what the policy of the config does not keep: of the config as it is then. */
function schedulePrune(context: CommandContext, events: EventBus, catchUp: CatchUp) {
  const { config, log, signal } = context;
  const { retention } = context.archive;
  let policy = retentionPolicy(config.retention);
  const { prune, timezone } = config.schedule;
  const work = () => pruneByPolicy({ retention, signal, emit: (event) => events.emit(event) }, policy);
  const task = scheduleTask('prune', prune, timezone, work, log, catchUp);
  return {
    get due() {
      return task.due;
    },
    apply: (now: Config) => {
      policy = retentionPolicy(now.retention);
      void task.reschedule(now.schedule.prune, now.schedule.timezone);
    },
    stop: () => task.stop(),
  };
}

/** What the object store gives reason to remove, there and here, at the same hour. */
function scheduleUpkeep(upkeep: StoreUpkeep | undefined, context: CommandContext, catchUp: CatchUp) {
  if (upkeep === undefined) return undefined;
  const { prune, timezone } = context.config.schedule;
  const task = scheduleTask('prune-store', prune, timezone, () => upkeep.run(), context.log, catchUp);
  return {
    get due() {
      return task.due;
    },
    apply: (now: Config['schedule']) => void task.reschedule(now.prune, now.timezone),
    stop: async () => {
      await task.stop();
      await upkeep.stop();
    },
  };
}

/** Reads back by the clock a part of what lies in the object store. */
function scheduleStoreScrub(
  store: Pick<StoreService, 'scrub'> | undefined,
  { config, log }: CommandContext,
  catchUp: CatchUp,
) {
  if (store === undefined) return undefined;
  let { schedule } = config;
  const work = () => store.scrub(schedule.verifyStorePart);
  const task = scheduleTask('verify-store', schedule.verifyStore, schedule.timezone, work, log, catchUp);
  return {
    get due() {
      return task.due;
    },
    apply: (now: Config['schedule']) => {
      schedule = now;
      void task.reschedule(now.verifyStore, now.timezone);
    },
    stop: () => task.stop(),
  };
}

/** What only a restart can change. */
function needsRestart(before: Config, now: Config): boolean {
  const fixed = (config: Config) =>
    JSON.stringify([config.archive, config.watch.folders, config.api, config.log.format, config.store]);
  return fixed(before) !== fixed(now);
}
