/** Whole jobs with the reader on the chip: backups and restores, on chips that it is trusted on and on others. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { NOTHING_KNOWN } from '../../src/esp/line-memory.ts';
import type { Mac } from '../../src/mac.ts';
import { silentLogger } from '../../src/log.ts';
import { type Family, demoImage, seededRandom } from '../../src/simulator/index.ts';
import type { LineMemories } from '../../src/transfer/line-memory.ts';
import type { CacheStore } from '../../src/transfer/remembered-document.ts';
import { readerMemories } from '../../src/transfer/reader-memory.ts';
import { Bench, type BoardWishes, FAMILIES, KIB, MIB, SECTOR_BYTES, imageOf } from './support.ts';

const SPEEDS = { digestBytesPerSecond: 8 * MIB, packetBytesPerSecond: 4_000_000, readerCpuMHz: 160 };
const SIZE_BYTES = MIB;

function imageFor(family: Family): Buffer {
  return demoImage({ family, sizeBytes: SIZE_BYTES, appBytes: 256 * KIB });
}

function wishesFor(family: Family, more: Partial<BoardWishes> = {}): BoardWishes {
  const line = { latencyMs: 1 };
  return { family, flashSizeBytes: SIZE_BYTES, content: imageFor(family), line, speeds: SPEEDS, ...more };
}

/** A line that is known to hold 921600. */
const knownLine: LineMemories = {
  open: () =>
    Promise.resolve({
      recall: () => ({ ...NOTHING_KNOWN, bestBaudRate: 921600 }),
      remember: () => undefined,
      save: () => Promise.resolve(),
    }),
};

class Store implements CacheStore {
  readonly files = new Map<string, Buffer>();

  read(name: string): Promise<Buffer | undefined> {
    return Promise.resolve(this.files.get(name));
  }

  write(name: string, bytes: Buffer): Promise<void> {
    this.files.set(name, bytes);
    return Promise.resolve();
  }
}

describe('a backup through the reader', () => {
  for (const family of FAMILIES) {
    it(`and the restore of it give an ${family} the same bytes again`, async (t) => {
      const bench = await Bench.open(t);
      const board = bench.board(wishesFor(family));
      const options = { reader: 'always', baudRate: 921600 } as const;
      const { value, left } = await bench.backup(board, options);
      assert.equal(left, 'app');
      assert.ok((await imageOf(value.backup)).equals(imageFor(family)));
      const { reader, ways, flashBytesRead } = value.transfer;
      assert.ok(reader !== null);
      assert.equal(reader.fault, null);
      assert.equal(reader.compressedBytes, ways.compressed);
      assert.equal(ways.stub + ways.plain + ways.compressed, flashBytesRead);
      assert.ok(ways.compressed > ways.stub, JSON.stringify(ways));
      const kept = value.backup.manifest.transfer;
      assert.deepEqual([kept?.ways, kept?.reader], [ways, reader]);

      board.flash.erase(0, SIZE_BYTES);
      board.flash.program(0x20000, seededRandom(3).bytes(64 * KIB));
      const before = board.commands.length;
      const restored = await bench.restore(board, value.backup, { ...options, snapshot: true });
      assert.equal(restored.value.verified, true);
      // Nothing but the stub runs where flash is written.
      assert.ok(board.commands.slice(before).every(({ opcode }) => opcode < 0xe0));
      assert.ok(board.flash.snapshot().equals(imageFor(family)));
    });
  }

  it('takes fewer bytes and less time than one through the stub', async (t) => {
    const bench = await Bench.open(t);
    const wishes = wishesFor('esp32c3', { mac: '24:0a:c4:00:00:01' });
    const stub = await bench.backup(bench.board(wishes), { full: true, lines: knownLine });
    const other = await Bench.open(t);
    const reader = await other.backup(other.board(wishes), { full: true, lines: knownLine, reader: 'auto' });
    assert.equal(stub.value.backup.manifest.image.sha256, reader.value.backup.manifest.image.sha256);
    assert.ok(reader.wireBytes < 0.5 * stub.wireBytes, `${reader.wireBytes} and ${stub.wireBytes}`);
    assert.ok(reader.seconds < 0.5 * stub.seconds, `${reader.seconds} and ${stub.seconds}`);
    assert.equal(stub.value.transfer.reader, null);
  });

  it('asks one table where much has changed here and there, and reads only that', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board(wishesFor('esp32c3', { line: { latencyMs: 8 }, flashSizeBytes: 2 * MIB }));
    const options = { lines: knownLine, reader: 'auto' } as const;
    await bench.backup(board, options);
    for (let sector = 3; sector < 160; sector += 7) {
      board.flash.erase(sector * SECTOR_BYTES, SECTOR_BYTES);
      board.flash.program(sector * SECTOR_BYTES, seededRandom(sector).bytes(SECTOR_BYTES));
    }
    const { value } = await bench.backup(board, options);
    assert.equal(value.transfer.reader?.tables, 1);
    assert.ok((await imageOf(value.backup)).equals(board.flash.snapshot()));
    // The one among the settings was guessed first, and is read again.
    assert.ok(value.transfer.flashBytesRead <= 24 * SECTOR_BYTES, `${value.transfer.flashBytesRead}`);
  });

  it('asks no table where digests of a few regions cost less', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board(wishesFor('esp32c3'));
    await bench.backup(board, { lines: knownLine, reader: 'auto' });
    board.flash.erase(0x9000, SECTOR_BYTES);
    const { value } = await bench.backup(board, { lines: knownLine, reader: 'auto' });
    assert.equal(value.transfer.reader, null);
    assert.ok((await imageOf(value.backup)).equals(board.flash.snapshot()));
  });

  it('leaves an unchanged board alone: not even the stub is loaded', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board(wishesFor('esp32c3'));
    await bench.backup(board, { lines: knownLine, reader: 'auto' });
    const before = board.commands.length;
    const { value } = await bench.backup(board, { lines: knownLine, reader: 'auto' });
    assert.equal(value.unchanged, true);
    assert.ok(board.commands.slice(before).every(({ loader }) => loader === 'rom'));
  });

  it('of a reader that fails is right all the same, says so, and is remembered for that chip', async (t) => {
    const bench = await Bench.open(t);
    const store = new Store();
    const readers = readerMemories(store, { log: silentLogger });
    const options = { reader: 'auto', readers, full: true, lines: knownLine } as const;
    const board = bench.board(wishesFor('esp32', { mac: '24:0a:c4:00:00:01' }));
    const heal = board.addFault({ kind: 'reader', effect: 'lost', frame: 60 });
    const first = await bench.backup(board, options);
    assert.ok((await imageOf(first.value.backup)).equals(imageFor('esp32')));
    assert.notEqual(first.value.transfer.reader?.fault ?? null, null);
    assert.equal(first.value.transfer.recovery.reconnected, 1);
    assert.equal(store.files.size, 1);

    heal();
    const second = await bench.backup(board, options);
    assert.equal(second.value.transfer.reader, null);
    const other = bench.board(wishesFor('esp32', { mac: '24:0a:c4:00:00:02' }));
    const third = await bench.backup(other, options);
    assert.equal(third.value.transfer.reader?.fault, null);
  });

  it('whose table fails goes on with digests of regions', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board(wishesFor('esp32c3', { line: { latencyMs: 8 }, flashSizeBytes: 2 * MIB }));
    const options = { lines: knownLine, reader: 'auto' } as const;
    await bench.backup(board, options);
    for (let sector = 3; sector < 160; sector += 7) board.flash.erase(sector * SECTOR_BYTES, SECTOR_BYTES);
    // The self-test sends fewer than ten frames, and a table of 512 sectors four.
    board.addFault({ kind: 'reader', effect: 'wrong-crc', frame: 10 });
    const { value } = await bench.backup(board, options);
    assert.ok((await imageOf(value.backup)).equals(board.flash.snapshot()));
    assert.notEqual(value.transfer.reader?.fault ?? null, null);
  });
});

