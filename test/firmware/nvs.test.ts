import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { readNvs, type NvsEntry } from '../../src/firmware/nvs.ts';
import {
  ACTIVE,
  blobIndex,
  bytes,
  chunk,
  CORRUPT,
  fixture,
  FREEING,
  FULL,
  namespace,
  number,
  page,
  string,
  u8,
  type Slot,
} from './nvs-builder.ts';

const BLANK_PAGE = Buffer.alloc(4096, 0xff);

/** `namespace key type value` of each entry; bytes in hex. */
function lines(entries: readonly NvsEntry[]): string[] {
  return entries.map(({ namespace: name, key, type, value }) => {
    const text = value instanceof Uint8Array ? Buffer.from(value).toString('hex') : String(value);
    return `${name} ${key} ${type} ${text}`;
  });
}

function readPages(...pages: Buffer[]) {
  const { kind, entries, problems, evidence } = readNvs(Buffer.concat(pages));
  return { kind, entries: lines(entries), problems, evidence };
}

/** One active page in which namespace 1 is `a`. */
const inNamespace = (...items: Slot[][]) => page([namespace(1, 'a'), ...items].flat());

/** What the CSV file of the fixtures said. */
const WIFI = [
  'wifi boots u32 4294967295',
  'wifi chan u8 255',
  'wifi delta i32 -2147483648',
  'wifi empty str ',
  'wifi exactly15chars_ u8 1',
  'wifi least i64 -9223372036854775808',
  'wifi offset i8 -128',
  'wifi pass str geheim-und-lang',
  'wifi port u16 65535',
  'wifi ssid str Werkstatt',
  'wifi temp i16 -32768',
  'wifi total u64 18446744073709551615',
  'wifi umlaut str Küche ☕',
];
const LONG_TEXT = Array.from({ length: 380 }, (_, index) => `${String(index).padStart(4, '0')} `).join('');
const CAL = [
  `cal b64 blob ${Buffer.from('hello world').toString('hex')}`,
  'cal blob blob 00010203fffefd',
  'cal chan u16 7',
  'cal line32 blob 202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f',
  `cal longtext str ${LONG_TEXT}`,
];
const BIG = Buffer.from(Array.from({ length: 9000 }, (_, i) => (i * 7 + (i >>> 8) * 13) & 0xff));

describe("partitions that Espressif's generator has made", () => {
  test('version 1: every type, strings over many slots, blobs in one page', () => {
    const reading = readNvs(fixture('nvs-v1.bin.gz'));
    assert.deepEqual(reading.problems, []);
    assert.equal(reading.kind, 'plain');
    assert.deepEqual(lines(reading.entries), [...CAL, ...WIFI]);
  });

  test('version 2: a blob over three pages', () => {
    const reading = readNvs(fixture('nvs-v2.bin.gz'));
    assert.deepEqual(reading.problems, []);
    assert.deepEqual(lines(reading.entries), [
      ...CAL.slice(0, 1),
      `cal big blob ${BIG.toString('hex')}`,
      ...CAL.slice(1),
      ...WIFI,
    ]);
  });

  test('encrypted: told as that, with the reasons, and not as damage', () => {
    const reading = readNvs(fixture('nvs-encrypted.bin.gz'));
    assert.deepEqual([reading.kind, reading.entries, reading.problems], ['encrypted', [], []]);
    assert.deepEqual(reading.evidence, [
      'the headers of 3 pages are plain and sound',
      'none of the 376 written entries has a sound checksum',
      'what is written in them looks random',
    ]);
  });
});

/** As the library on boards read it: `namespace key type-in-hex value-in-hex`. */
function dump(name: string): string[] {
  const types = new Map(
    Object.entries({
      '01': 'u8',
      '11': 'i8',
      '04': 'u32',
      '14': 'i32',
      '08': 'u64',
      24: 'float',
      28: 'double',
      21: 'str',
      42: 'blob',
    }),
  );
  const rows = fixture(name).toString('latin1').trimEnd().split('\n');
  const found = rows.map((row) => {
    const [space, key, typeCode, hex = ''] = row.split(' ');
    const type = types.get(typeCode!)!;
    const data = Buffer.from(hex, 'hex');
    const values: Record<string, () => unknown> = {
      i8: () => data.readInt8(),
      u32: () => data.readUInt32LE(),
      i32: () => data.readInt32LE(),
      u64: () => data.readBigUInt64LE(),
      float: () => data.readFloatLE(),
      double: () => data.readDoubleLE(),
      str: () => data.toString('utf8', 0, data.length - 1),
      blob: () => hex,
    };
    return `${space} ${key} ${type} ${String(values[type]!())}`;
  });
  return found.sort();
}

