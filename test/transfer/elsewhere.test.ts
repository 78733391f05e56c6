/** What other stations have read of a board, or of boards like it, is not read again; and whatever the store does, the backup is right. */

import assert from 'node:assert/strict';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, describe, it } from 'node:test';
import type { Backup, ImageReader } from '../../src/archive/types.ts';
import { EspdError } from '../../src/errors.ts';
import { macToFolder } from '../../src/mac.ts';
import type { SimulatedBoard } from '../../src/simulator/index.ts';
import type { BackupElsewhere, OtherStations } from '../../src/transfer/elsewhere.ts';
import { Bench, KIB, MIB, SECTOR_BYTES, smallImage, withSectors } from './support.ts';

const FLASH_BYTES = 1 * MIB;
const BLOCK_BYTES = 64 * KIB;
const OTHER_MAC = '50:02:91:00:00:02';

interface Wishes {
  /** Instead of the image's own bytes, from this offset on. */
  readonly bytes?: (offset: number, bytes: Buffer) => Buffer;
  /** Virtual time that each read takes; Infinity = it never answers. */
  readonly readMs?: number;
  /** Reads that go well; then each fails. */
  readonly goodReads?: number;
  readonly bringFails?: boolean;
}

/** Another station: an archive of its own, whose newest backups "lie in the store". */
class Store {
  readonly bench: Bench;
  readonly here: Bench;
  readonly wishes: Wishes;
  fetchedBytes = 0;
  reads = 0;
  asked: number[] = [];
  brought = 0;
  open = 0;

  constructor(bench: Bench, here: Bench, wishes: Wishes) {
    this.bench = bench;
    this.here = here;
    this.wishes = wishes;
  }

  get stations(): OtherStations {
    return {
      newestOf: async (mac) => (await this.bench.archive.latest(mac)).backup,
      likely: async (probes, limit) => {
        this.asked.push(probes.size);
        const found: { backup: BackupElsewhere; hits: number }[] = [];
        for (const mac of (await this.bench.archive.boards()).macs) {
          const { backup } = await this.bench.archive.latest(mac);
          if (backup === undefined) continue;
          const hits = [...probes].filter(([index, md5]) => backup.manifest.blocks.md5[index] === md5).length;
          if (hits > 0) found.push({ backup, hits });
        }
        return found.sort((one, other) => other.hits - one.hits).slice(0, limit);
      },
      open: async (backup) => this.#reader(await this.#backupOf(backup)),
      bring: async (backup) => {
        if (this.wishes.bringFails === true) throw new EspdError('store-unreachable', 'The store is gone');
        this.brought++;
        const folder = macToFolder(backup.mac);
        await cp(join(this.bench.root, folder, backup.id), join(this.here.root, folder, backup.id), {
          recursive: true,
        });
        return this.here.archive.resolveBackup(backup.mac, 'latest');
      },
    };
  }

  async #backupOf({ mac, id }: BackupElsewhere): Promise<Backup> {
    const { backup } = await this.bench.archive.latest(mac);
    assert.ok(backup !== undefined && backup.id === id);
    return backup;
  }

  async #reader(backup: Backup): Promise<ImageReader> {
    const image = await this.bench.archive.openImage(backup);
    this.open++;
    const { bytes = (_: number, own: Buffer) => own, readMs = 0, goodReads = Infinity } = this.wishes;
    return {
      sizeBytes: image.sizeBytes,
      read: async (offset, length) => {
        if (this.reads++ >= goodReads) throw new EspdError('store-unreachable', 'The store is gone');
        if (readMs === Infinity) await new Promise(() => undefined);
        if (readMs > 0) await this.here.pass(readMs);
        this.fetchedBytes += length;
        return bytes(offset, await image.read(offset, length));
      },
      close: async () => {
        this.open--;
        await image.close();
      },
    };
  }
}

async function twoStations(t: TestContext, wishes: Wishes = {}): Promise<{ here: Bench; store: Store }> {
  const there = await Bench.open(t);
  const here = await Bench.open(t);
  return { here, store: new Store(there, here, wishes) };
}

