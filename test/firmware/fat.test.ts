import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { crc32 } from 'node:zlib';

import fc from 'fast-check';

import { readFat } from '../../src/firmware/filesystems/fat.ts';
import { readFileSystem } from '../../src/firmware/filesystems/index.ts';
import type { FileSystemReading } from '../../src/firmware/filesystems/filesystem.ts';
import { fixture } from './nvs-builder.ts';

/** The patterns that the files of the fixtures are filled with. */
const pattern = (length: number, step: number, carry = 1) =>
  Buffer.from(Array.from({ length }, (_, i) => (i * step + (i >>> 8) * carry) & 0xff));

function read(image: Uint8Array): FileSystemReading {
  const reading = readFat(image);
  assert.ok(reading, 'a FAT volume is found');
  return reading;
}

/** Path to content in hex, `null` for a folder; a problem stands as itself. */
function contents(reading: FileSystemReading): Record<string, string | null> {
  return Object.fromEntries(
    reading.entries.map(({ path: name, isFolder, sizeBytes }) => {
      if (isFolder) return [name, null];
      const { bytes, problem } = reading.readFile(name);
      if (bytes !== null) assert.equal(bytes.length, sizeBytes);
      return [name, bytes === null ? problem : Buffer.from(bytes).toString('hex')];
    }),
  );
}

const text = (content: string) => Buffer.from(content).toString('hex');
const PAGE = { '/www/index page with a long name.html': pattern(9000, 7).toString('hex') };
const BASE = { '/HELLO.TXT': text('hello\n'), '/empty': '', '/www': null, ...PAGE };

describe('volumes that mkfs.fat and mtools have made', () => {
  const expected = {
    ...BASE,
    '/lower.txt': text('small\n'),
    '/www/exactly13char': text('13'),
    '/www/exactly26characters.in.all': text('x'),
    '/www/sub': null,
    '/www/sub/Übergrößenträger ☕.json': pattern(100, 3, 0).toString('hex'),
  };
  for (const [name, what] of [
    ['fat-mkfs-12.bin.gz', 'FAT12'],
    ['fat-mkfs-16.bin.gz', 'FAT16'],
    ['fat-mkfs-32.bin.gz.gz', 'FAT32'],
    ['fat-mkfs-4096.bin.gz', 'sectors of 4096 bytes'],
  ] as const) {
    test(what, () => {
      const reading = read(fixture(name));
      assert.equal(reading.kind, 'fat');
      assert.deepEqual(reading.problems, []);
      assert.deepEqual(contents(reading), expected);
      const paths = reading.entries.map((entry) => entry.path);
      assert.deepEqual(paths, [...paths].sort());
    });
  }
});

describe('volumes that code of ESP-IDF has made, on wear levelling', () => {
  const board = {
    ...BASE,
    '/lower.txt': text('small\n'),
    '/www/deep folder': null,
    '/www/deep folder/Übergrößenträger ☕ 😀.json': pattern(100, 3, 0).toString('hex'),
  };

  test('wl_fatfsgen.py: long names, short names', () => {
    const long = read(fixture('fat-fatfsgen-wl.bin.gz'));
    assert.deepEqual(long.problems, []);
    assert.deepEqual(contents(long), {
      '/empty': '',
      '/hello.txt': text('hello\n'),
      '/www': null,
      ...PAGE,
      '/www/sub': null,
      '/www/sub/some_settings_of_mine.json': text('deep'),
    });
    const short = read(fixture('fat-fatfsgen-safe.bin.gz'));
    assert.deepEqual(short.problems, []);
    assert.deepEqual(contents(short), {
      '/HELLO.TXT': text('hello\n'),
      '/WWW': null,
      '/WWW/INDEX.HTM': pattern(9000, 7).toString('hex'),
      '/WWW/SUB': null,
      '/WWW/SUB/A.TXT': text('deep'),
    });
  });

  test('FatFs on sectors of 4096 bytes, the dummy has gone around', () => {
    const image = fixture('fat-wl-moved.bin.gz');
    assert.equal(image.readUInt32LE(image.length - 3 * 4096 + 8), 4, 'the move count of the state');
    const reading = read(image);
    assert.deepEqual(reading.problems, []);
    assert.deepEqual(contents(reading), { ...board, '/counter.log': text('count 299\n') });
  });

  test('FatFs in "performance" mode', () => {
    const reading = read(fixture('fat-wl-perf.bin.gz'));
    assert.deepEqual(reading.problems, []);
    assert.deepEqual(contents(reading), { ...board, '/counter.log': text('count 49\n') });
  });

  test('"safety" mode, power was cut with a sector erased: its copy is read', () => {
    const image = fixture('fat-wl-safe-cut.bin.gz');
    const reading = read(image);
    assert.deepEqual(contents(reading), { ...board, '/counter.log': '' });
    assert.deepEqual(reading.problems, [
      'a write was cut off: at its next start the board puts back what it has copied aside, and shows the rest as blank',
      'the two copies of the allocation table differ; boards use the first',
    ]);
    // Without the mark of a pending write the sector is blank, so this is not a test that cannot fail.
    const unmarked = Buffer.from(image);
    unmarked.writeUInt32LE(0, image.indexOf('78563412', 'hex'));
    assert.notDeepEqual(contents(read(unmarked)), contents(reading));
  });
});

