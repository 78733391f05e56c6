/** The documents that `--json` prints: the stable part of PRODUCT.md's section 2, as far as tests look at it. */

import type { RestorePlan } from '../../src/transfer/restore/plan.ts';
import type { ErrorFields, FailedJson } from '../support/cli.ts';

export interface IdentifyJson {
  readonly boards: Record<string, unknown>[];
  readonly failed: FailedJson[];
}
export interface TransferJson {
  readonly wireBytes: number;
  readonly flashBytesRead: number;
  readonly digestsAsked: number;
  readonly retries: number;
  readonly baudRate: number;
  readonly seconds: number;
}
export interface BackupTransferJson extends TransferJson {
  readonly loader: string;
  readonly explained: Readonly<Record<string, number>>;
  readonly recovery: Readonly<Record<string, number>>;
  readonly phases: Readonly<Record<string, number>>;
  readonly ways: Readonly<Record<string, number>>;
  /** Null where the stub alone has read. */
  readonly reader: object | null;
  readonly plan: readonly { readonly offset: number; readonly sizeBytes: number; readonly by: string }[];
}
export interface BackupJson {
  readonly backups: {
    readonly mac: string;
    readonly id: string;
    readonly path: string;
    readonly sizeBytes: number;
    readonly sha256: string;
    readonly unchanged: boolean;
    readonly transfer: BackupTransferJson;
  }[];
  readonly failed: FailedJson[];
  readonly error?: ErrorFields;
}
export interface RestoreJson {
  readonly mac: string;
  readonly id: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly sectorsWritten: number;
  readonly verified: boolean;
  readonly transfer: TransferJson;
  readonly plan: RestorePlan;
  readonly scope: 'flash' | 'region';
  readonly snapshot: string | null;
  readonly finished: boolean;
}
export interface VerifyDeviceJson {
  readonly checked: number;
  readonly damaged: { mac: string; id: string; file: string; problem: string }[];
  readonly ok: boolean;
  readonly devices: {
    id: string;
    here: boolean;
    matches: boolean;
    equals: { mac: string; id: string } | null;
    confirmed: boolean;
    confirmedNow: boolean;
  }[];
}
