/**
 * Hints from changes in folders, through chokidar: `/dev`, and the folders that the config names. Only the folders
 * themselves are watched, never what is in them, and chokidar's raw events count: it has no others for a link to
 * nowhere (a network port), nor for a node that was replaced between two looks.
 */

import { watch, type FSWatcher } from 'chokidar';
import { stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { silentLogger, type Logger } from '../../log.ts';
import type { HotplugSource } from './source.ts';

/**
 * How often `/dev`, and the parent of a folder that does not exist, are looked at: a few stats each time. inotify would be quicker by this much, but before Linux 6.19
 * ("fsnotify: do not generate ACCESS/MODIFY events on child for special files") it also tells of every write to any
 * device in `/dev`, and each one makes chokidar read the whole folder: a program that writes to /dev/null, or a
 * transfer on a port, would keep the daemon busy. Mostly the USB events are first anyway.
 */
const POLL_INTERVAL_MS = 500;

/** Hints when nodes come and go in `/dev`, and links in `/dev/serial/by-id`, whether that exists already or not. */
export function createDevSource(options: { devRoot?: string; log?: Logger } = {}): HotplugSource {
  const { log = silentLogger } = options;
  const devRoot = resolve(options.devRoot ?? '/dev');
  const serial = join(devRoot, 'serial');
  const folders = new Set([devRoot, serial, join(serial, 'by-id')]);
  let watcher: FSWatcher | undefined;
  return {
    name: devRoot,
    async start(onHint) {
      watcher = watchFolders(devRoot, { depth: 2, usePolling: true, interval: POLL_INTERVAL_MS }, folders);
      await watchUntilReady(watcher, () => onHint(`change in ${devRoot}`), complainOnce(devRoot, log));
      // Polling compares with its first stat, which is on its way: behind this one it has arrived.
      await stat(devRoot).catch(() => undefined);
    },
    async close() {
      await watcher?.close();
    },
  };
}

/**
 * Hints when anything changes in `folder`. As long as the folder does not exist, its nearest parent is watched, and
 * again after it was removed.
 */
export function createFolderSource(path: string, options: { log?: Logger } = {}): HotplugSource {
  const { log = silentLogger } = options;
  const folder = resolve(path);
  const onError = complainOnce(folder, log);
  let current: { anchor: Anchor; watcher: FSWatcher } | undefined;
  let closed = false;
  let moving: Promise<void> = Promise.resolve();

  /** Watches the deepest folder on the way that exists, until that is still the deepest once it is watched. */
  async function follow(onHint: (reason: string) => void): Promise<void> {
    for (;;) {
      const anchor = await deepestFolder(folder);
      if (isClosed() || current?.anchor.identity === anchor.identity) return;
      await current?.watcher.close();
      if (isClosed()) return;
      const isThere = anchor.path === folder;
      const polling = isThere ? {} : { usePolling: true, interval: POLL_INTERVAL_MS };
      const watcher = watchFolders(anchor.path, { depth: 0, ...polling }, new Set([anchor.path]));
      current = { anchor, watcher };
      const onChange = () => {
        moving = moving.then(() => follow(onHint)).catch(onError);
        if (isThere) onHint(`change in ${folder}`);
      };
      await watchUntilReady(watcher, onChange, onError);
      if (isThere) onHint(`watching ${folder}`);
    }
  }

  function isClosed(): boolean {
    return closed;
  }

  return {
    name: folder,
    start(onHint) {
      moving = follow((reason) => {
        if (!closed) onHint(reason);
      });
      return moving;
    },
    async close() {
      closed = true;
      await current?.watcher.close();
    },
  };
}

interface WatchOptions {
  readonly depth: number;
  readonly usePolling?: boolean;
  readonly interval?: number;
}

function watchFolders(root: string, options: WatchOptions, only: ReadonlySet<string>): FSWatcher {
  return watch(root, {
    ...options,
    followSymlinks: false,
    ignoreInitial: true,
    ignorePermissionErrors: true,
    ignored: (path) => !only.has(path),
  });
}

function watchUntilReady(watcher: FSWatcher, onChange: () => void, onError: (error: unknown) => void): Promise<void> {
  return new Promise((done) => {
    watcher
      .on('raw', onChange)
      .on('error', onError)
      .on('ready', () => done());
  });
}

interface Anchor {
  readonly path: string;
  /** Another one after the folder was removed and made again, for which the old watch is deaf. */
  readonly identity: string;
}

async function deepestFolder(path: string): Promise<Anchor> {
  for (let folder = path; ; folder = dirname(folder)) {
    const found = await stat(folder, { bigint: true }).catch(() => undefined);
    if (found?.isDirectory())
      return { path: folder, identity: `${folder}#${found.dev}.${found.ino}.${found.birthtimeNs}` };
    if (folder === dirname(folder)) return { path: folder, identity: folder };
  }
}

function complainOnce(name: string, log: Logger): (error: unknown) => void {
  let said = false;
  return (error) => {
    if (said) return;
    said = true;
    const reason = error instanceof Error ? error.message : 'unknown';
    log.warn(`Cannot watch ${name}; changes there are noticed a little later`, { reason });
  };
}
