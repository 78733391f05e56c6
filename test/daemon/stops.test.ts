/**
 * Every way to end a job, or to have its port, in the middle of each of its phases: the board runs its app afterwards,
 * the archive holds nothing that is half, and what the board is owed is made up for.
 */

import assert from 'node:assert/strict';
import { type TestContext, describe, it } from 'node:test';
import type { TakenPort } from '../../src/daemon/holds.ts';
import { OPCODE } from '../../src/simulator/index.ts';
import { type BoardDevice, KIB, PACED, Workshop, reading } from './workshop.ts';

/** Commands that the board has got in this plug-in. */
type Seen = readonly { readonly opcode: number }[];
const has = (seen: Seen, opcode: number) => seen.some((command) => command.opcode === opcode);

/** What tells that a job is in the middle of a phase; `waiting` and `keeping` are told by events. */
const PHASES: Readonly<Record<string, (seen: Seen) => boolean>> = {
  connecting: (seen) => has(seen, OPCODE.sync),
  'uploading the stub': (seen) => has(seen, OPCODE.memData),
  'trying a rate': (seen) => has(seen, OPCODE.changeBaudRate),
  'asking for digests': (seen) => has(seen, OPCODE.flashMd5),
  reading: (seen) => has(seen, OPCODE.readFlash),
  confirming: (seen) => seen.findLastIndex(({ opcode }) => opcode === OPCODE.flashMd5) > readAt(seen),
};

function readAt(seen: Seen): number {
  const at = seen.findIndex(({ opcode }) => opcode === OPCODE.readFlash);
  return at === -1 ? Infinity : at;
}

interface Case {
  readonly shop: Workshop;
  readonly device: BoardDevice;
  readonly job: number;
  /** Of the plug-in that the job is about. */
  readonly plugKey: string;
}

/**
 * `ends`: the job ends at once, whatever it did. `waits`: a job that runs goes on, and one that waits is given up.
 * `owes`: the board is looked at afterwards.
 */
interface Way {
  readonly act: (bench: Case) => unknown;
  readonly ends: boolean;
  /** What the job says that has ended by it. */
  readonly says?: RegExp;
  /** Gives the port back, or makes the daemon want the board again: that daemon, or another one with its board. */
  readonly afterwards?: (bench: Case, t: TestContext) => Promise<Successor | undefined> | undefined;
}

interface Successor {
  readonly shop: Workshop;
  readonly device: BoardDevice;
}

const by = 'Ada';
const taken = new WeakMap<Workshop, Promise<TakenPort>>();

function take(now: boolean): Way {
  return {
    ends: now,
    ...(now && { says: /^\/dev\/ttyUSB0 was asked for by Ada$/ }),
    act: ({ shop, device }) => {
      taken.set(shop, shop.daemon.take(device.address, { by, now }));
    },
    afterwards: async ({ shop, device }) => {
      const port = await taken.get(shop)!;
      // Nobody else touches it now.
      const opens = shop.opensOf(device.address);
      await shop.pass(60_000);
      assert.equal(shop.opensOf(device.address), opens);
      port.giveBack('lost');
      return undefined;
    },
  };
}

const deny = { rules: { allow: [], deny: [{ path: '/dev/ttyUSB0' }] } };

const WAYS: Readonly<Record<string, Way>> = {
  'a cancel': {
    ends: true,
    says: /^The job was cancelled$/,
    act: ({ shop, job }) => assert.equal(shop.daemon.cancel(job), true),
    afterwards: ({ shop, device }) =>
      void shop.daemon.requestBackup({ port: device.address }, { full: false, allowHalfRestored: false }),
  },
  'a hold': {
    ends: false,
    act: ({ shop, device }) => shop.daemon.hold(device.address, { by }),
    afterwards: ({ shop, device }) => void shop.daemon.release(device.address),
  },
  'a restore that waits for the port': take(false),
  'a restore that takes the port over': take(true),
  'a reload that denies the port': {
    ends: false,
    act: ({ shop }) => shop.apply({ ...deny, parallel: 1 }),
    afterwards: ({ shop }) => {
      shop.apply({ parallel: 1 });
      return undefined;
    },
  },
  SIGTERM: { ends: true, says: /^The daemon is stopping$/, act: ({ shop }) => shop.daemon.stop() },
  'an upgrade': {
    ends: true,
    says: /^The daemon is stopping$/,
    act: ({ shop }) => shop.daemon.stop(),
    // Nobody has touched the board meanwhile: the new daemon finds it plugged in, behind its bridge.
    afterwards: async ({ shop: before, device, plugKey }, t) => {
      const shop = await Workshop.open(t, { root: before.archive.root });
      const again = { ...shop.board({ line: PACED, content: device.board.flash.snapshot() }), plugKey };
      shop.present.push(again);
      await shop.daemon.start();
      return { shop, device: again };
    },
  },
};