describe('the wear levelling layer', () => {
  const image = fixture('fat-wl-moved.bin.gz');
  const stateAt = image.length - 3 * 4096;
  const damaged = (...places: number[]) => {
    const copy = Buffer.from(image);
    for (const at of places) copy[at] = copy[at]! ^ 0xff;
    return copy;
  };

  test('one copy of the state is enough', () => {
    for (const at of [stateAt, stateAt + 4096]) {
      const reading = read(damaged(at));
      assert.deepEqual(reading.problems, []);
      assert.deepEqual(contents(reading), contents(read(image)));
    }
  });

  test('without any it is told that the volume cannot be had', () => {
    const copy = damaged(stateAt, stateAt + 4096);
    const reading = read(copy);
    assert.deepEqual(reading.entries, []);
    assert.deepEqual(reading.problems, ['the wear levelling layer has lost both copies of its state']);
    assert.equal(reading.readFile('/HELLO.TXT').problem, 'there is no such file');
  });

  test('a version or a size that does not fit is told', () => {
    for (const [field, value, problem] of [
      [24, 3, 'the wear levelling layer is of version 3, which espd does not know'],
      [4, 7, 'the wear levelling layer was set up for a partition of another size'],
    ] as const) {
      const copy = Buffer.from(image);
      for (const at of [stateAt, stateAt + 4096]) {
        copy.writeUInt32LE(value, at + field);
        copy.writeUInt32LE(crc32(copy.subarray(at, at + 60), 0xffffffff), at + 60);
      }
      assert.deepEqual(read(copy).problems, [problem]);
    }
  });
});

/** The small FAT12 volume, to break: one reserved sector, two FATs of one sector, a root of 64 slots, clusters of 512 bytes. */
class Small {
  readonly image = fixture('fat-mkfs-12.bin.gz');

  constructor() {
    assert.deepEqual([this.image.readUInt16LE(14), this.image[16], this.image.readUInt16LE(22)], [1, 2, 1]);
    assert.equal(this.image.readUInt16LE(17), 64);
  }

  /** In both tables. */
  setNext(cluster: number, next: number): this {
    for (const table of [512, 1024]) {
      const at = table + Math.floor(cluster * 1.5);
      const pair = this.image.readUInt16LE(at);
      this.image.writeUInt16LE(cluster % 2 ? (pair & 0xf) | (next << 4) : (pair & 0xf000) | next, at);
    }
    return this;
  }

  /** Offset of the slot with this short name, in the root or anywhere else. */
  slot(name: string): number {
    const at = this.image.indexOf(name, 1536, 'latin1');
    assert.ok(at > 0 && at % 32 === 0, name);
    return at;
  }

  firstCluster(name: string): number {
    return this.image.readUInt16LE(this.slot(name) + 26);
  }

  /** A slot at the end of the root. */
  add(name: Buffer, { attributes = 0x20, flags = 0, cluster = 0, size = 0 } = {}): this {
    let at = 1536;
    while (this.image[at] !== 0) at += 32;
    name.copy(this.image, at);
    this.image.set([attributes, flags], at + 11);
    this.image.writeUInt16LE(cluster, at + 26);
    this.image.writeUInt32LE(size, at + 28);
    return this;
  }
}

const PAGE_PATH = '/www/index page with a long name.html';