describe('partitions that the library on boards has written', () => {
  test('200 rounds of new values on six pages: pages were moved, blobs have changed their chunk numbers', () => {
    const reading = readNvs(fixture('nvs-rewritten.bin.gz'));
    assert.deepEqual(reading.problems, []);
    assert.deepEqual(lines(reading.entries).sort(), dump('nvs-rewritten.txt'));
    assert.ok(reading.entries.some(({ type, value }) => type === 'double' && value === '-1234.5678'));
  });

  test('power was cut while a page was moved: what the library reads after it has recovered', () => {
    const image = fixture('nvs-moving.bin.gz');
    const states = [0, 4096, 8192].map((at) => image.readUInt32LE(at));
    assert.deepEqual(states, [FREEING, FULL, ACTIVE]);
    const reading = readNvs(image);
    assert.deepEqual(lines(reading.entries).sort(), dump('nvs-moving.txt'));
    assert.deepEqual(reading.problems, [
      'page 2 at 0x2000: the value of "ssid" at 0x2120 was not written to the end',
      'the blob "big" of namespace number 2 has a write that was cut off',
    ]);
  });
});

describe('kinds', () => {
  test('blank, and what is no NVS', () => {
    assert.deepEqual(readPages(BLANK_PAGE, BLANK_PAGE), { kind: 'blank', entries: [], problems: [], evidence: [] });
    assert.equal(readNvs(new Uint8Array(0)).kind, 'unknown');
    const zeros = readPages(Buffer.alloc(4096));
    assert.deepEqual([zeros.kind, zeros.problems], ['unknown', ['page 0 at 0x0 has no sound header']]);
    assert.equal(readNvs(new Uint8Array(100)).kind, 'unknown');
  });

  test('a page without any item is plain', () => {
    assert.deepEqual(readPages(page([]), BLANK_PAGE), { kind: 'plain', entries: [], problems: [], evidence: [] });
  });

  test('broken items are damage and not encryption, as long as they look like items', () => {
    const broken = readPages(
      page([namespace(1, 'a'), u8(1, 'k', 1)].flat().map((slot) => ({ ...slot, bytes: flip(slot.bytes) }))),
    );
    assert.equal(broken.kind, 'plain');
    assert.deepEqual(broken.problems, ['page 0 at 0x0: no sound checksum from 0x40 to 0x7f']);
  });

  test('a newer format is not guessed at', () => {
    const { kind, problems } = readPages(page([namespace(1, 'a')].flat(), { version: 0xfd }));
    assert.equal(kind, 'unknown');
    assert.deepEqual(problems, ['page 0 at 0x0 is of format version 0xfd, which espd does not know']);
  });
});

function flip(data: Buffer): Buffer {
  const out = Buffer.from(data);
  out[5] = out[5]! ^ 1;
  return out;
}

