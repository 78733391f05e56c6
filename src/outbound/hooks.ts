/** Programs that run when something has happened: one at a time, beside the work, out of a queue that is bounded. */

import type { Clock } from '../clock.ts';
import type { HookConfig } from '../config/outbound.ts';
import type { EventType, ServiceEvent } from '../daemon/event-types.ts';
import type { Logger } from '../log.ts';
import { printable } from '../printable.ts';
import { type HookEnd, type HookOptions, runHook } from './hook-run.ts';
import type { SentOutcome } from './metrics.ts';

/** So many runs wait; the oldest one makes room. */
export const MAX_WAITING_RUNS = 256;
/** A stop waits so long for the run that is under way and those that wait. */
const STOP_LIMIT_MS = 2000;

export interface HooksParts {
  readonly clock: Clock;
  readonly log: Logger;
  /** The environment of the programs, beside `ESPD_EVENT`. */
  readonly env: NodeJS.ProcessEnv;
  readonly onEnd: (outcome: SentOutcome) => void;
  /** Default: {@link runHook}. */
  readonly run?: (options: HookOptions) => Promise<HookEnd>;
}

interface Run {
  readonly hook: HookConfig;
  readonly type: EventType;
  readonly json: string;
}

export class Hooks {
  readonly #parts: HooksParts;
  readonly #waiting: Run[] = [];
  readonly #stop = new AbortController();
  #hooks: readonly HookConfig[] = [];
  #isStopping = false;
  #hasToldDrop = false;
  #working: Promise<void> | undefined;

  constructor(parts: HooksParts) {
    this.#parts = parts;
  }

  /** Takes effect for the next event; what waits runs as it was meant. */
  apply(hooks: readonly HookConfig[]): void {
    this.#hooks = hooks;
  }

  /** To be subscribed. Never waits, never throws. */
  readonly onEvent = (event: ServiceEvent): void => {
    if (this.#isStopping) return;
    for (const hook of this.#hooks) {
      if (!(hook.on as readonly EventType[]).includes(event.type)) continue;
      this.#waiting.push({ hook, type: event.type, json: `${JSON.stringify(event)}\n` });
      if (this.#waiting.length > MAX_WAITING_RUNS) this.#drop();
    }
    if (this.#waiting.length > 0) this.#working ??= this.#work();
  };

  /** What waits gets {@link STOP_LIMIT_MS}, then all is ended. Never rejects. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    const cancel = this.#parts.clock.schedule(STOP_LIMIT_MS, () => {
      this.#waiting.length = 0;
      this.#stop.abort();
    });
    await this.#working;
    cancel();
  }

  async #work(): Promise<void> {
    // The event's other subscribers come first.
    await Promise.resolve();
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) await this.#run(next);
    this.#hasToldDrop = false;
    this.#working = undefined;
  }

  async #run({ hook, type, json }: Run): Promise<void> {
    const { clock, env, log, onEnd, run = runHook } = this.#parts;
    const name = printable(hook.command[0] ?? '');
    const startMs = clock.now();
    const { output, reason, result } = await run({
      command: hook.command,
      stdin: json,
      env: { ...env, ESPD_EVENT: type },
      timeoutMs: hook.timeoutSeconds * 1000,
      clock,
      signal: this.#stop.signal,
    });
    const facts = { hook: name, event: type };
    const said = output === '' ? {} : { output: printable(output.trimEnd()) };
    if (result === 'failed') log.warn('A hook failed', { ...facts, reason: printable(reason) });
    log.debug('A hook has ended', { ...facts, result, tookMs: Math.round(clock.now() - startMs), ...said });
    onEnd(result);
  }

  #drop(): void {
    const { log, onEnd } = this.#parts;
    const dropped = this.#waiting.shift();
    onEnd('dropped');
    if (this.#hasToldDrop || dropped === undefined) return;
    this.#hasToldDrop = true;
    const facts = { hook: printable(dropped.hook.command[0] ?? ''), event: dropped.type, waiting: MAX_WAITING_RUNS };
    log.warn('Hooks are too slow: the oldest events are dropped until they have caught up', facts);
  }
}
