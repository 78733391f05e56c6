/** What a backup and a sighting are. */

import type { Mac } from '../mac.ts';
import type { Manifest } from './manifest.ts';

/** One complete backup: a folder with a backup id as its name. */
export interface Backup {
  readonly mac: Mac;
  /** UTC time, `2026-11-23T10-00-00Z`; sorts by time. */
  readonly id: string;
  readonly path: string;
  readonly manifest: Manifest;
}

/** A "seen unchanged" record: the board's whole flash equalled backup `id` at that time, by the chip's digest. */
export interface Sighting {
  readonly id: string;
  /** ISO 8601 UTC. */
  readonly at: string;
  readonly port: string;
  /** The station that has seen it; absent = this one. */
  readonly station?: string;
}
