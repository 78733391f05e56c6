/** What is believed of a segment: nothing beyond what a station may say. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { Manifest } from '../../../src/archive/manifest.ts';
import { fetchSegment } from '../../../src/replication/journal/fetch.ts';
import { behindSegment, parseSegmentName, segmentName, stationOf } from '../../../src/replication/journal/names.ts';
import { folderOf, parseFolder } from '../../../src/replication/layout.ts';
import { encodeSegment, readSegment } from '../../../src/replication/journal/segment.ts';
import type { Bucket } from '../../../src/replication/push-backup.ts';
import { FOLDER, ID0, MAC, OTHER_MAC, backUp, image, newArchive } from '../../archive/support.ts';

const STATION = 'bench9-0123456789ab';
const WRITTEN = '2026-11-24T10:00:00.000Z';
const head = { station: STATION, seq: 7, at: WRITTEN };
const context = { station: STATION, seq: 7, writtenMs: Date.parse(WRITTEN) };

const read = (...lines: readonly unknown[]) => {
  const reading = readSegment(
    encodeSegment(
      head,
      lines.map((line) => JSON.stringify(line)),
    ),
    context,
  );
  return reading.kind === 'read' ? reading : assert.fail(reading.kind);
};

describe('a line of a journal', () => {
  test('that says where a backup lies: of its own folder, and of its own manifest', async (t) => {
    const { manifest } = await backUp(await newArchive(t), image(5000));
    const other: Manifest = { ...manifest, id: '2026-11-23T10-00-01Z' };
    const good = {
      ...{ kind: 'backup', mac: MAC, id: ID0, folder: `${FOLDER}/${ID0}/`, at: WRITTEN },
      ...{ manifestSha256: 'a'.repeat(64), manifest },
    };
    const own = `stations/${STATION}/${FOLDER}/${ID0}/`;
    assert.deepEqual(read(good, { ...good, folder: own }).lines.length, 2);
    const hostile: readonly object[] = [
      ...[
        '../../etc/',
        `/${FOLDER}/${ID0}/`,
        `${FOLDER}/${ID0}`,
        `${FOLDER}/${ID0}//`,
        `${FOLDER}/../${FOLDER}/${ID0}/`,
        `${FOLDER}/2026-11-23T10-00-01Z/`,
        `stations/other-0123456789ab/${FOLDER}/${ID0}/`,
        `stations//${FOLDER}/${ID0}/`,
        `stations/../${FOLDER}/${ID0}/`,
        'x'.repeat(2000),
      ].map((folder) => ({ ...good, folder })),
      ...['..', '../x', '50-02-91-c3-37-a5', 'FF:02:91:C3:37:A5', OTHER_MAC, '', 7].map((mac) => ({ ...good, mac })),
      ...['..', '2026-11-23', '2026-13-23T10-00-00Z', null].map((id) => ({ ...good, id })),
      ...['never', '', '9'.repeat(50), 12].map((at) => ({ ...good, at })),
      { ...good, manifestSha256: 'A'.repeat(64) },
      { ...good, manifest: {} },
      { ...good, manifest: other },
      { ...good, manifest: { ...manifest, mac: OTHER_MAC } },
      { ...good, manifest: null },
    ];
    for (const line of hostile) {
      const reading = read(line, good);
      assert.deepEqual([reading.lines.length, reading.strange], [1, 1], JSON.stringify(line).slice(0, 300));
    }
    const { newer, strange } = read({ ...good, manifest: { ...manifest, formatVersion: 99 } });
    assert.deepEqual([newer, strange], [1, 0]);
  });

  test('of a removal: also of what lies in the folder of another station, since one removes for all', () => {
    const gone = { kind: 'removed', mac: MAC, id: ID0, at: WRITTEN };
    assert.equal(read({ ...gone, folder: `stations/other-0123456789ab/${FOLDER}/${ID0}/` }).lines.length, 1);
    assert.equal(read({ ...gone, folder: `x/${FOLDER}/${ID0}/` }).strange, 1);
  });

  test('of marks: no other file, nothing of a third station, nothing long', () => {
    const mark = { kind: 'mark', mac: MAC, file: 'labels.jsonl', line: { at: WRITTEN, label: 'x' } };
    assert.equal(read(mark).lines.length, 1);
    for (const file of ['../labels.jsonl', 'manifest.json', 'elsewhere.jsonl', 'removed.jsonl', 'restoring.json', '']) {
      assert.deepEqual([read({ ...mark, file }).lines.length, read({ ...mark, file }).newer], [0, 1], file);
    }
    for (const line of [{ label: 'x' }, { at: 'x' }, null, 'x', { ...mark.line, station: 'third' }]) {
      assert.equal(read({ ...mark, line }).strange, 1);
    }
    assert.equal(read({ ...mark, line: { ...mark.line, note: 'x'.repeat(200_000) } }).strange, 1);
  });

  test('a time that is far ahead counts as when it was written, in order; one that is a little ahead stays', () => {
    const mark = (at: string) => ({ kind: 'mark', mac: MAC, file: 'labels.jsonl', line: { at, label: at } });
    const soon = '2026-11-25T09:59:59.000Z';
    const { lines } = read(mark(soon), mark('2099-01-01T00:00:00.000Z'), mark('2098-01-01T00:00:00.000Z'));
    const times = lines.map((line) => (line.kind === 'mark' ? line.line.at : ''));
    assert.deepEqual(times, [soon, '2026-11-24T10:00:00.001Z', '2026-11-24T10:00:00.002Z']);
  });
});

describe('a segment', () => {
  test('that is fetched is read in turns with all else that waits', async () => {
    const lines = Array.from({ length: 400 }, (_, index) =>
      JSON.stringify({ kind: 'mark', mac: MAC, file: 'labels.jsonl', line: { at: WRITTEN, label: `${index}` } }),
    );
    const bytes = encodeSegment(head, lines);
    const object = { key: '', sizeBytes: bytes.length, etag: '', ageMs: 0, writtenMs: context.writtenMs, bytes };
    const bucket = { store: { get: () => Promise.resolve(object) }, layout: { prefix: '' }, keys: [] };
    let turns = 0;
    let isOver = false;
    const turn = () => {
      turns++;
      if (!isOver) setImmediate(turn);
    };
    setImmediate(turn);
    const fetched = await fetchSegment(
      bucket as unknown as Bucket,
      { name: STATION, seq: 7, isEncrypted: false },
      new Date(WRITTEN),
      new AbortController().signal,
    );
    isOver = true;
    assert.deepEqual(fetched?.reading, readSegment(bytes, context));
    assert.equal(fetched.reading.kind === 'read' && fetched.reading.lines.length, 400);
    assert.ok(turns >= 40, `${turns} turns`);
  });

  const mark = { kind: 'mark', mac: MAC, file: 'labels.jsonl', line: { at: WRITTEN, label: 'kitchen' } };
  const two = [JSON.stringify(mark), JSON.stringify({ ...mark, line: { ...mark.line, label: 'küche' } })];
  const whole = encodeSegment(head, two);
  const first = whole.indexOf(10) + 1;
  const second = whole.indexOf(10, first) + 1;
  /** As espd wrote them before they had a digest. */
  const older = Buffer.concat([
    Buffer.from(`${JSON.stringify({ kind: 'segment', format: 1, ...head })}\n`),
    whole.subarray(first),
  ]);

  test('with a digest or without one is read', () => {
    for (const bytes of [whole, older]) {
      const reading = readSegment(bytes, context);
      assert.ok(reading.kind === 'read' && reading.lines.length === 2 && reading.strange === 0);
    }
    assert.equal(readSegment(encodeSegment(head, []), context).kind, 'read');
  });

  test('that was cut at any byte is damaged, and never throws', () => {
    for (let length = 0; length < whole.length; length++) {
      assert.equal(readSegment(whole.subarray(0, length), context).kind, 'damaged', String(length));
    }
  });

  test('without a digest that was cut is damaged but for a cut between two lines, which nothing tells', () => {
    const shift = whole.length - older.length;
    for (let length = 0; length < older.length; length++) {
      const { kind } = readSegment(older.subarray(0, length), context);
      assert.equal(kind, [first - shift, second - shift].includes(length) ? 'read' : 'damaged', String(length));
    }
  });

  test('of which any byte behind the first line was changed is damaged', () => {
    for (let at = first; at < whole.length; at++) {
      for (const bit of [0x01, 0x20, 0x80]) {
        const bytes = Buffer.from(whole);
        bytes[at] = (bytes[at] ?? 0) ^ bit;
        assert.equal(readSegment(bytes, context).kind, 'damaged', `byte ${at}, bit ${bit}`);
      }
    }
  });

  test('that has lost or gained whole lines is damaged', () => {
    const [head0 = '', one = '', other = ''] = whole.toString('utf8').split('\n');
    for (const lines of [[head0, other], [head0, one, one, other], [head0, other, one], [head0]]) {
      assert.equal(readSegment(Buffer.from(`${lines.join('\n')}\n`), context).kind, 'damaged', lines.join('\n'));
    }
    assert.equal(readSegment(Buffer.from(whole.toString('utf8').replaceAll('\n', '\r\n')), context).kind, 'damaged');
  });

  test('without a digest of which a line is none is damaged; one of a kind that is refused, or of a later espd, is none', () => {
    const behindHead = (text: string | Uint8Array) => {
      const bytes = Buffer.concat([older.subarray(0, older.indexOf(10) + 1), Buffer.from(text), whole.subarray(first)]);
      return readSegment(bytes, context);
    };
    for (const text of ['\n', 'x\n', '[]\n', '{}\n', '{"kind":1}\n', 'null\n', `${two[0]?.slice(9)}\n`]) {
      assert.equal(behindHead(text).kind, 'damaged', text);
    }
    assert.equal(behindHead(Buffer.from('{"kind":"mark\xff"}\n', 'latin1')).kind, 'damaged');
    assert.deepEqual(
      { ...behindHead('{"kind":"mark"}\n'), lines: 0 },
      { kind: 'read', lines: 0, newer: 0, strange: 1 },
    );
    assert.deepEqual(
      { ...behindHead('{"kind":"poem"}\n'), lines: 0 },
      { kind: 'read', lines: 0, newer: 1, strange: 0 },
    );
  });

  test('law: with bytes of any kind behind it, or of nothing else, it is damaged', () => {
    const anything = fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 300 }),
      fc.json().map((text) => Buffer.from(text)),
    );
    fc.assert(
      fc.property(anything, fc.constantFrom(Buffer.alloc(0), encodeSegment(head, []), older), (bytes, start) => {
        assert.equal(readSegment(Buffer.concat([start, bytes]), context).kind, 'damaged');
      }),
    );
  });

  test('of another station, another number, a later format', () => {
    const bytes = encodeSegment(head, []);
    assert.equal(readSegment(bytes, { ...context, seq: 8 }).kind, 'damaged');
    assert.equal(readSegment(bytes, { ...context, station: 'other-0123456789ab' }).kind, 'damaged');
    const later = Buffer.from(`${JSON.stringify({ kind: 'segment', format: 2, ...head })}\nxyz`);
    assert.equal(readSegment(later, context).kind, 'newer');
  });
});

