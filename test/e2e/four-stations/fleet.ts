/** The stations at work: what each does next is chosen at random, and so is the moment in which it is killed. */

import assert from 'node:assert/strict';
import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Mac, parseMac } from '../../../src/mac.ts';
import { parseLease } from '../../../src/replication/removal/format.ts';
import { seededRandom } from '../../../src/simulator/index.ts';
import { temporaryFolder } from '../../archive/support.ts';
import { bundle } from '../../support/bundle.ts';
import { type BenchBoard, KIB } from '../../support/cli.ts';
import type { DirectBucket } from './bucket.ts';
import type { FaultyProxy, Trouble } from './faulty-proxy.ts';
import { Ledger } from './ledger.ts';
import { type Run, Station } from './station.ts';

const HOUR_MS = 3_600_000;
/** Of all stations. Besides there is a simulated board that travels. */
const MACS = ['50:02:91:00:00:01', '50:02:91:00:00:02', '24:0a:c4:00:00:03'].flatMap((text) => parseMac(text) ?? []);
const TROUBLES: readonly Trouble[] = ['cut-request', 'cut-answer', 'cut-after', 'busy'];
/** Of all requests. */
const TROUBLE_SHARE = 0.03;

/** Of all commands. */
const KILL_SHARE = 0.45;

type Work = (killAfterMs: number | null) => Promise<Run>;

class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 to 1. */
  next(): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return this.#state / 2 ** 32;
  }

  of<T>(items: readonly T[]): T | undefined {
    return items[Math.floor(this.next() * items.length)];
  }
}

const boardOf = ({ board }: BenchBoard) => [parseMac(board.mac)].flatMap((mac) => mac ?? []);

/** Each is started some two hundred times. */
async function programs(t: TestContext): Promise<readonly [espd: string, maker: string]> {
  const folder = await temporaryFolder(t);
  const compiled = join(folder, 'compiled');
  await mkdir(compiled);
  await copyFile(new URL('../../../package.json', import.meta.url), join(folder, 'package.json'));
  const entries = ['dist/main.js', 'test/e2e/four-stations/maker.ts', 'dist/archive/hash-worker.js'];
  const [espd = '', maker = ''] = await bundle(compiled, ...entries);
  return [espd, maker];
}

export class Fleet {
  readonly #t: TestContext;
  readonly #random: Random;
  readonly #proxy: FaultyProxy;
  readonly bucket: DirectBucket;
  readonly ledger: Ledger;
  readonly stations: readonly Station[];
  readonly #board: BenchBoard;
  /** ETags of leases whose holder was killed: their 45 minutes are over. */
  readonly #runOut = new Set<string>();
  readonly #isPruning = new Set<Station>();
  /** How long each kind of work takes, so that kills fall into all of it. */
  readonly #takesMs = new Map<string, number>();
  readonly #killed = new Map<string, number>();
  readonly #failed = new Map<string, number>();
  #kills = 0;
  #count = 0;
  #boardIsBusy = false;
  #createdMs = Math.floor((Date.now() - 3 * HOUR_MS) / 1000) * 1000;

  private constructor(
    t: TestContext,
    parts: { random: Random; proxy: FaultyProxy; bucket: DirectBucket; stations: Station[]; board: BenchBoard },
  ) {
    this.#t = t;
    this.#random = parts.random;
    this.#proxy = parts.proxy;
    this.bucket = parts.bucket;
    this.stations = parts.stations;
    this.#board = parts.board;
    this.ledger = new Ledger(parts.bucket);
  }

  static async open(
    t: TestContext,
    { seed, proxy, bucket, prefix }: { seed: number; proxy: FaultyProxy; bucket: DirectBucket; prefix: string },
  ): Promise<Fleet> {
    const random = new Random(seed);
    const [espd, maker] = await programs(t);
    const wrongMs = random.next() < 0.5 ? HOUR_MS : -HOUR_MS;
    const stations: Station[] = [];
    for (const name of ['north', 'east', 'south', 'west']) {
      const clockWrongMs = name === 'west' ? wrongMs : 0;
      stations.push(await Station.open(t, name, { proxy, prefix, clockWrongMs, espd, maker }));
    }
    const [north] = stations;
    assert.ok(north !== undefined);
    const board = await north.bench.addBoard({ family: 'esp32c3', flashSizeBytes: 256 * KIB }, { linked: false });
    const fleet = new Fleet(t, { random, proxy, bucket, stations, board });
    proxy.trouble = () => (random.next() < TROUBLE_SHARE ? random.of(TROUBLES) : undefined);
    // Announced long ago: nobody waits a week here.
    proxy.olderByMs = (key, etag) => {
      if (key.includes('/removals/')) return 8 * 24 * HOUR_MS;
      return fleet.#runOut.has(etag) ? HOUR_MS : 0;
    };
    return fleet;
  }

