/**
 * Puts an archived image back, or a part of it: guards first, then a plan, a snapshot of what is there, a record that
 * a restore has begun, only the sectors that differ, and the chip's own digest of the whole before any reset.
 */

import type { Region } from '../../flash.ts';
import type { ChipChange } from '../../archive/chip-change.ts';
import type { HalfRestored } from '../../archive/restore-record.ts';
import type { ImageReader } from '../../archive/types.ts';
import { EspdError } from '../../errors.ts';
import type { Board, FlashFacts } from '../../esp/board.ts';
import {
  type FirmwareSummary,
  type FlashPart,
  describeFirmware,
  mapFlash,
  revisionRequirements,
} from '../../firmware/index.ts';
import type { Likeness } from '../backup.ts';
import { overlap, restOf } from '../flash-compare.ts';
import { PLAIN_CALL, finishCommand } from '../finish-command.ts';
import { halfRestoredText } from '../half-restored.ts';
import { likelyToChange } from '../likely-changes.ts';
import { AskedDigests } from './asked.ts';
import {
  NO_OVERRIDES,
  type Overrides,
  guardBoard,
  guardRevision,
  guardSecurity,
  guardWriteProtection,
  namesOf,
} from './guards.ts';
import { type Kept, KEEP_NOTHING, keptParts } from './keep.ts';
import { type LayoutFacts, guardLayout } from './layout.ts';
import { changeSince, checkImage, readerWhileHeld } from './open-image.ts';
import type { RestoreOptions, RestoreOutcome } from './options.ts';
import { type NamedRegion, regionsOf } from './parts.ts';
import { type RestorePlan, type SnapshotPlan, makePlan } from './plan.ts';
import { FlashProof } from './proof.ts';
import { type Snapshot, guardReadOnly, makeSnapshot, planSnapshot } from './snapshot.ts';
import { guardConfirmed, securityOf } from './unconfirmed.ts';
import { FlashRewriter } from './write.ts';
import { type Session, whileHeld } from '../session.ts';
import { guardToldSize } from '../told-size.ts';

export type { RestoreOptions, RestoreOutcome } from './options.ts';

/**
 * Restores `options.backup` on the board of `session`.
 *
 * @throws EspdError see {@link guardBoard}, {@link guardConfirmed}, {@link guardToldSize}, {@link guardSecurity},
 *   {@link guardRevision}, {@link guardWriteProtection}, {@link regionsOf}, {@link guardLayout} and {@link keptParts};
 *   `archive-damaged`; `declined`; `half-restored`; what the snapshot or its record meet: all before anything is written.
 *   `write-mismatch` when the flash does not hold what was written
 */
export async function restoreBoard(session: Session, options: RestoreOptions): Promise<RestoreOutcome> {
  const { board } = session;
  const { archive, backup } = options;
  board.withoutReader();
  const flash = await board.openFlash();
  const overrides = { ...NO_OVERRIDES, ...options.overrides };
  const change = await changeSince(backup, board, flash);
  const { identity } = board;
  const isPartial = options.part !== undefined;
  guardBoard(backup, options.targetMac, { identity, flash, change }, isPartial, overrides);
  const isTold = options.unconfirmed ?? false;
  const confirmed = await whileHeld(session, guardConfirmed(archive, backup, isTold));
  await guardToldSize(flash, (offset, sizeBytes) => board.digest(offset, sizeBytes));
  const opening = archive.openImage(backup);
  try {
    const image = await readerWhileHeld(session, opening);
    const read = (offset: number, length: number) => image.read(offset, length);
    await checkImage(image, backup, session.options.signal);
    const { family } = identity;
    const contents = await describeFirmware(read, image.sizeBytes, family);
    const isSameChip = confirmed && identity.mac === backup.mac && change?.kind !== 'chip';
    guardSecurity(await securityOf(backup, read, contents), identity, { isPartial, isSameChip }, overrides);
    guardRevision(await revisionRequirements(read, image.sizeBytes, family), identity, overrides);
    const half = await whileHeld(session, archive.halfRestored(identity.mac));
    const asked = new AskedDigests(session);
    const layout: LayoutFacts = {
      ...{ board, image, contents, flashBytes: flash.sizeBytes },
      ask: (region) => asked.ask(region),
    };
    const isSame = half?.record?.from.mac === backup.mac && half.record.from.id === backup.id;
    const kept = await keptParts(options.keep ?? KEEP_NOTHING, {
      ...layout,
      // Confined to a part, a restore keeps all the rest.
      record: isSame && options.part === undefined ? half.record : null,
      isOtherBoard: identity.mac !== backup.mac,
      ignoresLayout: overrides.layout,
    });
    const known = { image, flash, change, contents, half, asked, layout, kept, confirmed };
    return await new RestoreJob(session, { ...options, overrides }, known).run();
  } finally {
    session.afterwards(opening.then((image) => image.close()));
  }
}

