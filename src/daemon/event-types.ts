/**
 * What happens in the service, as its subscribers are told: the log, systemd, metrics, hooks and the API know nothing
 * else. Every event is plain data that JSON can hold. Texts that come from devices stand as they came.
 */

import type { ErrorCode } from '../errors.ts';
import type { Mac } from '../mac.ts';
import type { UsbFacts } from '../serial/link.ts';

/** An error as it travels. */
export interface EventError {
  readonly code: ErrorCode;
  readonly message: string;
  /** Empty where nothing useful can be said. */
  readonly hint: string;
}

/**
 * Why a job began: a board was plugged in, a failure may have passed, another program has closed its port, a remote is
 * looked at by the clock, or somebody asked.
 */
export type JobCause = 'plug-in' | 'retry' | 'after-release' | 'round' | 'request';
export type JobKind = 'backup' | 'identify' | 'verify' | 'restore' | 'prune' | 'pull' | 'command';

/** What a command outside of the service's own jobs is doing with a port, or a person with a hold. */
export interface HoldFacts {
  readonly port: string;
  /** Who holds it, for people: `espd restore`, or what the person said. */
  readonly by: string;
  /** ISO 8601 UTC; null = until it is released. */
  readonly until: string | null;
}

/** The firmware of a backup, as its manifest says. */
export interface FirmwareFacts {
  readonly name: string;
  readonly version: string | null;
}

export interface KeptBackup {
  /** Null where a command that went through the service has made it. */
  readonly job: number | null;
  readonly port: string;
  readonly mac: Mac;
  /** Backup id. */
  readonly id: string;
  readonly chip: string;
  readonly sizeBytes: number;
  readonly flashBytesRead: number;
  readonly wireBytes: number;
  readonly seconds: number;
  readonly retries: number;
  readonly baudRate: number | null;
  readonly firmware: FirmwareFacts | null;
}

/** Of a failure: `stopped` on purpose; `silent`, and perhaps no board at all; `passing`, and tried again; else `fault`. */
export type FailureKind = 'stopped' | 'silent' | 'passing' | 'fault';

/** By type. `job` is the number of a job of this instance. */
interface EventFacts {
  /** `existing`: it was there before the service. `name`: of a remote, as the config has it. */
  'port-attached': {
    readonly port: string;
    readonly usb: UsbFacts | null;
    readonly existing: boolean;
    readonly name?: string;
  };
  'port-detached': { readonly port: string };
  /** A remote that the config calls otherwise now. */
  'port-renamed': { readonly port: string; readonly name: string };
  /** It is not touched, because the rules, `watch.existing` or `watch.due` say so. `existing`: it was there before the service. */
  'port-left-alone': {
    readonly port: string;
    readonly reason: string;
    readonly by: 'rules' | 'existing' | 'due';
    readonly existing: boolean;
  };
  /** It is to be touched, but not yet: `watch.graceSeconds` or `watch.quietHours` say so. `until`: ISO 8601 UTC. */
  'port-postponed': { readonly port: string; readonly why: 'grace' | 'quiet-hours'; readonly until: string };
  /** It comes and goes by itself, and is left alone for `restMs`. */
  'port-flapping': { readonly port: string; readonly restMs: number };
  /** The line at a USB socket loses data or its port: `score` 0 to 100 of its last jobs; see transfer/line-scores.ts. */
  'line-bad': {
    readonly socket: string;
    readonly port: string;
    readonly score: number;
    readonly blame: 'socket' | 'board' | 'unknown';
    readonly error: EventError;
  };
  'line-good': { readonly socket: string; readonly port: string; readonly score: number };
  'port-held': HoldFacts;
  'port-released': { readonly port: string; readonly by: string };

  /** `port` and `mac` are null for a job at no board. */
  'job-queued': {
    readonly job: number;
    readonly kind: JobKind;
    readonly cause: JobCause;
    readonly port: string | null;
    readonly mac: Mac | null;
    /** What USB calls the device at the port. */
    readonly product: string | null;
    /** Of a remote, as the config has it. */
    readonly name?: string;
  };
  'job-started': { readonly job: number; readonly kind: JobKind; readonly port: string | null };
  /** At each new phase, and at most twice a second. Bytes of flash, null where the phase has none. */
  'job-progress': {
    readonly job: number;
    readonly port: string | null;
    readonly phase: string;
    readonly doneBytes: number | null;
    readonly totalBytes: number | null;
  };
  'job-done': { readonly job: number; readonly kind: JobKind; readonly port: string | null; readonly mac: Mac | null };
  /** `job` is null where a port failed before any job. */
  'job-failed': {
    readonly job: number | null;
    readonly kind: JobKind;
    readonly port: string | null;
    readonly mac: Mac | null;
    readonly error: EventError;
    readonly failure: FailureKind;
    /** False: the same was said of this plug-in already. */
    readonly isNews: boolean;
    /** Until it is tried again by itself; null = not before it is plugged in anew. */
    readonly retryInMs: number | null;
  };

