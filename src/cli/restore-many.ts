/** `espd restore --many`: one image on each board that is plugged in from now on. */

import type { Backup } from '../archive/types.ts';
import { ERROR_CODES, EXIT, EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { finishCommand } from '../transfer/finish-command.ts';
import type { PlugIn } from '../plugs/job.ts';
import type { PlugIns } from '../plugs/plug-ins.ts';
import type { KeepWish } from '../transfer/restore/keep.ts';
import { type RestoreOutcome, restoreBoard } from '../transfer/restore/restore.ts';
import { WriteMismatchError } from '../transfer/restore/write.ts';
import { type SessionResult, stuckError } from '../transfer/session.ts';
import { guardConfirmed } from '../transfer/restore/unconfirmed.ts';
import type { Consent } from './consent.ts';
import { halfRestoredMark, restoredMarks } from './board-marks.ts';
import { NOT_CONFIRMED, isToldOfUnconfirmed } from './put-back.ts';
import type { CommandContext } from './context.ts';
import { formatSize, plural } from './text.ts';
import { plugInsOf, workFor } from './wait-for-board.ts';
import { claim } from './boards.ts';
import { endedBy } from './ended-by.ts';

export interface ManyOptions {
  readonly yes: boolean;
  readonly unconfirmed?: boolean;
  /** Ends after so many boards that were cloned. */
  readonly count?: number;
}

/** `skip`: refused for safety, and not written to. */
interface CloneResult {
  readonly verdict: 'pass' | 'fail' | 'skip';
  readonly port: string;
  readonly mac: Mac | null;
  readonly result?: SessionResult<RestoreOutcome>;
  readonly error?: EspdError;
  /** The command that finishes what was begun. */
  readonly finish?: string;
}

/**
 * Boards that are there already are left alone, and so is every board that is no twin of the one that the image is of:
 * other chips, other flash sizes, boards with flash encryption or secure boot. Each is backed up first. One that fails
 * stops no other.
 *
 * @returns the error of the first board that failed. One that was refused is none: it was not touched, and said so
 */
export async function restoreMany(
  context: CommandContext,
  { backup, why, keep, consent }: { backup: Backup; why: string; keep: KeepWish; consent: Consent },
  options: ManyOptions,
): Promise<EspdError | undefined> {
  const { out, signal, config } = context;
  const isTold = isToldOfUnconfirmed({ ...options, dryRun: false });
  const confirmed = await guardConfirmed(context.archive, backup, isTold);
  await agree(backup, consent, confirmed);
  const enough = new AbortController();
  const plugIns = plugInsOf(context, AbortSignal.any([signal, enough.signal]));
  await plugIns.ignorePresent();
  out.note('Boards that are plugged in now are left alone. Plug the next one in; Ctrl-C ends');

  const results: CloneResult[] = [];
  const running = new Set<Promise<void>>();
  const busy = new Set<Mac>();
  const passed = () => results.filter(({ verdict }) => verdict === 'pass').length;
  const isFull = () =>
    running.size >= config.jobs.parallel ||
    (running.size > 0 && passed() + running.size >= (options.count ?? Infinity));
  try {
    for await (const plugIn of plugIns.next(Infinity)) {
      while (isFull()) await Promise.race(running);
      if (enough.signal.aborted) break;
      const job: Promise<void> = clone(context, plugIns, plugIn, { backup, why, keep, busy, said: options }).then(
        (result) => {
          results.push(result);
          print(context, result);
          running.delete(job);
          if (passed() >= (options.count ?? Infinity)) enough.abort();
        },
      );
      running.add(job);
    }
  } catch (error) {
    // Ctrl-C is how this command is meant to end.
    if (!signal.aborted && !enough.signal.aborted) throw error;
  }
  await Promise.all(running);
  return report(context, backup, results);
}

/** Whoever says yes once says it for every board that follows. */
async function agree({ mac, id, manifest }: Backup, consent: Consent, confirmed: boolean): Promise<void> {
  const { flashEncryption, secureBoot } = manifest.security ?? { flashEncryption: false, secureBoot: false };
  if (flashEncryption || secureBoot) {
    throw new EspdError(
      flashEncryption ? 'encrypted' : 'secure-boot',
      `The image is of a board with ${flashEncryption ? 'flash encryption' : 'secure boot'}, and no other board can be its clone`,
      { hint: 'If you know that a board can run it, restore it with --to' },
    );
  }
  const { name } = manifest.chip;
  const size = formatSize(manifest.image.sizeBytes);
  const what = `Every ${name} with ${size} of flash that is plugged in from now on is overwritten with ${mac} ${id}`;
  if (await consent(`${confirmed ? '' : `${NOT_CONFIRMED}. `}${what}. Begin?`, [])) return;
  throw new EspdError('declined', 'Nothing was written', { hint: 'Answer yes, or pass --yes in a script' });
}

async function clone(
  context: CommandContext,
  plugIns: PlugIns,
  plugIn: PlugIn,
  job: { backup: Backup; why: string; keep: KeepWish; busy: Set<Mac>; said: ManyOptions },
): Promise<CloneResult> {
  const { archive, call, onMark, signal } = context;
  const { backup, why, keep, busy, said } = job;
  const { yes, unconfirmed = false } = said;
  const port = plugIn.port.address;
  const found: { mac: Mac | null } = { mac: null };
  try {
    const result = await workFor(context, plugIns, plugIn, async (session) => {
      const { mac } = session.board.identity;
      found.mac = mac;
      claim(busy, mac);
      try {
        return await restoreBoard(session, {
          ...{ archive, backup, keep, targetMac: mac, why: `${why}, --many`, dryRun: false },
          // Asked once, for every board that follows.
          confirm: () => Promise.resolve(true),
          unconfirmed: true,
          command: { port: null, yes, unconfirmed },
        });
      } finally {
        busy.delete(mac);
      }
    });
    const error = result.left === 'stuck' ? stuckError(plugIn.port) : undefined;
    if (found.mac !== null) for (const mark of restoredMarks(plugIn.port, found.mac, backup, result)) onMark(mark);
    return { verdict: error === undefined ? 'pass' : 'fail', port, ...found, result, ...(error && { error }) };
  } catch (thrown) {
    const error = endedBy(signal, thrown);
    const half = found.mac === null ? null : await archive.halfRestored(found.mac).catch(() => null);
    const record = half?.record ?? null;
    if (half !== null && found.mac !== null) onMark(halfRestoredMark(plugIn.port, found.mac, half, call));
    const isRefused = ERROR_CODES[error.code].exit === EXIT.refused && record === null;
    const finish = record === null ? {} : { finish: finishCommand(record, call) };
    return { verdict: isRefused ? 'skip' : 'fail', port, ...found, error, ...finish };
  }
}

function print({ out }: CommandContext, result: CloneResult): void {
  const { verdict, port, mac, error, finish } = result;
  out.event({ board: boardJson(result) });
  const name = mac ?? port;
  if (error === undefined) {
    const { sectorsWritten = 0, snapshot = null } = result.result?.value ?? {};
    const before = snapshot === null ? '' : `; before: ${snapshot.id}`;
    const what = sectorsWritten === 0 ? 'holds the image already' : `${plural(sectorsWritten, 'sector')} written`;
    out.line(`pass  ${name}  ${what}, verified by the chip, ${(result.result?.seconds ?? 0).toFixed(1)} s${before}`);
    return;
  }
  out.line(`${verdict === 'skip' ? 'skip' : 'FAIL'}  ${name}  ${error.message} (${error.code})`);
  if (finish !== undefined) out.line(`      half restored; finish with: ${finish}`);
}

function boardJson({ verdict, port, mac, result, error, finish }: CloneResult): object {
  return {
    verdict,
    port,
    mac,
    ...(result === undefined
      ? {}
      : {
          sectorsWritten: result.value.sectorsWritten,
          verified: result.value.verified,
          snapshot: result.value.snapshot?.id ?? null,
          boundToMac: result.value.plan.boundToMac,
          kept: result.value.plan.kept.parts,
          transfer: { ...result.value.transfer, wireBytes: result.wireBytes, seconds: result.seconds },
        }),
    ...(error instanceof WriteMismatchError ? { failedSectors: error.failedSectors } : {}),
    ...(finish === undefined ? {} : { finish }),
    ...(error === undefined ? {} : { error }),
  };
}

function report(
  { out, clock }: CommandContext,
  backup: Backup,
  results: readonly CloneResult[],
): EspdError | undefined {
  const of = (verdict: CloneResult['verdict']) => results.filter((result) => result.verdict === verdict);
  const [pass, fail, skip] = [of('pass'), of('fail'), of('skip')];
  const error = fail[0]?.error;
  out.event({
    report: {
      from: { mac: backup.mac, id: backup.id, sha256: backup.manifest.image.sha256 },
      at: clock.date().toISOString(),
      passed: pass.length,
      failed: fail.length,
      skipped: skip.length,
      boards: results.map(boardJson),
    },
  });
  const skipped = `${skip.length} skipped${skip.length === 0 ? '' : ', not written to'}`;
  out.line(`${backup.mac} ${backup.id}: ${pass.length} passed, ${fail.length} failed, ${skipped}`);
  const bound = pass[0]?.result?.value.plan.boundToMac ?? [];
  if (bound.length > 0) {
    const parts = [...new Set(bound.map(({ part }) => part))].join(', ');
    out.note(`Bound to the board of the image, and now the same on every clone: ${parts}`);
  }
  return error;
}
