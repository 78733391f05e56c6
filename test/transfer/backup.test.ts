import assert from 'node:assert/strict';
import { readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Backup } from '../../src/archive/types.ts';
import { OPCODE, chipModels, seededRandom } from '../../src/simulator/index.ts';
import type { SimulatedBoard } from '../../src/simulator/index.ts';
import {
  Bench,
  FAMILIES,
  KIB,
  MIB,
  SECTOR_BYTES,
  assertFails,
  imageOf,
  macOf,
  md5,
  sha256,
  smallImage,
  withSectors,
} from './support.ts';

function readCommands(board: SimulatedBoard): number {
  return board.commands.filter(({ opcode }) => opcode === OPCODE.readFlash).length;
}

async function rot(backup: Backup, offset: number): Promise<void> {
  const file = join(backup.path, backup.manifest.image.file);
  const bytes = await readFile(file);
  bytes[offset] = (bytes[offset] ?? 0) ^ 0x01;
  await writeFile(file, bytes);
}

for (const family of FAMILIES) {
  describe(`backup of an ${family}`, () => {
    it('is the flash, byte for byte, with a manifest that tells the truth', async (t) => {
      const bench = await Bench.open(t);
      const board = bench.board({ family, usb: 'bridge' });
      const content = board.flash.snapshot();
      const usb = {
        vendorId: '10c4',
        productId: 'ea60',
        serialNumber: '0001',
        manufacturer: 'Silicon Labs',
        product: 'CP2102',
        location: '1-1.4:1.0',
      };
      const before = bench.clock.date();
      const { value, left, wireBytes } = await bench.backup(board, { usb });
      const { backup, unchanged, transfer } = value;

      assert.equal(unchanged, false);
      assert.equal(left, 'app');
      assert.equal(board.mode, 'app');
      assert.ok((await imageOf(backup)).equals(content));
      await bench.assertImages(board.mac, [content]);

      const { manifest } = backup;
      assert.equal(backup.mac, board.mac);
      assert.equal(manifest.mac, board.mac);
      assert.equal(manifest.chip.family, family);
      assert.ok(manifest.chip.name.toLowerCase().startsWith(family.slice(0, 5)), manifest.chip.name);
      const { revision, crystalMHz } = board.model.defaults;
      assert.equal(manifest.chip.revision, `v${revision.major}.${revision.minor}`);
      assert.equal(manifest.chip.crystalMHz, crystalMHz);
      assert.ok(manifest.chip.features.length > 0);
      assert.deepEqual(manifest.flash, {
        manufacturer: 'ef',
        device: '4013',
        sizeBytes: 512 * KIB,
        aliasedAtBytes: null,
        sizeFrom: 'id',
      });
      assert.deepEqual(manifest.security, { flashEncryption: false, secureBoot: false, secureDownload: false });
      assert.deepEqual(
        { sizeBytes: manifest.image.sizeBytes, md5: manifest.image.md5, sha256: manifest.image.sha256 },
        { sizeBytes: content.length, md5: md5(content), sha256: sha256(content) },
      );
      assert.equal(manifest.confirmed!.by, 'stub');
      assert.equal(manifest.confirmed!.md5, md5(content));
      for (const at of [manifest.createdAt, manifest.confirmed!.at]) {
        assert.ok(new Date(at) >= before && new Date(at) <= bench.clock.date(), at);
      }
      assert.equal(manifest.source.port, 'memory:board');
      assert.equal(manifest.source.usb?.location, '1-1.4:1.0');
      assert.notEqual(manifest.contents.firmware, null);
      assert.ok(manifest.contents.partitions.length > 0);

      const { explained, flashBytesRead } = manifest.transfer!;
      assert.equal(explained.blank + explained.sameAsBackup + flashBytesRead, content.length);
      assert.equal(explained.sameAsBackup, 0);
      assert.equal(manifest.transfer!.loader, 'stub');
      assert.equal(manifest.transfer!.baudRate, 921600);
      assert.deepEqual(
        { read: transfer.flashBytesRead, digests: transfer.digestsAsked },
        { read: flashBytesRead, digests: manifest.transfer!.digestsAsked },
      );
      // The manifest is written before the board is let go; what comes after that is little.
      assert.ok(manifest.transfer!.wireBytes > flashBytesRead && manifest.transfer!.wireBytes < wireBytes);
      assert.ok(wireBytes - manifest.transfer!.wireBytes < 2048);
      assert.ok(wireBytes <= board.wireBytes.toBoard + board.wireBytes.toHost);
    });

    it('keeps the words that the eFuses hold', async (t) => {
      const bench = await Bench.open(t);
      const board = bench.board({ family });
      const { efuses, mac } = (await bench.backup(board)).value.backup.manifest;
      const words = Object.values(efuses).flat();
      assert.ok(words.length >= 4);
      // The end of the MAC is among them; the ESP8266 has its last byte at the top of the first word.
      const tail = mac.replaceAll(':', '').slice(-4);
      const found =
        family === 'esp8266' ? words[0]!.startsWith(tail.slice(2)) : words.some((word) => word.includes(tail));
      assert.ok(found, `${tail} in ${words.join(' ')}`);
    });

    it('reads only what is not blank: all of a block in use, but not the blank end behind the last one', async (t) => {
      const bench = await Bench.open(t);
      const board = bench.board({ family });
      const content = board.flash.snapshot();
      const isUsed = (at: number, length: number) => content.subarray(at, at + length).some((byte) => byte !== 0xff);
      const blocks = Array.from({ length: 8 }, (_, index) => index * 65536);
      const used = blocks.filter((at) => isUsed(at, 65536)).length;
      const sectors = Array.from({ length: 128 }, (_, index) => index * SECTOR_BYTES);
      const usedSectors = sectors.filter((at) => isUsed(at, SECTOR_BYTES)).length;
      assert.ok(used > 0 && used < blocks.length);
      const { transfer, backup } = (await bench.backup(board)).value;
      assert.ok(transfer.flashBytesRead <= used * 65536 && transfer.flashBytesRead >= usedSectors * SECTOR_BYTES);
      assert.ok(transfer.flashBytesRead < used * 65536, 'the last block is not read to its end');
      assert.equal(backup.manifest.transfer!.explained.blank, content.length - transfer.flashBytesRead);
    });

    it('of an unchanged board adds a sighting, asks a digest or two and reads nothing', async (t) => {
      const bench = await Bench.open(t);
      const board = bench.board({ family });
      const first = (await bench.backup(board)).value.backup;
      const reads = readCommands(board);
      const { value, left } = await bench.backup(board);
      assert.deepEqual(
        { unchanged: value.unchanged, id: value.backup.id, left },
        { unchanged: true, id: first.id, left: 'app' },
      );
      assert.equal(value.transfer.flashBytesRead, 0);
      assert.ok(value.transfer.digestsAsked <= 2, String(value.transfer.digestsAsked));
      assert.equal(readCommands(board), reads);
      const { backups, sightings } = await bench.archive.history(first.mac);
      assert.equal(backups.length, 1);
      assert.deepEqual(
        sightings.map(({ id, port }) => ({ id, port })),
        [{ id: first.id, port: 'memory:board' }],
      );
      assert.ok(Date.parse(sightings[0]!.at) > Date.parse(first.manifest.createdAt));
    });

    it('of a board with three changed sectors reads those three', async (t) => {
      const bench = await Bench.open(t);
      const board = bench.board({ family });
      const old = board.flash.snapshot();
      await bench.backup(board);
      // One in the app, one that becomes content where all was blank, one that becomes blank.
      const changed = withSectors(old, [2, 100]);
      changed.fill(0xff, 20 * SECTOR_BYTES, 21 * SECTOR_BYTES);
      board.flash.load(0, changed);
      const { value } = await bench.backup(board);
      assert.equal(value.unchanged, false);
      assert.ok(value.transfer.flashBytesRead <= 3 * SECTOR_BYTES, String(value.transfer.flashBytesRead));
      const { explained, flashBytesRead } = value.backup.manifest.transfer!;
      assert.equal(explained.blank + explained.sameAsBackup + flashBytesRead, old.length);
      await bench.assertImages(board.mac, [old, changed]);
    });

    it('in full reads every byte, and adds no second copy of an equal image', async (t) => {
      const bench = await Bench.open(t);
      const board = bench.board({ family });
      const first = await bench.backup(board, { full: true });
      assert.equal(first.value.transfer.flashBytesRead, 512 * KIB);
      assert.equal(first.value.backup.manifest.transfer!.explained.blank, 0);
      const second = await bench.backup(board, { full: true });
      assert.equal(second.value.transfer.flashBytesRead, 512 * KIB);
      assert.equal(second.value.unchanged, true);
      assert.equal(second.value.backup.id, first.value.backup.id);
      assert.equal((await bench.images(board.mac)).length, 1);
      assert.equal((await bench.archive.history(first.value.backup.mac)).sightings.length, 1);
      board.flash.load(5 * SECTOR_BYTES, Buffer.from('changed'));
      assert.equal((await bench.backup(board, { full: true })).value.unchanged, false);
      assert.equal((await bench.images(board.mac)).length, 2);
    });

    it('is compressed where the archive is, and found unchanged and partly changed again', async (t) => {
      const bench = await Bench.open(t, { compression: 'gzip' });
      const board = bench.board({ family });
      const old = board.flash.snapshot();
      assert.equal((await bench.backup(board)).value.backup.manifest.image.file, 'flash.bin.gz');
      assert.equal((await bench.backup(board)).value.unchanged, true);
      const changed = withSectors(old, [7]);
      board.flash.load(0, changed);
      const { value } = await bench.backup(board);
      assert.equal(value.transfer.flashBytesRead, SECTOR_BYTES);
      await bench.assertImages(board.mac, [old, changed]);
    });
  });
}

