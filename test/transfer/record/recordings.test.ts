/** Every file of test/recordings, played to espd's own code: docs/record.md says how one gets there. */

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import { parseRecording } from '../../../src/transfer/record/format.ts';
import { Bench } from '../support.ts';
import { replayOf } from './support.ts';

const folder = new URL('../../recordings/', import.meta.url);
const traces = new URL('../../traces/', import.meta.url);
const filesIn = (place: URL) => readdirSync(place).filter((name) => name.endsWith('.jsonl'));

describe('a recording of a board', () => {
  const names = filesIn(folder);
  assert.ok(names.length > 0);
  for (const name of names) {
    it(`${name} goes as it did`, async (t) => {
      const text = readFileSync(new URL(name, folder), 'utf8');
      const { header, lines } = parseRecording(text);
      const links = [...new Set(lines.map(({ link }) => link ?? 1))];
      for (const link of links) {
        const bench = await Bench.open(t);
        const replay = replayOf(bench, text, link);
        const through = () => replay;
        if (header?.command === 'backup') await bench.backup(bench.board(), { through });
        else await bench.session(bench.board(), () => Promise.resolve(), { through });
        assert.equal(replay.divergence, undefined);
        assert.equal(replay.progress.done, replay.progress.recorded);
      }
    });
  }
});

describe('a conversation that another program recorded', () => {
  for (const name of filesIn(traces)) {
    it(`${name} is read by the same reader`, () => {
      const { header, lines } = parseRecording(readFileSync(new URL(name, traces), 'utf8'));
      assert.equal(header, null);
      assert.ok(lines.length > 0);
    });
  }
});