function boardAt(bench: Bench, content: Buffer, mac?: string): SimulatedBoard {
  return bench.board({ flashSizeBytes: FLASH_BYTES, content, ...(mac === undefined ? {} : { mac }) });
}

const IMAGE = smallImage('esp32c3', FLASH_BYTES);
/** An app that fills most of the flash: reading it takes long. */
const FULL = withSectors(
  IMAGE,
  Array.from({ length: 200 }, (_, sector) => sector + 16),
);

describe('a board that another station knows', () => {
  it('is not read where it is as that has it: the backup is brought, with its own name', async (t) => {
    const { here, store } = await twoStations(t);
    const there = await store.bench.backup(boardAt(store.bench, FULL));
    const board = boardAt(here, FULL);
    const { value } = await here.backup(board, { stations: store.stations });
    assert.equal(value.unchanged, true);
    assert.equal(value.backup.id, there.value.backup.id);
    assert.equal(value.transfer.flashBytesRead, 0);
    assert.equal(store.brought, 1);
    assert.equal(board.mode, 'app');
    await here.assertImages(board.mac, [FULL]);
    const { sightings } = await here.archive.history(value.backup.mac);
    assert.deepEqual(
      sightings.map(({ id }) => id),
      [value.backup.id],
    );
  });

  it('is read as far as it differs, and the rest is fetched', async (t) => {
    const { here, store } = await twoStations(t);
    await store.bench.backup(boardAt(store.bench, FULL));
    const changed = withSectors(FULL, [100], 7);
    const board = boardAt(here, changed);
    const { value } = await here.backup(board, { stations: store.stations });
    assert.equal(value.unchanged, false);
    assert.ok(value.transfer.flashBytesRead < 200 * KIB, `${value.transfer.flashBytesRead}`);
    assert.ok(value.transfer.explained.olderBackup > 500 * KIB);
    assert.equal(store.brought, 0);
    await here.assertImages(board.mac, [changed]);
    assert.equal(store.open, 0, 'what was opened is closed');
  });

  it('is read where the backup cannot be brought', async (t) => {
    const { here, store } = await twoStations(t, { bringFails: true, goodReads: 0 });
    await store.bench.backup(boardAt(store.bench, FULL));
    const board = boardAt(here, FULL);
    const { value } = await here.backup(board, { stations: store.stations });
    assert.equal(value.unchanged, false);
    await here.assertImages(board.mac, [FULL]);
  });

  it('gets a backup of its own where its chip is another', async (t) => {
    const { here, store } = await twoStations(t);
    await store.bench.backup(boardAt(store.bench, FULL));
    const board = here.board({
      ...{ flashSizeBytes: FLASH_BYTES, content: FULL },
      jedec: [0xc8, 0x40, 0x14],
    });
    const { value } = await here.backup(board, { stations: store.stations });
    assert.equal(value.unchanged, false);
    assert.equal(store.brought, 0);
  });

  it('of which a newer backup is here is compared with that alone', async (t) => {
    const { here, store } = await twoStations(t);
    await here.backup(boardAt(here, FULL));
    const { value } = await here.backup(boardAt(here, FULL), {
      stations: { ...store.stations, newestOf: () => Promise.resolve(undefined) },
    });
    assert.equal(value.unchanged, true);
    assert.deepEqual(store.asked, []);
  });
});