describe('damaged volumes', () => {
  test('a chain that comes back', () => {
    const small = new Small();
    const first = small.firstCluster('INDEXP~1HTM');
    const reading = read(small.setNext(first + 1, first).image);
    const what = `has a chain of clusters that comes back to cluster ${first}`;
    assert.deepEqual(reading.problems, [`"${PAGE_PATH}" ${what}`]);
    assert.deepEqual(reading.readFile(PAGE_PATH), { bytes: null, problem: `it ${what}` });
    assert.equal(contents(reading)['/HELLO.TXT'], text('hello\n'));
  });

  test('two files with the same cluster: neither is given', () => {
    const small = new Small();
    const [hello, lower] = [small.firstCluster('HELLO   TXT'), small.firstCluster('LOWER   TXT')];
    const reading = read(small.setNext(hello, lower).image);
    assert.deepEqual(reading.problems, [`"/lower.txt" shares cluster ${lower} with "/HELLO.TXT"`]);
    assert.equal(reading.readFile('/lower.txt').bytes, null);
    assert.equal(reading.readFile('/HELLO.TXT').problem, `it shares cluster ${lower} with "/lower.txt"`);
  });

  test('chains into nothing: free, bad, beyond the volume, too short', () => {
    for (const [next, problem] of [
      [0, /breaks off after cluster/],
      [1, /breaks off after cluster/],
      [0xff7, /breaks off after cluster/],
      [0xff0, /goes on in cluster 4080, which is not there/],
      [0xfff, /has clusters for 512 of its 9000 bytes/],
    ] as const) {
      const small = new Small();
      const reading = read(small.setNext(small.firstCluster('INDEXP~1HTM'), next).image);
      assert.equal(reading.problems.length, 1);
      assert.match(reading.problems[0]!, problem);
      assert.equal(reading.readFile(PAGE_PATH).bytes, null);
    }
  });

  test('a folder that contains itself', () => {
    const small = new Small();
    const folder = small.firstCluster('SUB        ');
    small.image.writeUInt16LE(small.firstCluster('WWW        '), small.slot('SUB        ') + 26);
    const reading = read(small.image);
    assert.match(reading.problems.join('\n'), /"\/www\/sub" shares cluster \d+ with "\/www"/);
    assert.ok(folder > 0 && reading.entries.length < 20);
  });

  test('the two tables differ', () => {
    const small = new Small();
    small.image[1024 + 100] = 0x77;
    assert.deepEqual(read(small.image).problems, [
      'the two copies of the allocation table differ; boards use the first',
    ]);
  });

  test('a volume that is larger than the partition', () => {
    const reading = read(new Small().image.subarray(0, 8192));
    assert.equal(reading.problems[0], 'the volume of 65536 bytes does not fit the 8192 there are');
    assert.equal(reading.readFile(PAGE_PATH).bytes, null);
    assert.equal(contents(reading)['/HELLO.TXT'], text('hello\n'));
  });

  test('a long name whose checksum or order is wrong: the short one counts, and it is told', () => {
    const small = new Small();
    const slot = small.slot('INDEXP~1HTM');
    small.image[slot - 32 + 13]! ^= 1;
    assert.deepEqual(read(small.image).problems, ['"/www/INDEXP~1.HTM" has a broken long name']);
    const swapped = new Small();
    swapped.image[slot - 32] = 2;
    assert.deepEqual(read(swapped.image).problems, ['"/www/INDEXP~1.HTM" has a broken long name']);
  });

  test('names that are none', () => {
    const small = new Small()
      .add(Buffer.from('A/B     TXT'))
      .add(Buffer.alloc(11, 0x20))
      .add(Buffer.from('HELLO   TXT'));
    const reading = read(small.image);
    assert.deepEqual(reading.problems, [
      '"/A/B.TXT" is no name of a file',
      '"/" is no name of a file',
      '"/HELLO.TXT" is there twice',
    ]);
    assert.deepEqual(Object.keys(contents(reading)).length, Object.keys(contents(read(new Small().image))).length);
  });
});