describe('backup where the last one is damaged', () => {
  const damages: Record<string, (backup: Backup) => Promise<void>> = {
    'by bit rot in a part that is still the same': (backup) => rot(backup, 0x9010),
    'by bit rot in a blank part': (backup) => rot(backup, 0x70000),
    'by a missing image': (backup) => rm(join(backup.path, 'flash.bin')),
    'by a cut-off image': (backup) => truncate(join(backup.path, 'flash.bin'), 100_000),
    'by a broken manifest': (backup) => writeFile(join(backup.path, 'manifest.json'), '{"formatVersion": 1'),
    'by a missing list of checksums': (backup) => rm(join(backup.path, 'SHA256SUMS')),
  };
  for (const [how, damage] of Object.entries(damages)) {
    for (const full of [false, true]) {
      it(`${how} is right, and keeps a copy of an unchanged board too${full ? ' (in full)' : ''}`, async (t) => {
        const bench = await Bench.open(t);
        const board = bench.board();
        const content = board.flash.snapshot();
        const { backup } = (await bench.backup(board)).value;
        await damage(backup);
        const next = (await bench.backup(board, { full })).value;
        assert.equal(next.unchanged, false);
        assert.ok((await imageOf(next.backup)).equals(content));
        assert.deepEqual(await bench.archive.verifyBackup(next.backup.mac, next.backup.id), []);
        assert.equal((await bench.archive.resolveBackup(next.backup.mac, 'latest')).id, next.backup.id);
        // And now that there is a sound one again, it is that which counts.
        const third = (await bench.backup(board, { full })).value;
        assert.deepEqual([third.unchanged, third.backup.id], [true, next.backup.id]);
      });
    }

    it(`${how} is right where the board has changed`, async (t) => {
      const bench = await Bench.open(t);
      const board = bench.board();
      const { backup } = (await bench.backup(board)).value;
      await damage(backup);
      const changed = withSectors(board.flash.snapshot(), [3, 17]);
      board.flash.load(0, changed);
      const next = (await bench.backup(board)).value;
      assert.equal(next.unchanged, false);
      assert.ok((await imageOf(next.backup)).equals(changed));
    });
  }

  it('reads again only what the damaged image does not explain', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    await rot((await bench.backup(board)).value.backup, 0x9010);
    const { transfer } = (await bench.backup(board)).value;
    assert.equal(transfer.flashBytesRead, SECTOR_BYTES);
    assert.match(bench.log.of('warn').join('\n'), /not proven to be sound/);
  });

  it('keeps a copy of a board that went back to an older backup than the damaged one', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    const old = board.flash.snapshot();
    await bench.backup(board);
    board.flash.load(0, withSectors(old, [4]));
    const newest = (await bench.backup(board)).value.backup;
    await rm(join(newest.path, 'flash.bin'));
    board.flash.load(0, old);
    const { value } = await bench.backup(board);
    assert.equal(value.unchanged, false);
    assert.equal((await bench.archive.resolveBackup(newest.mac, 'latest')).id, value.backup.id);
  });

  it('survives an image that cannot be read while the backup is at work', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    const { backup } = (await bench.backup(board)).value;
    const changed = withSectors(board.flash.snapshot(), [1, 100]);
    board.flash.load(0, changed);
    let cut = false;
    const { value } = await bench.backup(board, {
      onProgress: ({ phase, doneBytes = 0 }) => {
        if (phase !== 'comparing' || doneBytes < 65536 || cut) return;
        cut = true;
        // Synchronously, so that it happens between two reads of the image.
        void truncate(join(backup.path, 'flash.bin'), 70_000);
      },
    });
    assert.ok(cut);
    assert.ok((await imageOf(value.backup)).equals(changed));
  });
});

