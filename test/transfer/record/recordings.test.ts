/** Every file of test/recordings, played to espd's own code: docs/record.md says how one gets there. */

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import { parseRecording } from '../../../src/transfer/record/format.ts';
import { replayRecording } from '../../support/replay-recording.ts';

const folder = new URL('../../recordings/', import.meta.url);
const traces = new URL('../../traces/', import.meta.url);
const filesIn = (place: URL) => readdirSync(place).filter((name) => name.endsWith('.jsonl'));

describe('a recording of a board', () => {
  const names = filesIn(folder);
  assert.ok(names.length > 0);
  for (const name of names) {
    it(`${name} goes as it did`, async (t) => {
      const text = readFileSync(new URL(name, folder), 'utf8');
      const replayed = await replayRecording(t, text);
      assert.ok(replayed.length > 0);
      for (const { divergence, done, recorded } of replayed) {
        assert.equal(divergence, undefined);
        assert.equal(done, recorded);
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