describe('short names', () => {
  const added = (name: Buffer, options = {}) => {
    const before = new Set(read(new Small().image).entries.map((entry) => entry.path));
    const reading = read(new Small().add(name, options).image);
    return reading.entries.map((entry) => entry.path).filter((name2) => !before.has(name2));
  };

  test('small letters by the flags of Windows NT', () => {
    const name = Buffer.from('MIXED   TXT');
    assert.deepEqual(added(name), ['/MIXED.TXT']);
    assert.deepEqual(added(name, { flags: 0x08 }), ['/mixed.TXT']);
    assert.deepEqual(added(name, { flags: 0x10 }), ['/MIXED.txt']);
    assert.deepEqual(added(name, { flags: 0x18 }), ['/mixed.txt']);
  });

  test('0x05 in front is 0xe5, which would mean deleted; above ASCII code page 437', () => {
    assert.deepEqual(added(Buffer.from('05' + '41202020202020' + '202020', 'hex')), ['/σA']);
    assert.deepEqual(added(Buffer.from('9a41202020202020' + '8e2020', 'hex')), ['/ÜA.Ä']);
  });

  test('deleted entries and the volume label are no files', () => {
    assert.deepEqual(added(Buffer.from('e5' + '41202020202020' + '202020', 'hex')), []);
    assert.deepEqual(added(Buffer.from('LABEL      '), { attributes: 0x08 }), []);
  });
});

describe('what is no FAT volume', () => {
  test('blank, zeros, nothing, an NVS partition', () => {
    assert.equal(readFat(Buffer.alloc(65536, 0xff)), undefined);
    assert.equal(readFat(Buffer.alloc(65536)), undefined);
    assert.equal(readFat(new Uint8Array(0)), undefined);
    assert.equal(readFat(fixture('nvs-v2.bin.gz')), undefined);
  });

  test('readFileSystem finds the volumes among the other file systems', () => {
    for (const name of [
      'fat-mkfs-12',
      'fat-mkfs-16',
      'fat-mkfs-4096',
      'fat-wl-moved',
      'fat-wl-perf',
      'fat-fatfsgen-safe',
    ]) {
      const image = fixture(`${name}.bin.gz`);
      assert.deepEqual(readFileSystem(image)?.entries, read(image).entries);
    }
    assert.equal(readFileSystem(fixture('nvs-v2.bin.gz')), undefined);
  });

  test('a volume in a partition of an MBR is found, with sectors of 512 bytes and of 4096', () => {
    for (const [name, sectorBytes] of [
      ['fat-mkfs-12.bin.gz', 512],
      ['fat-mkfs-4096.bin.gz', 4096],
    ] as const) {
      const volume = fixture(name);
      const disk = Buffer.concat([Buffer.alloc(8 * sectorBytes), volume]);
      disk[446 + 4] = 0x01;
      disk.writeUInt32LE(8, 446 + 8);
      disk.writeUInt16LE(0xaa55, 510);
      assert.deepEqual(contents(read(disk)), contents(read(volume)));
    }
  });

  test('readFile of what is not there, and of a folder', () => {
    const reading = read(new Small().image);
    assert.deepEqual(reading.readFile('/nowhere'), { bytes: null, problem: 'there is no such file' });
    assert.deepEqual(reading.readFile('HELLO.TXT'), { bytes: null, problem: 'there is no such file' });
    assert.deepEqual(reading.readFile('/www'), { bytes: null, problem: 'it is a folder' });
  });
});