describe('the memory of readers', () => {
  const MAC = '24:0a:c4:00:00:01' as Mac;
  const FACTS = { failedAt: '2026-11-20T10:00:00.000Z', failures: 2 };

  it('knows what it was told, of that build on that chip', async () => {
    const store = new Store();
    const one = await readerMemories(store, { log: silentLogger }).open();
    assert.equal(one.recall(MAC, 7), null);
    one.remember(MAC, 7, FACTS);
    await one.save();
    const other = await readerMemories(store, { log: silentLogger }).open();
    assert.deepEqual(other.recall(MAC, 7), FACTS);
    assert.equal(other.recall(MAC, 8), null);
    assert.equal(other.recall('24:0a:c4:00:00:02' as Mac, 7), null);
  });

  it('writes nothing where nothing was learned, and keeps what others have written meanwhile', async () => {
    const store = new Store();
    const memories = readerMemories(store, { log: silentLogger });
    const [one, other] = [await memories.open(), await memories.open()];
    await one.save();
    assert.equal(store.files.size, 0);
    one.remember(MAC, 7, FACTS);
    other.remember(MAC, 8, FACTS);
    await Promise.all([one.save(), other.save()]);
    const last = await memories.open();
    assert.deepEqual([last.recall(MAC, 7), last.recall(MAC, 8)], [FACTS, FACTS]);
  });

  it('takes nothing from a document that is none, nor entries that are none', async () => {
    const store = new Store();
    const entry = (readers: unknown) => JSON.stringify({ version: 1, readers });
    const key = `${MAC} 00000007`;
    const documents = [
      '{',
      'null',
      '[]',
      JSON.stringify({ version: 2, readers: { [key]: FACTS } }),
      entry({ [key]: { ...FACTS, failures: 0 } }),
      entry({ [key]: { ...FACTS, failures: 1e9 } }),
      entry({ [key]: { ...FACTS, failedAt: 'yesterday' } }),
      entry({ [key]: null }),
      entry({ 'any key': FACTS }),
      `${' '.repeat(1024 * 1024)}${entry({ [key]: FACTS })}`,
    ];
    for (const document of documents) {
      store.files.set('readers.json', Buffer.from(document));
      const memory = await readerMemories(store, { log: silentLogger }).open();
      assert.equal(memory.recall(MAC, 7), null, document.slice(0, 80));
    }
  });

  it('never rejects', async () => {
    const broken: CacheStore = {
      read: () => Promise.reject(new Error('no')),
      write: () => Promise.reject(new Error('no')),
    };
    const memory = await readerMemories(broken, { log: silentLogger }).open();
    memory.remember(MAC, 7, FACTS);
    await memory.save();
  });
});