  /** The last event of each job, after `job-done` or `job-failed`. `dropped`: it was no longer wanted when its turn came. */
  'job-ended': {
    readonly job: number;
    readonly kind: JobKind;
    readonly port: string | null;
    readonly result: 'done' | 'failed' | 'dropped';
  };

  /** `chip` is null where a command was told no more than the MAC. */
  identified: { readonly job: number; readonly port: string; readonly mac: Mac; readonly chip: string | null };
  'backup-kept': KeptBackup & {
    /** The flash repeats itself from this address on; null where it does not. */
    readonly aliasedAtBytes: number | null;
  };
  /** The board equals backup `id`, which was there. */
  'backup-unchanged': KeptBackup;
  /** The archive had nothing of it. */
  'new-board': { readonly port: string; readonly mac: Mac; readonly chip: string; readonly id: string };
  'firmware-changed': {
    readonly port: string;
    readonly mac: Mac;
    readonly id: string;
    readonly before: FirmwareFacts | null;
    readonly now: FirmwareFacts | null;
  };
  /** After the job it did not leave download mode. */
  'board-stuck': { readonly port: string; readonly mac: Mac; readonly error: EventError };
  /** It went away when it was reset into download mode, as boards on their own USB do, and is waited for. */
  'board-away': { readonly port: string };
  /** It was reset into its app, went away, and is back: what was known of it still holds. */
  'board-back': { readonly port: string; readonly mac: Mac | null };
  /** It was reset and did not come back to its port. */
  'board-missing': {
    readonly port: string;
    readonly mac: Mac | null;
    readonly into: 'download-mode' | 'app' | 'nothing';
    readonly error: EventError;
  };
  /** Somebody has changed, by the API or by a command that went through the service, what the board is called or what is noted of it. */
  'board-described': {
    readonly mac: Mac;
    readonly label: string | null;
    readonly note: string | null;
    readonly group: string | null;
  };
  /** So with a pin of a backup. */
  'backup-pinned': { readonly mac: Mac; readonly id: string; readonly pinned: boolean };
  /** A job that writes one image to many boards is done with one of them. `skip`: refused for safety, not written to. */
  'clone-done': {
    readonly job: number;
    readonly verdict: 'pass' | 'fail' | 'skip';
    readonly port: string;
    readonly mac: Mac | null;
    readonly error: EventError | null;
  };
  'half-restored': { readonly port: string; readonly mac: Mac | null; readonly error: EventError };
  /** The backup `id` of board `from` is on the board now, by the chip's digests. `sectors`: how many had to be written. */
  'board-restored': {
    readonly port: string;
    readonly mac: Mac;
    readonly from: Mac;
    readonly id: string;
    readonly sectors: number;
  };

  /** `isDamage` false: it could not be read, and nothing is known of it. */
  'archive-damaged': {
    readonly file: string;
    readonly problem: string;
    readonly isDamage: boolean;
    readonly error: EventError;
  };
  'archive-verified': {
    readonly checked: number;
    readonly damaged: number;
    readonly unreadable: number;
    /** How many foreign files there are, and the first of them. */
    readonly foreign: number;
    readonly foreignFiles: readonly string[];
  };
  'disk-low': { readonly path: string; readonly freeBytes: number; readonly wantedBytes: number };
  /** A dump from elsewhere is a backup of the archive now. */
  'backup-imported': { readonly mac: Mac; readonly id: string };
  'backup-removed': { readonly mac: Mac; readonly id: string; readonly sizeBytes: number; readonly why: string };
  'backup-spared': { readonly mac: Mac; readonly id: string; readonly why: string };
  /** `blocked`: why nothing was removed at all; `overBudgetBytes`: what `retention.maxBytes` is exceeded by. */
  pruned: {
    readonly removed: number;
    readonly sizeBytes: number;
    readonly left: number;
    readonly blocked: readonly string[];
    readonly overBudgetBytes: number;
  };