describe('backup', () => {
  it('is no copy of a backup of another flash size, or of another board', async (t) => {
    const bench = await Bench.open(t);
    const small = bench.board({ flashSizeBytes: 256 * KIB });
    await bench.backup(small);
    const large = bench.board({ flashSizeBytes: MIB, mac: small.mac });
    const { value } = await bench.backup(large);
    assert.equal(value.unchanged, false);
    await bench.assertImages(small.mac, [small.flash.snapshot(), large.flash.snapshot()]);

    const other = bench.board({ flashSizeBytes: 256 * KIB, seed: 2 });
    assert.notEqual(other.mac, small.mac);
    assert.equal((await bench.backup(other)).value.unchanged, false);
  });

  it('of a wholly blank flash reads nothing at all', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board({ content: Buffer.alloc(0) });
    const { value } = await bench.backup(board);
    assert.equal(value.transfer.flashBytesRead, 0);
    assert.equal(value.backup.manifest.transfer!.explained.blank, 512 * KIB);
    assert.equal(value.backup.manifest.contents.firmware, null);
    assert.ok((await imageOf(value.backup)).equals(Buffer.alloc(512 * KIB, 0xff)));
    assert.equal((await bench.backup(board)).value.unchanged, true);
  });

  it('of random bytes, full of what SLIP must escape, is right', async (t) => {
    const bench = await Bench.open(t);
    const content = seededRandom(5).bytes(256 * KIB);
    content.fill(0xc0, 1000, 9000);
    content.fill(0xdb, 70_000, 80_000);
    const board = bench.board({ flashSizeBytes: 256 * KIB, content });
    assert.ok((await imageOf((await bench.backup(board)).value.backup)).equals(content));
  });

  for (const full of [false, true]) {
    it(`records and reports a flash that is smaller than it says${full ? ' (in full)' : ''}`, async (t) => {
      const bench = await Bench.open(t);
      const content = smallImage('esp32c3', 256 * KIB);
      const board = bench.board({ flashSizeBytes: MIB, aliasedAtBytes: 256 * KIB, content });
      const { backup } = (await bench.backup(board, { full })).value;
      assert.equal(backup.manifest.flash.aliasedAtBytes, 256 * KIB);
      assert.equal(backup.manifest.flash.sizeBytes, MIB);
      assert.ok((await imageOf(backup)).equals(Buffer.concat([content, content, content, content])));
      assert.match(bench.log.of('warn').join('\n'), /repeats itself/);
    });
  }

  it('follows a flash that changes between reading and confirming', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    let changes = 0;
    const { value } = await bench.backup(board, {
      onProgress: ({ phase }) => {
        if (phase === 'verifying' && changes++ === 0) board.flash.program(0x9000 + 4000, Buffer.alloc(16, 0x42));
      },
    });
    assert.ok(changes >= 2);
    assert.ok((await imageOf(value.backup)).equals(board.flash.snapshot()));
    assert.equal((await bench.images(board.mac)).length, 1);
  });

  it('keeps nothing of a flash that never stops changing', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    let changes = 0;
    const work = bench.backup(board, {
      onProgress: ({ phase }) => {
        if (phase === 'verifying') board.flash.load(0x20000 + changes, Buffer.of(++changes));
      },
    });
    await assertFails(work, 'digest-mismatch');
    await bench.assertImages(board.mac, []);
    assert.equal(board.mode, 'app');
  });

  it('follows a flash that changes while it is read', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board({ content: smallImage('esp32c3', 512 * KIB) });
    let changed = false;
    const { value } = await bench.backup(board, {
      onProgress: ({ phase }) => {
        if (phase !== 'reading' || changed) return;
        changed = true;
        board.flash.load(0, Buffer.from('changed behind the reader')); // read already
        board.flash.load(0x70000, Buffer.from('was blank when it was asked for'));
      },
    });
    assert.ok((await imageOf(value.backup)).equals(board.flash.snapshot()));
  });

  for (const family of ['esp32', 'esp32c3'] as const) {
    it(`of an ${family} with flash encryption is the ciphertext, and says so`, async (t) => {
      const bench = await Bench.open(t);
      const content = seededRandom(6).bytes(128 * KIB);
      const board = bench.board({ family, content, security: { flashEncryption: true, secureBoot: true } });
      const { backup } = (await bench.backup(board)).value;
      assert.deepEqual(backup.manifest.security, { flashEncryption: true, secureBoot: true, secureDownload: false });
      assert.deepEqual(backup.manifest.contents, { firmware: null, partitions: [] });
      assert.ok((await imageOf(backup)).equals(board.flash.snapshot()));
    });
  }

  it('goes through the ROM where no stub starts', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board({ family: 'esp32', flashSizeBytes: 256 * KIB, faults: [{ kind: 'no-stub' }] });
    const content = board.flash.snapshot();
    const { value, left } = await bench.backup(board);
    assert.deepEqual([value.transfer.loader, value.backup.manifest.confirmed!.by, left], ['rom', 'rom', 'app']);
    assert.ok((await imageOf(value.backup)).equals(content));
    assert.equal(readCommands(board), 0);
    assert.ok(value.transfer.flashBytesRead < content.length);
    board.flash.load(0x9100, Buffer.from('changed'));
    assert.equal((await bench.backup(board)).value.transfer.flashBytesRead, SECTOR_BYTES);
    assert.equal((await bench.backup(board)).value.unchanged, true);
  });

  it('of an ESP8266 without a stub says why it cannot be', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board({ family: 'esp8266', flashSizeBytes: 256 * KIB, faults: [{ kind: 'no-stub' }] });
    await assertFails(bench.backup(board), 'no-stub-read');
    await bench.assertImages(board.mac, []);
    assert.equal(board.mode, 'app');
  });

  it('tells what it is doing, with counts that never go back or beyond the flash', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    const phases: string[] = [];
    let doneBytes = 0;
    await bench.backup(board, {
      onProgress: (progress) => {
        if (phases.at(-1) !== progress.phase) phases.push(progress.phase);
        if (progress.phase !== 'reading') return;
        assert.equal(progress.totalBytes, 512 * KIB);
        assert.ok(progress.doneBytes! > doneBytes && progress.doneBytes! <= 512 * KIB);
        doneBytes = progress.doneBytes!;
      },
    });
    assert.equal(doneBytes, 512 * KIB);
    assert.deepEqual(
      phases.filter((phase) => phase !== 'comparing'),
      ['connecting', 'identified', 'reading', 'verifying', 'leaving', 'released'],
    );
  });

  it('gives two backups within one second two ids, in order', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board({ flashSizeBytes: 256 * KIB });
    const ids: string[] = [];
    for (let round = 0; round < 3; round++) {
      board.flash.load(0x30000, Buffer.of(round));
      ids.push((await bench.backup(board)).value.backup.id);
    }
    assert.deepEqual(ids, [...new Set(ids)].sort());
    assert.equal((await bench.images(board.mac)).length, 3);
  });
});