describe('pages', () => {
  const old = page([namespace(1, 'a'), u8(1, 'k', 1)].flat(), { state: FREEING, sequence: 4 });
  const moved = page([namespace(1, 'a'), u8(1, 'k', 2)].flat(), { sequence: 5 });

  test('of two values the one in the page that was begun later counts, wherever the pages lie', () => {
    for (const pages of [
      [old, moved],
      [moved, old],
    ]) {
      assert.deepEqual(readPages(...pages), { kind: 'plain', entries: ['a k u8 2'], problems: [], evidence: [] });
    }
  });

  test('of two values in one page the later one counts', () => {
    assert.deepEqual(readPages(inNamespace(u8(1, 'k', 1), u8(1, 'k', 2))).entries, ['a k u8 2']);
  });

  test('a page that is marked corrupt, and one with a torn header, are not used', () => {
    const corrupt = page(u8(1, 'lost', 1), { state: CORRUPT, sequence: 9 });
    const torn = page(u8(1, 'lost', 1), { headerCrc: 1, sequence: 9 });
    const reading = readPages(inNamespace(u8(1, 'k', 1)), corrupt, torn);
    assert.deepEqual(reading.entries, ['a k u8 1']);
    assert.deepEqual(reading.problems, [
      'page 1 at 0x1000 is marked as corrupt (0xfffffff0): the board does not use what is in it',
      'page 2 at 0x2000 has no sound header',
    ]);
  });

  test('an unknown state counts as corrupt', () => {
    const odd = page(u8(1, 'lost', 1), { state: 0x12345678 });
    assert.match(readPages(inNamespace(), odd).problems[0]!, /^page 1 .* corrupt \(0x12345678\)/);
  });

  test('the rest behind the last whole page is told', () => {
    assert.deepEqual(readPages(inNamespace(), Buffer.alloc(7)).problems, ['the last 7 bytes are no whole page']);
  });
});

describe('slots', () => {
  test('erased items are passed over without a word', () => {
    const reading = readPages(
      inNamespace(
        u8(1, 'gone', 1, { state: 'erased' }),
        string(1, 'old', 'x'.repeat(99), { state: 'erased' }),
        u8(1, 'k', 1),
      ),
    );
    assert.deepEqual([reading.entries, reading.problems], [['a k u8 1'], []]);
  });

  test('a wrong checksum of an item is told with its place; its value slots are told with it, and the rest is read', () => {
    const reading = readPages(BLANK_PAGE, inNamespace(string(1, 'bad', 'y'.repeat(40), { itemCrc: 1 }), u8(1, 'k', 1)));
    assert.deepEqual(reading.entries, ['a k u8 1']);
    assert.deepEqual(reading.problems, ['page 1 at 0x1000: no sound checksum from 0x1060 to 0x10bf']);
  });

  test('a wrong checksum at the very end of a page', () => {
    const slots = [
      namespace(1, 'a'),
      ...Array.from({ length: 124 }, (_, i) => u8(1, `k${i}`, i)),
      u8(1, 'z', 1, { itemCrc: 1 }),
    ];
    const reading = readPages(page(slots.flat(), { state: FULL }));
    assert.equal(reading.entries.length, 124);
    assert.deepEqual(reading.problems, ['page 0 at 0x0: no sound checksum from 0xfe0 to 0xfff']);
  });

  test('a value with a wrong checksum does not hide the older one', () => {
    const older = page([namespace(1, 'a'), string(1, 's', 'old')].flat(), { state: FULL, sequence: 0 });
    const newer = page(string(1, 's', 'new', { valueCrc: 1 }), { sequence: 1 });
    const reading = readPages(older, newer);
    assert.deepEqual(reading.entries, ['a s str old']);
    assert.deepEqual(reading.problems, ['page 1 at 0x1000: the value of "s" at 0x1040 has a wrong checksum']);
  });

  test('torn writes: a slot that is not marked yet, a value that is not marked to its end, a state that cannot be', () => {
    const unmarked = readPages(inNamespace(u8(1, 'k', 1), u8(1, 'torn', 1, { state: 'empty' })));
    assert.deepEqual(unmarked.entries, ['a k u8 1']);
    assert.deepEqual(unmarked.problems, ['page 0 at 0x0: a write that was cut off from 0x80 to 0x9f']);

    const half = readPages(inNamespace(string(1, 'half', 'z'.repeat(40), { dataState: 'empty' })));
    assert.deepEqual(half.problems, ['page 0 at 0x0: the value of "half" at 0x60 was not written to the end']);

    const odd = readPages(inNamespace(u8(1, 'odd', 1, { state: 'illegal' })));
    assert.deepEqual(odd.problems, ['page 0 at 0x0: a state that no board writes from 0x60 to 0x7f']);
  });

  test('items that no board writes are not taken for items', () => {
    const wrong = [
      number(1, 0x01, 'span', Buffer.from([1]), { span: 2 }),
      number(1, 0x03, 'type', Buffer.from([1])),
      bytes(1, 0x21, 'short', Buffer.alloc(40), { span: 2 }),
      bytes(1, 0x21, 'long', Buffer.alloc(40), { span: 255 }),
      bytes(1, 0x42, 'nochunk', Buffer.alloc(4)),
      number(1, 0x48, 'index', Buffer.alloc(8), { chunk: 0 }),
    ];
    for (const item of wrong) {
      const reading = readPages(inNamespace(item));
      assert.deepEqual(reading.entries, []);
      assert.equal(reading.problems.length, 1);
      assert.match(reading.problems[0]!, /no sound checksum from 0x60 to /);
    }
  });

  test('types of ESP-IDF 6', () => {
    const float = Buffer.from('0000003f', 'hex');
    assert.deepEqual(readPages(inNamespace(number(1, 0x24, 'f', float))).entries, ['a f float 0.5']);
  });

  test('texts that are no UTF-8 stay different', () => {
    const values = ['e9', 'c3a9', 'ff', 'c3'].map((hex) => Buffer.from(`${hex}00`, 'hex'));
    const texts = values.map((value) => readNvs(inNamespace(bytes(1, 0x21, 's', value))).entries[0]!.value);
    assert.deepEqual(texts, ['\udce9', 'é', '\udcff', '\udcc3']);
  });
});