  /** A backup is complete in the object store. `waiting`: how many are not there yet. */
  'backup-pushed': {
    readonly mac: Mac;
    readonly id: string;
    /** That were sent; 0 where all of it was there already. */
    readonly sentBytes: number;
    readonly waiting: number;
  };
  /** Told once until it goes well again. `mac` and `id` are null where the store is the matter, and no single backup. */
  'push-failed': {
    readonly mac: Mac | null;
    readonly id: string | null;
    readonly error: EventError;
    readonly waiting: number;
  };

  /** Other stations have said in their journals what was not known here. */
  'stations-heard': {
    readonly stations: readonly string[];
    /** How many boards it is about, and which; of very many the first ones. */
    readonly boards: number;
    readonly macs: readonly Mac[];
    readonly backups: number;
    /** Backups that are not in the object store any more. */
    readonly removed: number;
    /** Labels, pins, sightings and the like. */
    readonly marks: number;
  };
  /** A part of a station's journal cannot be read, or is not taken in. Told once until that changes; what is behind it is read. */
  'journal-unread': {
    readonly station: string;
    readonly error: EventError;
    /** 0: only single lines. */
    readonly segments: number;
  };
  /**
   * All that lies in the object store was compared with what should be there. `missing`: backups that are not there, and no
   * station has removed them; `again` of them this station had put there, and puts them there again if they are still here.
   * `unreadable`: cannot be read there. `mended`: segments of its own journal that were missing or damaged, and what they
   * told is said again. `macs`: of what is missing, 100 at most. `error`: null where nothing was wrong.
   */
  'store-compared': {
    readonly backups: number;
    readonly missing: number;
    readonly again: number;
    readonly unreadable: number;
    readonly mended: number;
    readonly macs: readonly Mac[];
    readonly error: EventError | null;
  };
  /**
   * A backup that lay in the object store alone is here now, too. `fetchedBytes` came from there; `reusedBytes` of its image
   * were here in other images.
   */
  'backup-pulled': {
    readonly mac: Mac;
    readonly id: string;
    readonly fetchedBytes: number;
    readonly reusedBytes: number;
  };
  /** The local copy of a backup was removed, since the object store has the same (`archive.local`). */
  'backup-released': { readonly mac: Mac; readonly id: string; readonly sizeBytes: number };
  /** A backup is gone from the object store. `folder`: where it was, behind the prefix. */
  'store-removed': { readonly mac: Mac; readonly id: string; readonly folder: string; readonly why: string };
  /**
   * What was read back from the object store is not as it should be. `folder`: its key behind the prefix; `file`: of the
   * object in it, empty where the backup is missing; `isDamage` false: it could not be judged here.
   */
  'store-damaged': {
    readonly mac: Mac;
    readonly id: string;
    readonly folder: string;
    readonly file: string;
    readonly problem: string;
    readonly isDamage: boolean;
    readonly error: EventError;
  };
  /** A part of the object store was read back. `of`: how many backups lie there. */
  'store-verified': {
    readonly checked: number;
    readonly of: number;
    readonly readBytes: number;
    readonly damaged: number;
    readonly missing: number;
    readonly unreadable: number;
  };
  /**
   * Retention of the object store has run. `blocked`: why nothing was announced or removed at all. `error`: it was refused, for
   * the store is pruned by another policy; told once.
   */
  'store-pruned': {
    readonly announced: number;
    readonly removed: number;
    readonly withdrawn: number;
    readonly blocked: readonly string[];
    readonly error: EventError | null;
  };

  'config-reloaded': { readonly needsRestart: boolean };
  'config-rejected': { readonly problem: string };
  'service-started': { readonly version: string; readonly archive: string };
  'service-stopping': { readonly reason: string | null };
}

export type EventType = keyof EventFacts;

/** What is told, before it has a number. */
export type EventBody = { [T in EventType]: { readonly type: T } & EventFacts[T] }[EventType];

/** An event as it is told. */
export type ServiceEvent = EventBody & {
  /** From 1, without gaps, within one instance of the service. */
  readonly seq: number;
  /** ISO 8601 UTC. */
  readonly at: string;
};

export type EventOf<T extends EventType> = Extract<ServiceEvent, { type: T }>;