test('names: there and back, in their order, and no others', () => {
  for (const seq of [1, 9, 10, 9_999_999_999]) {
    const name = segmentName(STATION, seq);
    const file = name.slice(name.lastIndexOf('/') + 1);
    assert.deepEqual(parseSegmentName(file), { seq, isEncrypted: false });
    assert.deepEqual(parseSegmentName(`${file}.enc`), { seq, isEncrypted: true });
    assert.ok(`${name}.enc` < behindSegment(STATION, seq) && name < behindSegment(STATION, seq));
    if (seq < 1e9) assert.ok(behindSegment(STATION, seq) < segmentName(STATION, seq + 1));
  }
  for (const name of [
    '0000000000.jsonl',
    '1.jsonl',
    '00000000001.jsonl',
    '0000000001.jsonl.gz',
    '../0000000001.jsonl',
  ]) {
    assert.equal(parseSegmentName(name), undefined, name);
  }
  assert.equal(stationOf(`journal/${STATION}/`), STATION);
  for (const name of [
    'journal//',
    'journal/../',
    'journal/a b/',
    'journal/x',
    `x/${STATION}/`,
    `journal/${'x'.repeat(65)}/`,
  ]) {
    assert.equal(stationOf(name), undefined, name);
  }
  for (const home of ['', STATION]) {
    const folder = folderOf({ mac: MAC, id: ID0, home });
    assert.deepEqual(parseFolder(folder), { mac: MAC, id: ID0, home });
  }
});