describe('a board whose firmware another station has read', () => {
  it('is fetched and not read: found by a few digests', async (t) => {
    const { here, store } = await twoStations(t);
    await store.bench.backup(boardAt(store.bench, FULL, OTHER_MAC));
    const board = boardAt(here, FULL);
    const alone = await (await Bench.open(t)).backup(boardAt(here, FULL));
    const { value, seconds } = await here.backup(board, { stations: store.stations });
    assert.equal(value.unchanged, false);
    assert.ok(value.transfer.explained.fleet > 700 * KIB, JSON.stringify(value.transfer.explained));
    assert.ok(value.transfer.flashBytesRead < 100 * KIB);
    assert.ok(seconds < alone.seconds / 2, `${seconds} s instead of ${alone.seconds} s`);
    assert.ok(store.fetchedBytes <= FLASH_BYTES, 'nothing is fetched twice');
    assert.equal(store.asked.length, 1);
    await here.assertImages(board.mac, [FULL]);
    assert.equal(store.open, 0);
  });

  it('asks nobody where boards of this archive have the same', async (t) => {
    const { here, store } = await twoStations(t);
    await store.bench.backup(boardAt(store.bench, FULL, OTHER_MAC));
    await here.backup(boardAt(here, FULL, '50:02:91:00:00:03'));
    const { value } = await here.backup(boardAt(here, FULL), { stations: store.stations });
    assert.ok(value.transfer.explained.fleet > 700 * KIB);
    assert.deepEqual(store.asked, []);
  });

  it('reads everything where that was asked for', async (t) => {
    const { here, store } = await twoStations(t);
    await store.bench.backup(boardAt(store.bench, FULL));
    const { value } = await here.backup(boardAt(here, FULL), { stations: store.stations, full: true });
    assert.equal(value.transfer.flashBytesRead, FLASH_BYTES);
    assert.equal(store.brought + store.asked.length + store.fetchedBytes, 0);
  });

  const faults: readonly (readonly [string, Wishes])[] = [
    ['never answers', { readMs: Infinity }],
    ['fails at once', { goodReads: 0 }],
    ['fails after one answer', { goodReads: 1 }],
    ['answers with other bytes', { bytes: (_, own) => Buffer.alloc(own.length, 0x5a) }],
    ['answers with too few bytes', { bytes: (_, own) => own.subarray(0, 1000) }],
    ['answers with too many bytes', { bytes: (_, own) => Buffer.concat([own, own]) }],
    [
      'turns a bit in each block',
      {
        bytes: (_, own) => {
          for (let at = 17; at < own.length; at += BLOCK_BYTES) own[at] = (own[at] ?? 0) ^ 1;
          return own;
        },
      },
    ],
  ];
  for (const [what, wishes] of faults) {
    it(`is backed up rightly where the store ${what}`, async (t) => {
      const { here, store } = await twoStations(t, wishes);
      await store.bench.backup(boardAt(store.bench, FULL, OTHER_MAC));
      const board = boardAt(here, FULL);
      const alone = await (await Bench.open(t)).backup(boardAt(here, FULL));
      const { value, seconds } = await here.backup(board, { stations: store.stations });
      await here.assertImages(board.mac, [FULL]);
      assert.equal(board.mode, 'app');
      assert.ok(value.transfer.flashBytesRead <= FLASH_BYTES + SECTOR_BYTES);
      // Not two such waits one behind the other for each of a thousand pieces.
      assert.ok(seconds < alone.seconds + 5, `${seconds} s instead of ${alone.seconds} s`);
      assert.equal(store.open, 0);
    });
  }

  it('is read where the store is slower than its wire', async (t) => {
    const { here, store } = await twoStations(t, { readMs: 20_000 });
    await store.bench.backup(boardAt(store.bench, FULL, OTHER_MAC));
    const board = boardAt(here, FULL);
    const { value } = await here.backup(board, { stations: store.stations });
    assert.ok(store.reads <= 2, `${store.reads} pieces were asked for`);
    assert.ok(value.transfer.flashBytesRead > 400 * KIB);
    await here.assertImages(board.mac, [FULL]);
  });

  it('is released by a stop while the store does not answer', async (t) => {
    const { here, store } = await twoStations(t, { readMs: Infinity });
    await store.bench.backup(boardAt(store.bench, FULL, OTHER_MAC));
    const board = boardAt(here, FULL);
    const stop = new AbortController();
    const { stations } = store;
    const stopping: OtherStations = {
      ...stations,
      open: async (backup, signal) => {
        const image = await stations.open(backup, signal);
        here.clock.schedule(100, () => stop.abort(new EspdError('interrupted', 'stopped')));
        return image;
      },
    };
    await assert.rejects(here.backup(board, { stations: stopping, signal: stop.signal }));
    assert.equal(board.mode, 'app');
  });
});
