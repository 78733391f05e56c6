/** Keeps the config up to date while the daemon runs: when its file changes, or when asked to (SIGHUP). */

import { basename, dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { watch } from 'chokidar';
import type { Clock } from '../clock.ts';
import { type EspdError, toEspdError } from '../errors.ts';
import type { LoadedConfig } from './loader.ts';

export interface ConfigWatchOptions {
  /** What is in force now. Its file is watched; without a file only {@link ConfigWatch.reload} looks again. */
  readonly loaded: LoadedConfig;
  /** Loads again, with the options of the first time. */
  readonly load: () => Promise<LoadedConfig>;
  /** The config is another one now, or is sound again after an error. */
  readonly onChange: (loaded: LoadedConfig) => void;
  /** The file is broken or gone (the old config stays in force), or cannot be watched. Once for the same fault. */
  readonly onError: (error: EspdError) => void;
  readonly clock: Clock;
  /** Calls `onHint` whenever the file may have changed. Default: chokidar. */
  readonly watchFile?: WatchFile | undefined;
}

export type WatchFile = (path: string, onHint: () => void, onError: (error: unknown) => void) => FileWatch;

interface FileWatch {
  close(): Promise<void>;
}

export interface ConfigWatch {
  /** Loads now; resolves when the outcome has been reported. For SIGHUP. */
  reload(): Promise<void>;
  close(): Promise<void>;
}

/** Editors write in several steps (truncate, write, rename): the file is read when it has been quiet for this long. */
const QUIET_MS = 250;

export function watchConfig(options: ConfigWatchOptions): ConfigWatch {
  const { load, onChange, onError, clock, watchFile = watchByChokidar } = options;
  let inForce = options.loaded;
  let lastFault: string | null = null;
  let isClosed = false;
  let cancelTimer = () => {};
  let running: Promise<void> = Promise.resolve();

  const isStopped = () => isClosed;

  const loadOnce = async () => {
    if (isStopped()) return;
    const outcome = await load().catch(toEspdError);
    // A load that ends after close() must not wake up a daemon that is stopping.
    if (isStopped()) return;
    if ('code' in outcome) {
      const fault = `${outcome.code} ${outcome.message}`;
      if (fault === lastFault) return;
      lastFault = fault;
      onError(outcome);
      return;
    }
    const isNews = lastFault !== null || !isDeepStrictEqual(outcome.config, inForce.config);
    lastFault = null;
    inForce = outcome;
    try {
      if (isNews) onChange(outcome);
    } catch (error) {
      onError(toEspdError(error));
    }
  };

  /** One load after the other: an older file must not win over a newer one. */
  const reload = () => {
    cancelTimer();
    running = running.then(loadOnce);
    return running;
  };

  const onHint = () => {
    cancelTimer();
    if (!isClosed) cancelTimer = clock.schedule(QUIET_MS, () => void reload());
  };
  const path = options.loaded.path;
  const watcher = path === null ? null : watchFile(path, onHint, (error) => onError(toEspdError(error)));

  return {
    reload,
    close: async () => {
      isClosed = true;
      cancelTimer();
      await watcher?.close();
      await running;
    },
  };
}

/**
 * Watches the folder and lets through only the file: a watch on the file itself would stay with the old inode when an
 * editor renames a new one into its place, and end when the file is deleted.
 */
function watchByChokidar(path: string, onHint: () => void, onError: (error: unknown) => void): FileWatch {
  const folder = dirname(path);
  const file = join(folder, basename(path));
  const watcher = watch(folder, {
    depth: 0,
    ignoreInitial: true,
    ignored: (seen) => seen !== folder && seen !== file,
  });
  watcher.on('all', onHint);
  // What changed after the file was read and before the watch began has given no event.
  watcher.on('ready', onHint);
  watcher.on('error', onError);
  return watcher;
}
