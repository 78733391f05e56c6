import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { mkdir, readFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { systemClock } from '../../src/clock.ts';
import { parseRecording } from '../../src/transfer/record/format.ts';
import { RecordingTape } from '../../src/transfer/record/recording.ts';
import { Bench, archiveEntries, checkError } from '../support/cli.ts';

const LIMIT = { timeout: 120_000 };

describe('--record', () => {
  test('writes what was said to each board into one new file of its own', LIMIT, async (t) => {
    const bench = await Bench.open(t);
    await bench.addBoard({ family: 'esp32c3', mac: '7c:df:a1:00:00:01' });
    await bench.addBoard({ family: 'esp8266', mac: '50:02:91:00:00:02' });
    const file = join(bench.folder, 'said.jsonl');
    const { status, stderr, json } = await bench.runJson<{ boards: object[] }>(['identify', '--record', file]);
    assert.equal(status, 0, stderr);
    assert.equal(json.boards.length, 2);
    assert.equal(stderr, '');
    const { header, lines } = parseRecording(await readFile(file, 'utf8'));
    assert.deepEqual([header?.command, header?.payload], ['identify', false]);
    assert.deepEqual([...new Set(lines.map(({ link }) => link))].sort(), [1, 2]);
    const opened = lines.filter((line) => line.kind === 'open');
    assert.deepEqual(
      opened.map((line) => ('transport' in line ? line.transport : '')),
      ['rfc2217', 'rfc2217'],
    );
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    // Nothing is overwritten, and no board is touched before that is known.
    const again = await bench.run(['identify', '--record', file]);
    checkError(again, 'output-exists');
    assert.ok(!again.stdout.includes('7c:df:a1'));
    const other = await bench.run(['identify', '--record', join(bench.folder, 'other.jsonl')]);
    assert.match(other.stderr, /no bytes of flash are in it, but the MAC is/);
  });

  test('says what is wrong with the file before any board is touched', LIMIT, async (t) => {
    const bench = await Bench.open(t);
    const { board } = await bench.addBoard({ family: 'esp32c3' });
    checkError(await bench.run(['identify', '--record', join(bench.folder, 'none', 'x')]), 'output-unwritable');
    checkError(await bench.run(['identify', '--with-payload']), 'usage');
    assert.equal(board.wireBytes.toBoard, 0);
  });

  test('a file that cannot be finished takes the recording, and not the backup', LIMIT, async (t) => {
    const bench = await Bench.open(t);
    await bench.addBoard({ family: 'esp32c3' });
    const folder = join(bench.folder, 'out');
    await mkdir(folder);
    let hasBegun = false;
    const { status, stderr } = await bench.run(['backup', '--record', join(folder, 'x.jsonl')], {
      tty: true,
      onOutput: () => {
        // Somebody else makes the file while the board is worked on.
        if (!hasBegun) writeFileSync(join(folder, 'x.jsonl'), 'not mine');
        hasBegun = true;
      },
    });
    assert.equal(status, 0, stderr);
    assert.match(stderr, /x\.jsonl exists, and no file is overwritten/);
    assert.deepEqual(await readdir(folder), ['x.jsonl'], 'no part of a recording is left');
    assert.equal((await archiveEntries(bench.archivePath)).ids.length, 1);
  });
});

describe('a recording whose file is too slow', () => {
  const tape = () =>
    new RecordingTape({
      ...{ clock: systemClock, command: 'backup', withPayload: true },
      usbOf: () => Promise.reject(new Error('nobody knows')),
    });

  test('ends in order, with all that was said', LIMIT, async () => {
    const one = tape();
    one.end();
    let text = '';
    for await (const part of one.content()) text += part;
    assert.equal(parseRecording(text).header?.payload, true);
    assert.equal(one.isGivenUp, false);
  });

  test('takes no more memory once nobody takes it', LIMIT, async () => {
    const one = tape();
    const content = one.content();
    await content.next();
    await content.return(undefined);
    assert.deepEqual(await content.next(), { done: true, value: undefined });
  });
});