interface JobFacts {
  readonly image: ImageReader;
  readonly flash: FlashFacts;
  readonly change: ChipChange | null;
  readonly contents: FirmwareSummary;
  readonly half: HalfRestored | null;
  readonly asked: AskedDigests;
  readonly layout: LayoutFacts;
  readonly kept: Kept;
  /** A chip has confirmed the image. */
  readonly confirmed: boolean;
}

class RestoreJob {
  readonly #session: Session;
  readonly #board: Board;
  readonly #options: RestoreOptions & { readonly overrides: Overrides };
  readonly #facts: JobFacts;
  readonly #rewriter: FlashRewriter;
  readonly #proof: FlashProof;
  readonly #parts: readonly FlashPart[];
  /** What the person has confined the restore to; null = the whole image. */
  readonly #named: readonly NamedRegion[] | null;
  /** What is written at most: what was named, or what lies around the kept parts; null = the whole image. */
  readonly #confined: readonly NamedRegion[] | null;
  #askedSeconds = 0;

  constructor(session: Session, options: RestoreOptions & { readonly overrides: Overrides }, facts: JobFacts) {
    const { image, flash, contents, asked, kept } = facts;
    const { identity } = session.board;
    this.#session = session;
    this.#board = session.board;
    this.#options = options;
    this.#facts = facts;
    this.#parts = mapFlash(contents.partitions, contents.tableOffset, { ...flash, family: identity.family });
    this.#named = options.part === undefined ? null : regionsOf(options.part, contents, image.sizeBytes);
    const around = restOf(kept.parts, image.sizeBytes);
    const isAll = this.#named === null && kept.parts.length === 0;
    this.#confined = isAll ? null : (this.#named ?? around.map((region) => ({ name: null, ...region })));
    const { md5 } = options.backup.manifest.image;
    const wanted = { reader: image, md5 };
    const likely = likelyToChange(this.#parts);
    this.#proof = new FlashProof(session, asked, wanted, this.#confined ?? around, flash.sizeBytes, likely);
    this.#rewriter = new FlashRewriter(session, image);
  }

  async run(): Promise<RestoreOutcome> {
    const { archive, dryRun, onPlan, overrides } = this.#options;
    const { half, flash, layout } = this.#facts;
    const { signal, log } = this.#session.options;
    this.#guardUnfinished();
    if (this.#named !== null && !overrides.layout) {
      await guardLayout(layout, this.#named, 'write');
    }
    const regions = await this.#proof.compare();
    if (half?.record && this.#confined !== null && !(await this.#proof.restIsStill(half.record.done))) {
      // The app may have run and written there; or the flash is smaller than it says.
      log.warn('The rest of the flash has changed since the interrupted restore began', {
        mac: this.#board.identity.mac,
        snapshot: half.record.snapshot,
      });
    }
    if (regions.length === 0) {
      if (half !== null && !dryRun) await this.#clearRecord('done');
      return this.#outcome(await this.#plan([], { kind: 'none', because: 'nothing-to-write' }, undefined), true, null);
    }
    const status = await this.#board.flashStatus();
    guardWriteProtection(status, overrides);
    const flashDigest = () => this.#proof.flashDigest();
    const snapshotPlan = await planSnapshot({
      ...{ session: this.#session, archive, flash, half },
      isWanted: this.#options.snapshot ?? true,
      flashDigest,
    });
    const readOnly = await archive.readOnly();
    guardReadOnly(archive, readOnly, snapshotPlan);
    const plan = await this.#plan(regions, snapshotPlan, status, readOnly?.recordFolder ?? null);
    onPlan?.(plan);
    if (dryRun) return this.#outcome(plan, false, null);
    if (!(await this.#isConfirmed(plan))) {
      throw new EspdError('declined', 'Nothing was written', { hint: 'Answer yes, or pass --yes in a script' });
    }
    signal.throwIfAborted();
    // A person may have taken their time to answer, with other boards at hand.
    const { retries } = this.#board;
    await this.#board.checkIdentity();
    // Connected again, perhaps: then its app may have run.
    if (this.#board.retries !== retries) await this.#proof.mustBeAsBefore();
    const snapshot = await makeSnapshot(this.#session, archive, plan.snapshot, flashDigest, this.#likeness(regions));
    await this.#keepRest(snapshot);
    await this.#board.checkIdentity();
    await this.#record(plan, snapshot);
    try {
      await this.#rewriter.writeUntilEqual(regions, () => this.#proof.compare(), this.#parts);
      await this.#proof.proveRest();
    } catch (error) {
      await this.#onFailure();
      throw error;
    }
    await this.#clearRecord('done');
    if (half !== null) log.info('The interrupted restore is finished', { mac: this.#board.identity.mac });
    return this.#outcome(plan, true, snapshot);
  }

  /** The image, as what the whole flash was compared with; undefined where only a part of it was. */
  #likeness(differing: readonly Region[]): Likeness | undefined {
    const { backup } = this.#options;
    if (this.#confined !== null) return undefined;
    const by = backup.mac === this.#board.identity.mac ? 'olderBackup' : 'fleet';
    return { image: this.#facts.image, by, differing };
  }

  /** What is not written, as the snapshot has it, or as the chip says. */
  async #keepRest(snapshot: Snapshot | null): Promise<void> {
    if (snapshot === null || this.#proof.rest.length === 0) return this.#proof.keepRest(null);
    const { archive } = this.#options;
    const { mac } = this.#board.identity;
    const opening = archive.resolveBackup(mac, snapshot.id).then((backup) => archive.openImage(backup));
    try {
      await this.#proof.keepRest(await readerWhileHeld(this.#session, opening));
    } finally {
      this.#session.afterwards(opening.then((image) => image.close()));
    }
  }

  async #isConfirmed(plan: RestorePlan): Promise<boolean> {
    const { clock } = this.#session.options;
    const askedAtMs = clock.now();
    const answer = await this.#options.confirm(plan);
    this.#askedSeconds = (clock.now() - askedAtMs) / 1000;
    return answer;
  }

  /** A part alone makes a half restored board no whole one. */
  #guardUnfinished(): void {
    const { half } = this.#facts;
    const confined = this.#confined;
    if (half === null || confined === null) return;
    const isInside = (region: Region) => confined.some((part) => overlap(region, part)?.sizeBytes === region.sizeBytes);
    if (half.record?.regions.every(isInside) === true) return;
    const { message, hint } = halfRestoredText(this.#board.identity.mac, half, this.#call);
    throw new EspdError('half-restored', message, { hint: `A part does not finish that restore. ${hint}` });
  }

  /** From here on the board counts as half restored, whatever happens to this process. */
  async #record(plan: RestorePlan, snapshot: Snapshot | null): Promise<void> {
    const { archive, why = '' } = this.#options;
    const begun = archive.beginRestore({
      ...this.#unfinished,
      startedAt: this.#session.options.clock.date().toISOString(),
      why,
      regions: plan.regions.map(({ offset, sizeBytes }) => ({ offset, sizeBytes })),
      done: await this.#proof.whenDone(),
      snapshot: snapshot?.id ?? this.#facts.half?.record?.snapshot ?? null,
      snapshotIsNew: snapshot?.isNew ?? this.#facts.half?.record?.snapshotIsNew ?? true,
    });
    try {
      await whileHeld(this.#session, begun);
    } catch (error) {
      // Told to stop before a sector was erased: the board is what it was.
      const { mac } = this.#board.identity;
      if (this.#facts.half === null) {
        this.#session.afterwards(begun.then(() => archive.endRestore(mac, 'nothing-written')));
      }
      throw error;
    }
  }

  /** What the command that finishes this is made of. */
  get #unfinished() {
    const { backup, overrides, command } = this.#options;
    const { sizeFrom, sizeBytes } = this.#facts.flash;
    const toldFlashBytes = sizeFrom === 'person' ? sizeBytes : null;
    return {
      mac: this.#board.identity.mac,
      from: { mac: backup.mac, id: backup.id },
      parts: this.#confined?.map((part) => ({ ...part })) ?? null,
      kept: this.#facts.kept.parts.map(({ name, ...region }) => ({ name: name ?? '', ...region })),
      options: {
        ...{ port: command?.port ?? null, ignore: namesOf(overrides), yes: command?.yes ?? false, toldFlashBytes },
        ...(command?.unconfirmed === true ? { unconfirmed: true } : {}),
      },
    };
  }

  get #call() {
    return this.#session.options.call ?? PLAIN_CALL;
  }

  async #onFailure(): Promise<void> {
    const { mac, from } = this.#unfinished;
    if (!this.#rewriter.hasBegun) {
      // Not a sector was erased: the board is what it was.
      if (this.#facts.half === null) await this.#clearRecord('nothing-written');
      return;
    }
    this.#session.options.log.error('The board is half restored: run the same command again to finish it', {
      mac,
      id: from.id,
      finish: finishCommand({ ...this.#unfinished, archive: null }, this.#call),
    });
  }

  /** A record that cannot be removed now is at the next look at the board. */
  async #clearRecord(outcome: 'done' | 'nothing-written'): Promise<void> {
    const { mac } = this.#board.identity;
    try {
      await whileHeld(this.#session, this.#options.archive.endRestore(mac, outcome));
    } catch (error) {
      // Told to stop, the board does not wait; the disk has until the end of the session.
      if (this.#session.options.signal.aborted) return;
      if (!(error instanceof EspdError)) throw error;
      this.#session.options.log.warn('The record of the restore cannot be removed, though the board is whole', {
        mac,
        reason: error.message,
      });
    }
  }

  async #plan(
    regions: readonly Region[],
    snapshot: SnapshotPlan,
    status: number | undefined,
    recordFolder: string | null = null,
  ): Promise<RestorePlan> {
    const { backup, why = '' } = this.#options;
    return makePlan({
      session: this.#session,
      backup,
      why,
      ...this.#facts,
      regions,
      parts: this.#parts,
      scope: this.#named,
      written: this.#confined,
      snapshot,
      status,
      digestSeconds: this.#facts.asked.slowestSeconds,
      recordFolder,
    });
  }

  #outcome(plan: RestorePlan, verified: boolean, snapshot: Snapshot | null): RestoreOutcome {
    return {
      plan,
      sectorsWritten: this.#rewriter.sectorsWritten,
      verified,
      scope: this.#proof.rest.length === 0 ? 'flash' : 'region',
      snapshot,
      finished: this.#facts.half !== null && verified,
      askedSeconds: this.#askedSeconds,
      transfer: {
        digestsAsked: this.#facts.asked.count,
        retries: this.#board.retries,
        baudRate: this.#board.baudRate,
      },
    };
  }
}