describe('hostile input', () => {
  function check(image: Uint8Array): void {
    const reading = readFat(image);
    if (reading === undefined) return;
    assert.ok(reading.problems.length <= 51);
    for (const entry of reading.entries) {
      const { bytes, problem } = reading.readFile(entry.path);
      assert.equal(bytes === null, problem !== null);
      if (bytes !== null) assert.ok(bytes.length === entry.sizeBytes && bytes.length <= image.length);
    }
  }
  const wl = fixture('fat-wl-perf.bin.gz');

  test('random bytes behind a boot sector', () => {
    const boot = new Small().image.subarray(0, 512);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 20_000 }), (tail) => check(Buffer.concat([boot, tail]))),
      { numRuns: 100 },
    );
  });

  test('every cut of a small volume', () => {
    const { image } = new Small();
    // Boot sector, tables, root and the first clusters byte by byte.
    for (let length = 0; length <= 5000; length += 1) check(image.subarray(0, length));
    for (let length = 5000; length <= image.length; length += 89) check(image.subarray(0, length));
  });

  for (const [name, image, upTo] of [
    ['a small volume', new Small().image, 16384],
    ['a volume on wear levelling', wl, wl.length],
  ] as const) {
    test(`${name} with some bytes changed`, () => {
      const change = fc.record({ at: fc.nat(upTo - 1), to: fc.nat(255) });
      fc.assert(
        fc.property(fc.array(change, { minLength: 1, maxLength: 60 }), (changes) => {
          const copy = Buffer.from(image);
          for (const { at, to } of changes) copy[at] = to;
          check(copy);
        }),
        { numRuns: 200 },
      );
    });
  }

  test('a boot sector with any numbers in it', () => {
    const { image } = new Small();
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 79, maxLength: 79 }), fc.nat(12), (fields, kept) => {
        const copy = Buffer.from(image);
        copy.set(fields.subarray(kept), 11 + kept);
        check(copy);
      }),
      { numRuns: 300 },
    );
  });

  test('folders in folders without end stop at a bound', () => {
    const { image } = new Small();
    const www = new Small().firstCluster('WWW        ');
    // Each cluster holds one folder, which begins in the next one.
    for (let cluster = www; cluster < 120; cluster += 1) {
      const at = 1536 + 64 * 32 + (cluster - 2) * 512;
      image.fill(0, at, at + 512);
      image.write('DEEPFOLDEEP', at, 'latin1');
      image[at + 11] = 0x10;
      image.writeUInt16LE(cluster + 1, at + 26);
    }
    const small = new Small();
    small.image.set(image);
    for (let cluster = www; cluster < 120; cluster += 1) small.setNext(cluster, 0xfff);
    const reading = read(small.image);
    assert.ok(reading.entries.every((entry) => entry.path.length <= 1024));
    assert.match(reading.problems.join('\n'), /lies too deep/);
  });
});

/** mkfs.fat is in a folder that ordinary users do not have in their PATH. */
const env = {
  ...process.env,
  PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`,
  MTOOLS_SKIP_CHECK: '1',
  LC_ALL: 'C.UTF-8',
};
const missing = ['mkfs.fat', 'mcopy'].filter((program) => spawnSync(program, ['--help'], { env }).error !== undefined);
const skip = missing.length > 0 ? `SKIPPED: ${missing.join(' and ')} not installed` : false;
if (skip !== false) process.stderr.write(`tests against the real mkfs.fat ${skip}\n`);

describe('the real mkfs.fat and mtools', { skip }, () => {
  const run = (program: string, ...args: string[]) => {
    const { status, stderr } = spawnSync(program, args, { env, encoding: 'utf8' });
    assert.equal(status, 0, stderr);
  };

  test('any tree of files is read back', () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'espd-fat-'));
    try {
      // To mcopy `-` is stdin, and what begins so an option.
      const name = fc.stringMatching(/^[A-Za-z0-9_☕][A-Za-z0-9_☕-]{0,29}(\.[a-z]{1,5})?$/);
      const file = fc.uint8Array({ maxLength: 3000 });
      // FAT takes no notice of case.
      const files = fc.uniqueArray(fc.tuple(name, file), { maxLength: 6, selector: ([text2]) => text2.toLowerCase() });
      const options = fc.constantFrom<string[]>(
        ['-F', '12', '-s', '1'],
        ['-F', '12', '-s', '4'],
        ['-F', '12', '-S', '4096'],
        ['-F', '16', '-s', '1'],
      );
      let round = 0;
      fc.assert(
        fc.property(files, files, options, (top, below, format) => {
          const image = path.join(folder, `${round++}.bin`);
          const tree = path.join(folder, `tree${round}`);
          fs.mkdirSync(path.join(tree, 'Below me'), { recursive: true });
          const expected: Record<string, string | null> = { '/Below me': null };
          for (const [where, list] of [
            ['', top],
            ['/Below me', below],
          ] as const) {
            for (const [key, data] of list) {
              fs.writeFileSync(path.join(tree, where, key), data);
              expected[`${where}/${key}`] = Buffer.from(data).toString('hex');
            }
          }
          fs.writeFileSync(image, Buffer.alloc(format[1] === '16' ? 4 << 20 : 1 << 20));
          run('mkfs.fat', ...format, image);
          run('mcopy', '-i', image, '-s', ...fs.readdirSync(tree).map((key) => path.join(tree, key)), '::/');
          const reading = read(fs.readFileSync(image));
          assert.deepEqual(reading.problems, []);
          assert.deepEqual(contents(reading), expected);
        }),
        { numRuns: 15 },
      );
    } finally {
      fs.rmSync(folder, { recursive: true, force: true });
    }
  });
});