describe('namespaces', () => {
  test('one without a name is told with the keys in it', () => {
    const reading = readPages(inNamespace(u8(7, 'k\u001b', 1)));
    assert.deepEqual(reading.entries, []);
    assert.deepEqual(reading.problems, ['"k\\u{1b}" is in namespace number 7, which has no name']);
  });

  test('of two with one name boards open the first', () => {
    const reading = readPages(inNamespace(u8(1, 'k', 1), namespace(2, 'a'), u8(2, 'k', 2)));
    assert.deepEqual(reading.entries, ['a k u8 1']);
    assert.deepEqual(reading.problems, ['"k" is in namespace number 2, whose name "a" boards look up as number 1']);
  });

  test('one key may have two types', () => {
    assert.deepEqual(readPages(inNamespace(u8(1, 'k', 1), string(1, 'k', 'x'))).entries, ['a k str x', 'a k u8 1']);
  });
});

describe('blobs of version 2', () => {
  const [x, y, z] = ['xx', 'yyy', 'z'].map((text) => Buffer.from(text));

  test('chunks in both ranges of numbers, in any order', () => {
    const low = inNamespace(chunk(1, 'b', 1, y!), chunk(1, 'b', 0, x!), blobIndex(1, 'b', 5, 2, 0));
    assert.deepEqual(readPages(low).entries, ['a b blob 7878797979']);
    const high = inNamespace(chunk(1, 'b', 0x80, x!), chunk(1, 'b', 0x81, y!), blobIndex(1, 'b', 5, 2, 0x80));
    assert.deepEqual(readPages(high), { kind: 'plain', entries: ['a b blob 7878797979'], problems: [], evidence: [] });
  });

  test('both the old and the new one are there: the new one counts', () => {
    const both = inNamespace(
      chunk(1, 'b', 0x80, x!),
      blobIndex(1, 'b', 2, 1, 0x80),
      chunk(1, 'b', 0, z!),
      blobIndex(1, 'b', 1, 1, 0),
    );
    assert.deepEqual(readPages(both).entries, ['a b blob 7a']);
    assert.deepEqual(readPages(both).problems, []);
  });

  test('the new one is not whole: the old one counts, and it is told', () => {
    const torn = inNamespace(
      chunk(1, 'b', 0x80, x!),
      blobIndex(1, 'b', 2, 1, 0x80),
      chunk(1, 'b', 0, z!),
      blobIndex(1, 'b', 9, 2, 0),
    );
    assert.deepEqual(readPages(torn).entries, ['a b blob 7878']);
    assert.deepEqual(readPages(torn).problems, ['the blob "b" of namespace number 1 lacks a part of its 9 bytes']);
  });

  test('chunks without an index are a write that was cut off', () => {
    const reading = readPages(inNamespace(chunk(1, 'b', 0, x!)));
    assert.deepEqual(reading.entries, []);
    assert.deepEqual(reading.problems, ['the blob "b" of namespace number 1 has a write that was cut off']);
  });

  test('sizes and ranges that cannot be', () => {
    for (const index of [blobIndex(1, 'b', 3, 1, 0), blobIndex(1, 'b', 2, 1, 1), blobIndex(1, 'b', 2, 200, 0)]) {
      const reading = readPages(inNamespace(chunk(1, 'b', 0, x!), chunk(1, 'b', 1, y!), index));
      assert.deepEqual(reading.entries, []);
      assert.match(reading.problems[0]!, /lacks a part/);
    }
  });

  test('an empty one', () => {
    const empty = inNamespace(chunk(1, 'b', 0, Buffer.alloc(0)), blobIndex(1, 'b', 0, 1, 0));
    assert.deepEqual(readPages(empty).entries, ['a b blob ']);
  });

  test('one of version 1 that was written anew as version 2', () => {
    const reading = readPages(inNamespace(bytes(1, 0x41, 'b', z!), chunk(1, 'b', 0, x!), blobIndex(1, 'b', 2, 1, 0)));
    assert.deepEqual(reading.entries, ['a b blob 7878']);
  });
});