  /** All that can happen, until there were enough kills. */
  async trouble(kills: number): Promise<void> {
    let isOver = false;
    const ended = await Promise.allSettled(
      this.stations.map(async (station) => {
        try {
          while (!isOver && this.#kills < kills) {
            const together = this.#random.next() < 0.25 ? 2 : 1;
            const acts = Array.from({ length: together }, () => this.#act(station));
            for (const act of await Promise.allSettled(acts)) if (act.status === 'rejected') throw act.reason;
          }
        } finally {
          isOver = true;
        }
      }),
    );
    for (const end of ended) if (end.status === 'rejected') throw end.reason;
    const told = (counts: ReadonlyMap<string, number>) => [...counts].map((each) => each.join(' ')).join(', ');
    this.#t.diagnostic(`${this.#count} commands; killed: ${told(this.#killed)}; failed: ${told(this.#failed)}`);
    this.#t.diagnostic(`the store: ${told(this.#proxy.troubles)}; pinned throughout: ${this.ledger.firm.length}`);
  }

  async #act(station: Station): Promise<void> {
    const acts: readonly (readonly [number, () => Promise<void>])[] = [
      [20, () => this.#make(station)],
      [5, () => this.#backUp(station)],
      [22, () => this.#tell(station, 'push')],
      [12, () => this.#tell(station, 'pull')],
      [7, () => this.#do('fetch', (kill) => station.espd(['pull', '--all', this.#mac()], kill)).then()],
      [9, () => this.#do('prune --local', (kill) => station.espd(['prune', '--local', '--yes'], kill)).then()],
      [16, () => this.#pruneStore(station)],
      [9, () => this.#pin(station)],
      [3, () => this.#unpin(station)],
      [5, () => this.#label(station)],
    ];
    let at = this.#random.next() * acts.reduce((sum, [weight]) => sum + weight, 0);
    const chosen = acts.find(([weight]) => (at -= weight) < 0) ?? acts[0];
    await chosen?.[1]();
    await this.ledger.note(station);
  }

  /** Often it is killed, somewhere in it. Undefined: it came to no good end. */
  async #do(what: string, work: Work, mayBeKilled = true): Promise<Run | undefined> {
    const usualMs = this.#takesMs.get(what) ?? 600;
    const killAfterMs =
      mayBeKilled && this.#random.next() < KILL_SHARE ? usualMs * (0.25 + 0.8 * this.#random.next()) : null;
    this.#count++;
    const startMs = performance.now();
    const run = await work(killAfterMs);
    if (run.wasKilled) {
      this.#kills++;
      this.#killed.set(what, (this.#killed.get(what) ?? 0) + 1);
      return undefined;
    }
    this.#takesMs.set(what, (usualMs + performance.now() - startMs) / 2);
    if (run.status !== 0) this.#failed.set(what, (this.#failed.get(what) ?? 0) + 1);
    return run.status === 0 ? run : undefined;
  }

  /** Of all boards. */
  get macs(): readonly Mac[] {
    return [...MACS, ...boardOf(this.#board)];
  }

  #mac(): string {
    return this.#random.of(this.macs) ?? this.#board.board.mac;
  }

  /** Now and then of the second in which another station made one. */
  async #make(station: Station): Promise<void> {
    if (this.#random.next() < 0.7) this.#createdMs += 7000;
    const isLarge = this.#random.next() < 0.06;
    const what = {
      mac: this.#random.of(MACS) ?? '',
      seed: 1 + Math.floor(this.#random.next() * 2 ** 30),
      sizeBytes: isLarge ? 6 * KIB * KIB : 4 * KIB + Math.floor(this.#random.next() * 200 * KIB),
      createdAt: new Date(this.#createdMs).toISOString(),
    };
    await this.#do('backup', (kill) => station.make(what, kill));
  }

  async #backUp(station: Station): Promise<void> {
    // A backup out of the future stops all retention until that time has come: rightly, and for an hour.
    if (this.#boardIsBusy || station.clockWrongMs > 0) return this.#make(station);
    this.#boardIsBusy = true;
    try {
      const { board, address } = this.#board;
      const at = 16 * KIB * Math.floor(this.#random.next() * 16);
      board.flash.erase(at, 16 * KIB);
      board.flash.program(at, seededRandom(this.#count).bytes(16 * KIB));
      await this.#do('backup of a board', (kill) => station.espd(['backup', '--port', address], kill));
    } finally {
      this.#boardIsBusy = false;
    }
  }

  async #tell(station: Station, command: 'push' | 'pull', mayBeKilled = true): Promise<void> {
    const told = this.ledger.telling(station);
    const run = await this.#do(command, (kill) => station.espd([command], kill), mayBeKilled);
    // Else it is the other one that tells, and has read the files before.
    if (run !== undefined && !/[Aa]nother espd of this station/.test(run.stderr)) await told();
  }

  async #pruneStore(station: Station): Promise<void> {
    // Of two at one station nobody could tell whose the lease is.
    if (this.#isPruning.has(station)) return this.#make(station);
    this.#isPruning.add(station);
    try {
      const prune = async () => {
        await this.#do('prune --store', (kill) => station.espd(['prune', '--store', '--yes'], kill));
        await station.quiet();
      };
      await this.ledger.pruning(prune());
      await this.#endLease(station);
      await this.ledger.checkPins();
    } finally {
      this.#isPruning.delete(station);
    }
  }

  /** Of a holder that was killed. */
  async #endLease(station: Station): Promise<void> {
    const there = await this.bucket.read('leases/prune.json');
    const lease = there === undefined ? undefined : parseLease(there.bytes);
    if (there === undefined || lease === undefined || lease.seconds === 0) return;
    if (lease.station === (await station.journalName())) this.#runOut.add(there.etag);
  }

  async #pin(station: Station): Promise<void> {
    const key = this.#random.of([...(await station.backups()).keys()]);
    if (key === undefined) return;
    const name = key.replace(' ', '@');
    if ((await this.#do('pin', (kill) => station.espd(['pin', name], kill))) === undefined) return;
    this.ledger.pinned(station, key);
    if (this.#random.next() < 0.7) await this.#tell(station, 'push', false);
  }

  async #unpin(station: Station): Promise<void> {
    const pinned: string[] = [];
    for (const mac of MACS) pinned.push(...(await station.archive.marks.of(mac)).pins.map(({ id }) => `${mac} ${id}`));
    const key = this.#random.of(pinned);
    if (key === undefined) return;
    this.ledger.unpinning(key);
    await this.#do('unpin', (kill) => station.espd(['unpin', key.replace(' ', '@')], kill));
  }

  async #label(station: Station): Promise<void> {
    const mac = this.#mac();
    const label = `bench-${++this.#count}`;
    const labelled = this.ledger.labelling(mac, label);
    if (await this.#do('label', (kill) => station.espd(['label', mac, label], kill))) labelled();
  }

  /** Everybody lives, the store is well: until nobody has anything to say or to do any more. */
  async comeToRest(): Promise<void> {
    this.#proxy.trouble = () => undefined;
    for (const station of this.stations) {
      await station.quiet();
      await this.#endLease(station);
    }
    const well = async (station: Station, ...args: string[]): Promise<string> => {
      const { status, stdout, stderr } = await station.espd([...args, '--json']);
      assert.equal(status, 0, `${station.name}: espd ${args.join(' ')}\n${stdout}${stderr}`);
      return stdout;
    };
    /** False: somebody was killed between a removal and its line in the journal; the next prune finishes and tells it. */
    const pullAll = async (station: Station): Promise<boolean> => {
      const { status, stdout, stderr } = await station.espd(['pull', '--all', '--json']);
      if (status === 0) return true;
      const said = `${station.name}: espd pull --all\n${stdout}${stderr}`;
      assert.equal(status, 3, said);
      const { failures } = JSON.parse(stdout) as { failures: { error: { code: string } }[] };
      assert.ok(failures.length > 0 && failures.every(({ error }) => error.code === 'store-unknown-backup'), said);
      return false;
    };
    // A last backup of each board clears what killed ones have left.
    await Promise.all(
      this.stations.map(async (station) => {
        for (const mac of MACS) {
          this.#createdMs += 1000;
          const createdAt = new Date(this.#createdMs).toISOString();
          const { status, stderr } = await station.make({ mac, seed: ++this.#count, sizeBytes: 5000, createdAt }, null);
          assert.equal(status, 0, stderr);
        }
        await this.ledger.note(station);
      }),
    );
    for (const station of this.stations) {
      if (station.clockWrongMs <= 0) await well(station, 'backup', '--port', this.#board.address);
      await this.ledger.note(station);
    }
    const right = this.stations.filter(({ clockWrongMs }) => clockWrongMs === 0);
    for (let round = 0; ; round++) {
      assert.ok(round < 20, 'they never come to rest');
      const pushed = await Promise.all(this.stations.map((each) => well(each, 'push')));
      const pulled = await Promise.all(this.stations.map((each) => well(each, 'pull')));
      // Of two backups of one second the other one is fetched under an id of its own, which the bucket gets as well.
      const before = this.ledger.made;
      let hasAll = true;
      for (const station of this.stations) {
        hasAll = (await pullAll(station)) && hasAll;
        await this.ledger.note(station);
      }
      const pruner = right[round % right.length];
      assert.ok(pruner !== undefined);
      const { steps } = JSON.parse(await well(pruner, 'prune', '--store', '--yes')) as { steps: unknown[] };
      const isQuiet =
        hasAll &&
        steps.length === 0 &&
        this.ledger.made === before &&
        pushed.every((text) => (JSON.parse(text) as { pushed: unknown[] }).pushed.length === 0) &&
        pulled.every((text) => (JSON.parse(text) as { news: { macs: unknown[] } }).news.macs.length === 0);
      if (isQuiet) break;
    }
  }
}
