/** What the doctor examines: this machine, a config, an archive, the ports that are there. */

import { join } from 'node:path';
import type { Archive } from '../archive/types.ts';
import type { Clock } from '../clock.ts';
import type { LoadedConfig } from '../config/loader.ts';
import type { EspdError } from '../errors.ts';
import type { NativeModule } from '../serial/native-modules.ts';
import type { PortInfo } from '../serial/ports.ts';
import type { EspdCall } from '../transfer/finish-command.ts';
import type { LineMemories } from '../transfer/line-memory.ts';
import type { Outside } from './outside.ts';

/** What a test of the object store has found. */
export interface StoreCheck {
  /** For people. */
  readonly place: string;
  /** In words; empty = it does what it should. */
  readonly troubles: readonly string[];
  /** What is done in their place; null = nothing. */
  readonly instead: string | null;
  /** Why pins cannot be held there though the config wants it, a sentence fragment; null: they can, or need not. */
  readonly noLocks: string | null;
  /** What is wrong with what this station hears of the others, in sentences. */
  readonly unheard: readonly string[];
}

/** What a running daemon tells of a port. */
export interface StationPort {
  readonly port: string;
  readonly state: string;
  readonly mac: string | null;
  readonly reason: string | null;
  readonly error: { readonly code: string; readonly message: string; readonly hint: string } | null;
  /** ISO 8601 UTC. */
  readonly retryAt: string | null;
}

export interface Subject {
  readonly outside: Outside;
  readonly clock: Clock;
  /** The config in force, or why there is none: a fault of the file. Then archive and lines are null. */
  readonly loaded: LoadedConfig | EspdError;
  readonly archive: Archive | null;
  readonly lines: LineMemories | null;
  readonly listPorts: () => Promise<readonly PortInfo[]>;
  /** Those of the running daemon. Rejects with an EspdError where none answers. */
  readonly stationPorts: () => Promise<readonly StationPort[]>;
  readonly loadModules: () => Promise<readonly NativeModule[]>;
  /** Of this espd. */
  readonly version: string;
  /** Where this espd is installed: it holds `systemd/`. */
  readonly packageFolder: string;
  /** Of the daemon's API. */
  readonly socketPath: string;
  /** Tests the object store of the config; null where there is none. Rejects with an EspdError. */
  readonly checkStore: ((signal: AbortSignal) => Promise<StoreCheck>) | null;
  /** How espd was called, for commands that are shown. */
  readonly call: EspdCall;
}

/** The folder of this package, in a checkout as well as installed. */
export const PACKAGE_FOLDER = join(import.meta.dirname, '../..');