describe('hostile input', () => {
  const sound = fixture('nvs-v2.bin.gz');

  function check(image: Uint8Array): void {
    const { kind, entries, problems } = readNvs(image);
    assert.ok(kind === 'plain' || entries.length === 0);
    assert.ok(problems.length <= 51);
    for (const problem of problems) assert.ok(/^[\x20-\x7e]*$/.test(problem), problem);
    const total = entries.reduce((sum, { value }) => sum + (value instanceof Uint8Array ? value.length : 0), 0);
    assert.ok(total <= image.length);
    for (const { namespace: name, key } of entries) assert.ok(name.length <= 15 && key.length <= 15);
  }

  test('random bytes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 9000 }), check), { numRuns: 200 });
  });

  test('every cut of a sound partition', () => {
    const two = fixture('nvs-v1.bin.gz').subarray(0, 8192);
    // What is behind the last whole page is not looked at, so one page's worth of cuts is all there are.
    for (let length = 0; length <= 4100; length += 1) check(two.subarray(0, length));
    for (let length = 4100; length <= two.length; length += 61) check(two.subarray(0, length));
  });

  test('a sound partition with some bytes changed', () => {
    const change = fc.record({ at: fc.nat(sound.length - 1), to: fc.nat(255) });
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 40 }), (changes) => {
        const image = Buffer.from(sound);
        for (const { at, to } of changes) image[at] = to;
        check(image);
      }),
      { numRuns: 200 },
    );
  });

  test('one changed byte in what is in use is always told, or changes nothing', () => {
    const before = lines(readNvs(sound).entries);
    fc.assert(
      fc.property(fc.nat(3 * 4096 - 1), fc.integer({ min: 1, max: 255 }), (at, mask) => {
        const image = Buffer.from(sound);
        image[at] = image[at]! ^ mask;
        const { entries, problems } = readNvs(image);
        // The bitmap has no checksum: an item may become erased there, which looks like a board's own doing.
        const inBitmap = at % 4096 >= 32 && at % 4096 < 64;
        // Nor has the state of a page.
        const inState = at % 4096 < 4;
        if (problems.length === 0 && !inBitmap && !inState) assert.deepEqual(lines(entries), before);
      }),
      { numRuns: 400 },
    );
  });

  test('an endless list of problems is cut off', () => {
    const broken = Array.from({ length: 63 }, (_, i) => [u8(1, `k${i}`, 1, { itemCrc: 1 }), u8(1, `g${i}`, 1)]).flat(2);
    const { problems } = readPages(...Array.from({ length: 40 }, () => page(broken)));
    assert.equal(problems.length, 51);
    assert.match(problems.at(-1)!, /^\d+ more problems$/);
  });

  test('more items than any board has: espd stops and says so', () => {
    const full = page(Array.from({ length: 126 }, (_, i) => u8(1, `k${i}`, 1)).flat());
    const { problems } = readPages(...Array.from({ length: 1990 }, () => full));
    assert.match(problems.join(), /espd has stopped after 250\d\d\d items/);
  });
});
