/**
 * Tells when ports come and go. Hints (USB events, changes in folders) and a slow regular look only cause a new
 * listing; what it says, compared with the last one, becomes the events.
 */

import { withTimeout, type Clock } from '../clock.ts';
import { EspdError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { createDevSource, createFolderSource } from './hotplug/folders.ts';
import { HotplugUnavailable, type HotplugSource } from './hotplug/source.ts';
import { createUsbSource } from './hotplug/usb.ts';
import { createPortLister, type PortLister } from './listing.ts';
import { portChanges } from './port-changes.ts';
import type { PortEvent, PortInfo } from './ports.ts';
import type { Remote } from './remotes.ts';
import type { SystemRoots } from './sysfs.ts';

export interface PortWatcherOptions {
  readonly list: PortLister;
  readonly sources: readonly HotplugSource[];
  readonly clock: Clock;
  readonly log: Logger;
  /** Called for each change, detached before attached, in the order of the addresses. What it throws is logged. */
  readonly onEvent: (event: PortEvent) => void;
}

/**
 * Looks after a hint, as waits one after the other: soon, and twice more because drivers, nodes and udev are late
 * (a tty was seen 190 ms after its device, its permissions later still).
 */
const LOOKS_AFTER_HINT_MS = [50, 250, 700] as const;
/** The safety net under the hints. A look that finds nothing new costs about a millisecond. */
const IDLE_LOOK_MS = 5000;
const LIST_TIMEOUT_MS = 15_000;

export class PortWatcher {
  readonly #options: PortWatcherOptions;
  #ports: ReadonlyMap<string, PortInfo> = new Map();
  #state: 'new' | 'running' | 'closed' = 'new';
  #firstListing = true;
  #failing = false;
  #looking: Promise<void> = Promise.resolve();
  #cancelTimer: (() => void) | undefined;
  /** Which wait of LOOKS_AFTER_HINT_MS is running; undefined during the idle wait. */
  #step: number | undefined;
  /** A hint came while looks were already planned. */
  #hintedAgain = false;

  constructor(options: PortWatcherOptions) {
    this.#options = options;
  }

  /** The ports of the last listing. */
  get ports(): readonly PortInfo[] {
    return [...this.#ports.values()];
  }

  /**
   * Starts the sources and lists once; when it resolves, the ports that are there have been reported, marked
   * `existing`. Never rejects for a source or listing that does not work: those are logged, and tried again.
   */
  async start(): Promise<void> {
    if (this.#state !== 'new') throw new EspdError('internal', 'A port watcher is started once');
    this.#state = 'running';
    for (const source of this.#options.sources) void this.#startSource(source);
    await this.rescan('start');
    this.#planNextLook();
  }

  /** Lists now. Resolves when the events of a listing that began after the call have been delivered. */
  rescan(reason: string): Promise<void> {
    this.#looking = this.#looking.then(() => this.#look(reason));
    return this.#looking;
  }

  /** Ends all events at once and frees everything; never rejects. */
  async close(): Promise<void> {
    this.#state = 'closed';
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    await Promise.all(this.#options.sources.map((source) => source.close()));
  }

  async #startSource(source: HotplugSource): Promise<void> {
    const { log } = this.#options;
    try {
      await source.start((reason) => this.#hint(reason));
      // What changed while it was starting has given no hint.
      this.#hint(`${source.name} is watched`);
    } catch (error) {
      const fields = { source: source.name, reason: error instanceof Error ? error.message : 'unknown' };
      const message = `No hotplug events from ${source.name}; ports are noticed by the other ways`;
      if (error instanceof HotplugUnavailable) log.info(message, fields);
      else log.warn(message, fields);
    }
  }

  #hint(reason: string): void {
    if (this.#state !== 'running') return;
    this.#options.log.debug('Hotplug hint', { reason });
    if (this.#step === undefined) this.#plan(0, reason);
    else this.#hintedAgain = true;
  }

  /** One timer for everything: a flood of hints gives four looks a second and no more. */
  #plan(step: number | undefined, reason: string): void {
    this.#cancelTimer?.();
    this.#step = step;
    const delayMs = (step === undefined ? undefined : LOOKS_AFTER_HINT_MS[step]) ?? IDLE_LOOK_MS;
    this.#cancelTimer = this.#options.clock.schedule(delayMs, () => {
      this.#cancelTimer = undefined;
      void this.rescan(reason).then(() => this.#planNextLook());
    });
  }

  #planNextLook(): void {
    // A hint during the look may have planned one already.
    if (this.#state !== 'running' || this.#cancelTimer !== undefined) return;
    const next = this.#hintedAgain ? 1 : (this.#step ?? LOOKS_AFTER_HINT_MS.length) + 1;
    this.#hintedAgain = false;
    this.#plan(
      next < LOOKS_AFTER_HINT_MS.length ? next : undefined,
      next < LOOKS_AFTER_HINT_MS.length ? 'hint' : 'idle',
    );
  }

  async #look(reason: string): Promise<void> {
    const { list, clock, log } = this.#options;
    if (this.#isClosed()) return;
    let found: PortInfo[];
    try {
      found = await withTimeout(clock, LIST_TIMEOUT_MS, list(), () => new Error('the listing takes too long'));
    } catch (error) {
      // The ports may well be there: a listing that fails says nothing about them.
      if (!this.#failing) log.warn('Ports cannot be listed', { reason: error instanceof Error ? error.message : '' });
      this.#failing = true;
      return;
    }
    if (this.#isClosed()) return;
    if (this.#failing) log.info('Ports can be listed again');
    this.#failing = false;
    this.#apply(found, reason);
  }

  #isClosed(): boolean {
    return this.#state === 'closed';
  }

  #apply(found: readonly PortInfo[], reason: string): void {
    const existing = this.#firstListing;
    this.#firstListing = false;
    const { detached, attached, renamed, present } = portChanges(this.#ports, found);
    this.#ports = present;
    for (const port of detached) this.#emit({ kind: 'detached', port }, reason);
    for (const port of attached)
      this.#emit(existing ? { kind: 'attached', port, existing } : { kind: 'attached', port }, reason);
    for (const port of renamed) this.#emit({ kind: 'renamed', port }, reason);
  }

  #emit(event: PortEvent, reason: string): void {
    const { log, onEvent } = this.#options;
    // An event's receiver may have closed the watcher.
    if (this.#isClosed()) return;
    log.debug(`Port ${event.kind}`, { port: event.port.address, key: event.port.key, reason });
    try {
      onEvent(event);
    } catch (error) {
      log.error('A port event could not be handled', {
        port: event.port.address,
        reason: error instanceof Error ? error.message : 'unknown',
      });
    }
  }
}

export interface SystemWatcherOptions extends Partial<SystemRoots> {
  /** `watch.folders` of the config. */
  readonly folders: readonly string[];
  /** `watch.remotes` of the config as it is now. */
  readonly remotes: () => readonly Remote[];
  readonly clock: Clock;
  readonly log: Logger;
  readonly onEvent: (event: PortEvent) => void;
}

/** A watcher of this machine: USB events, `/dev`, the given folders and remotes, and the listing as the truth. */
export function createPortWatcher(options: SystemWatcherOptions): PortWatcher {
  const { folders, remotes, clock, log, onEvent, ...roots } = options;
  const sources = [createUsbSource(roots), ...folders.map((folder) => createFolderSource(folder, { log }))];
  // Windows has no device folder; there the USB events and the regular look must do.
  if (process.platform !== 'win32') sources.push(createDevSource({ ...roots, log }));
  const list = createPortLister({ ...roots, folders, remotes, clock, log });
  return new PortWatcher({ list, sources, clock, log, onEvent });
}