/** A board whose newest backup is an older state of it: so there is something to ask, and to read. */
async function changedBoard(t: TestContext): Promise<{ shop: Workshop; device: BoardDevice }> {
  const { shop, device } = await newBoard(t);
  shop.plug(device);
  await shop.said('Backed up and verified');
  await shop.idle();
  shop.unplug(device);
  for (const offset of [64 * KIB, 160 * KIB]) {
    device.board.flash.erase(offset, 32 * KIB);
    device.board.flash.program(
      offset,
      Buffer.from(Array.from({ length: 32 * KIB }, (_, index) => (index * 167 + offset) & 0xff)),
    );
  }
  await shop.pass(60_000);
  return { shop, device };
}

/** A board without a backup: the proof of what is read can only be asked for after it. */
async function newBoard(t: TestContext): Promise<{ shop: Workshop; device: BoardDevice }> {
  const shop = await Workshop.started(t, { settings: { parallel: 1 } });
  return { shop, device: shop.board({ line: PACED }) };
}

/** Plugs the board in, and acts in the moment in which its job is in the middle of `phase`. */
async function actIn(phase: string, way: Way, { shop, device }: { shop: Workshop; device: BoardDevice }) {
  const before = device.board.commands.length;
  if (phase === 'waiting') {
    const first = shop.board({ slot: 1, line: PACED });
    shop.plug(first);
    await reading(shop, first);
  }
  const jobOf = () => shop.daemon.jobs.find(({ port }) => port.address === device.address)?.id;
  const act = async (job: number) => {
    const plugKey = shop.daemon.jobs.find(({ id }) => id === job)!.port.key;
    const bench = { shop, device, job, plugKey };
    await way.act(bench);
    return bench;
  };
  if (phase === 'keeping') {
    const acting = new Promise<Case>((resolve, reject) => {
      const leave = shop.events.subscribe((event) => {
        if (event.type !== 'job-progress' || event.port !== device.address || event.phase !== 'released') return;
        leave();
        queueMicrotask(() => void act(event.job).then(resolve, reject));
      });
    });
    shop.plug(device);
    return acting;
  }
  shop.plug(device);
  const isThere = PHASES[phase];
  const hasEnded = () => jobOf() === undefined;
  while (isThere !== undefined && !isThere(device.board.commands.slice(before)) && !hasEnded()) await shop.pass(1);
  const job = jobOf();
  assert.ok(job !== undefined, `its job has ended before it was ${phase}`);
  return act(job);
}

for (const phase of ['waiting', ...Object.keys(PHASES), 'keeping']) {
  describe(`while a job is ${phase}`, () => {
    for (const [name, way] of Object.entries(WAYS)) {
      it(`${name} leaves the board in its app, and the archive sound`, async (t) => {
        const { shop, device } = phase === 'confirming' ? await newBoard(t) : await changedBoard(t);
        const bench = await actIn(phase, way, { shop, device });
        const endOf = () => shop.eventsOf('job-ended').find(({ job }) => job === bench.job);
        await shop.until(() => endOf() !== undefined && shop.openLinks === 0, 'the end of the job');
        // Out of its reset it comes by itself: nobody holds its lines any more.
        await shop.pass(1000);
        assert.equal(device.board.mode, 'app');
        const { result } = endOf()!;
        if (phase === 'waiting') assert.equal(result, 'dropped');
        else if (phase === 'keeping') assert.ok(result === 'done' || way.ends, result);
        else assert.equal(result, way.ends ? 'failed' : 'done');
        const told = shop.eventsOf('job-failed').filter(({ job }) => job === bench.job);
        assert.deepEqual([...new Set(told.map(({ error }) => error.code))], result === 'failed' ? ['interrupted'] : []);
        for (const { error } of told) assert.match(error.message, way.says ?? assert.fail('nothing should end it'));
        const { backups, problems } = await shop.history(device.board);
        assert.deepEqual(problems, []);
        const before = phase === 'confirming' ? 0 : 1;
        assert.ok(backups.length >= before && backups.length <= before + 1, `${backups.length} backups`);
        if (way.afterwards === undefined) return;
        const next = (await way.afterwards(bench, t)) ?? { shop, device };
        // By then, or by what it is owed, all that is on the board is in the archive.
        const isIdle = () => next.shop.daemon.jobs.length === 0 && next.shop.openLinks === 0;
        await next.shop.until(isIdle, 'an idle daemon');
        await next.shop.pass(1000);
        const latest = await next.shop.archive.latest((await next.shop.history(next.device.board)).mac);
        assert.ok(latest.backup !== undefined);
        const image = await next.shop.archive.openImage(latest.backup);
        const stored = await image.read(0, image.sizeBytes).finally(() => image.close());
        assert.ok(stored.equals(next.device.board.flash.snapshot()), 'what is archived is what is on the board');
        assert.equal(next.device.board.mode, 'app');
        assert.deepEqual(next.shop.daemon.holds, []);
        // All had been read, and none of it is read again.
        const kept = next.shop.eventsOf('backup-kept').filter(({ mac }) => mac === latest.backup?.mac);
        if (phase === 'confirming' && way.ends) assert.equal(kept.at(-1)?.flashBytesRead, 0);
      });
    }
  });
}