describe('backup and restore', () => {
  // Every size that there is, each on a chip that addresses so much.
  const sizes = {
    esp8266: 4 * MIB,
    esp32: 8 * MIB,
    esp32s2: MIB,
    esp32s3: 32 * MIB,
    esp32c2: 2 * MIB,
    esp32c3: 256 * KIB,
    esp32c5: 512 * KIB,
    esp32c6: 16 * MIB,
    esp32c61: MIB,
    esp32h2: 2 * MIB,
    esp32h4: 4 * MIB,
    esp32p4: 16 * MIB,
    esp32s31: 32 * MIB,
  };
  for (const { family } of chipModels) {
    const sizeBytes = sizes[family];
    it(`round trip: ${family} with ${sizeBytes / KIB} KiB`, async (t) => {
      const bench = await Bench.open(t);
      const content = smallImage(family, Math.min(sizeBytes, 4 * MIB));
      const board = bench.board({ family, flashSizeBytes: sizeBytes, content });
      // Something at the very end, beyond what 24 address bits reach on the larger ones.
      board.flash.load(sizeBytes - SECTOR_BYTES, Buffer.from('the last sector'));
      const expected = board.flash.md5(0, sizeBytes).toString('hex');
      const { backup } = (await bench.backup(board)).value;
      assert.equal(backup.manifest.chip.family, family);
      assert.equal(backup.manifest.image.md5, expected);
      assert.deepEqual(await bench.archive.verifyBackup(macOf(board.mac), backup.id), []);
      board.flash.eraseChip();
      board.flash.load(sizeBytes / 2, Buffer.from('something else'));
      const { value, left } = await bench.restore(board, backup);
      assert.equal(value.verified, true);
      assert.equal(left, 'app');
      assert.equal(board.flash.md5(0, sizeBytes).toString('hex'), expected);
    });
  }

  it('of 128 MiB, nearly all blank, reads little', async (t) => {
    const bench = await Bench.open(t);
    const sizeBytes = 128 * MIB;
    const content = smallImage('esp32s3', MIB);
    const board = bench.board({ family: 'esp32s3', flashSizeBytes: sizeBytes, content });
    board.flash.load(sizeBytes - 10, Buffer.from('the end'));
    const { backup, transfer } = (await bench.backup(board)).value;
    assert.equal(backup.manifest.image.sizeBytes, sizeBytes);
    assert.equal(backup.manifest.image.md5, board.flash.md5(0, sizeBytes).toString('hex'));
    assert.ok(transfer.flashBytesRead <= 4 * 65536, String(transfer.flashBytesRead));
  });
});
