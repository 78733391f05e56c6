/** Answers by processes: shared, bounded in number, size and time, and ended when nobody wants them. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type ReadingRun, type StartReading, Readings, tagOf } from '../../src/control/readings.ts';
import { EspdError, hasCode } from '../../src/errors.ts';
import { HandClock } from '../simulator/serve/support.ts';

type End = Awaited<ReadingRun['ended']>;

interface Run {
  readonly args: readonly string[];
  readonly say: (text: string | Buffer) => Promise<void>;
  readonly end: (end?: Partial<End>) => void;
  interrupted: number;
}

function bench() {
  const runs: Run[] = [];
  const start: StartReading = (args, onOutput) => {
    let end: Run['end'] = () => undefined;
    const ended = new Promise<End>((resolve) => {
      end = (how = {}) => resolve({ status: 0, error: undefined, document: null, ...how });
    });
    const run: Run = { args, say: (text) => onOutput(Buffer.from(text)), end, interrupted: 0 };
    runs.push(run);
    return {
      ended,
      interrupt: () => {
        run.interrupted++;
        end({ status: 130 });
      },
    };
  };
  const clock = new HandClock();
  return { runs, clock, readings: new Readings({ clock, start }) };
}

const never = () => new AbortController().signal;
/** What has been set off has happened. */
const settle = async () => {
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
};
const code = (wanted: string) => (error: unknown) => hasCode(error, wanted as 'usage');
const TAG = tagOf('diff', 'a', 'b');

describe('documents by processes of their own', () => {
  it('is the output as it came, once for all who ask meanwhile, and remembered by its tag', async () => {
    const { runs, readings } = bench();
    const asked = [readings.document(['diff'], TAG, never()), readings.document(['diff'], TAG, never())];
    await settle();
    assert.deepEqual(
      runs.map(({ args }) => args),
      [['diff', '--json']],
    );
    await runs[0]!.say('{"a":');
    await runs[0]!.say('1}\n');
    runs[0]!.end();
    for (const document of await Promise.all(asked)) assert.equal(document.toString(), '{"a":1}\n');
    assert.equal((await readings.document(['diff'], TAG, never())).toString(), '{"a":1}\n');
    assert.equal(runs.length, 1);
  });

  it('without a tag it is made anew each time', async () => {
    const { runs, readings } = bench();
    for (const text of ['1', '2']) {
      const asked = readings.document(['prune'], undefined, never());
      await settle();
      await runs.at(-1)!.say(text);
      runs.at(-1)!.end();
      assert.equal((await asked).toString(), text);
    }
    assert.equal(runs.length, 2);
  });

  it('runs on while one of those who asked is there, and is ended with the last', async () => {
    const { runs, readings } = bench();
    const [one, other] = [new AbortController(), new AbortController()];
    const gone = new EspdError('interrupted', 'gone');
    const asked = [readings.document(['diff'], TAG, one.signal), readings.document(['diff'], TAG, other.signal)];
    const refused = asked.map((asking) => assert.rejects(asking, (error) => error === gone));
    await settle();
    one.abort(gone);
    await settle();
    assert.equal(runs[0]!.interrupted, 0);
    other.abort(gone);
    await Promise.all(refused);
    await settle();
    assert.equal(runs[0]!.interrupted, 1);
    // What was ended is not remembered, and whoever asks next is answered.
    const again = readings.document(['diff'], TAG, never());
    await settle();
    await runs[1]!.say('{}');
    runs[1]!.end();
    assert.equal((await again).toString(), '{}');
  });

  it('whoever asks in the moment in which it is being ended gets a new one', async () => {
    const { runs, readings } = bench();
    const leaving = new AbortController();
    const gone = new EspdError('interrupted', 'gone');
    const left = assert.rejects(readings.document(['diff'], TAG, leaving.signal), (error) => error === gone);
    await settle();
    leaving.abort(gone);
    await left;
    const asked = readings.document(['diff'], TAG, never());
    await settle();
    await runs.at(-1)!.say('{}');
    runs.at(-1)!.end();
    assert.equal((await asked).toString(), '{}');
  });

  it('its error is that of the command', async () => {
    const { runs, readings } = bench();
    const fail = async (text: string, end: Partial<End>) => {
      const asked = readings.document(['diff'], TAG, never());
      const caught = asked.catch((error: unknown) => error as EspdError);
      await settle();
      if (text !== '') await runs.at(-1)!.say(text);
      runs.at(-1)!.end(end);
      return (await caught) as EspdError;
    };
    const told = { error: { code: 'archive-damaged', message: 'Backup 1 is damaged', hint: 'verify' } };
    const error = await fail(JSON.stringify(told), { status: 4 });
    assert.deepEqual([error.code, error.message, error.hint], ['archive-damaged', 'Backup 1 is damaged', 'verify']);
    for (const text of ['', 'no JSON', '{"error":1}', '{"error":{"code":"no-such","message":"","hint":""}}', 'null']) {
      assert.equal((await fail(text, { status: 1 })).code, 'internal', text);
    }
    const dead = new EspdError('daemon-gone', 'The process was ended by SIGKILL');
    assert.equal(await fail('{"half', { status: undefined, error: dead }), dead);
  });

  it('two at once; the others wait in order, and too many are refused', async () => {
    const { runs, readings } = bench();
    const asked = Array.from({ length: 34 }, (_, index) => readings.document(['diff', `${index}`], undefined, never()));
    await settle();
    assert.equal(runs.length, 2);
    await assert.rejects(readings.document(['diff', 'more'], undefined, never()), code('daemon-busy'));
    for (let index = 0; index < asked.length; index++) {
      assert.deepEqual(runs[index]!.args, ['diff', `${index}`, '--json']);
      await runs[index]!.say(`${index}`);
      runs[index]!.end();
      assert.equal((await asked[index]!).toString(), `${index}`);
      await settle();
      assert.equal(runs.length, Math.min(34, index + 3));
    }
  });

  it('whoever leaves the queue frees the place, and starts nothing', async () => {
    const { runs, readings } = bench();
    const held = [readings.document(['a'], undefined, never()), readings.document(['b'], undefined, never())];
    const leaving = new AbortController();
    const waiting = readings.document(['c'], undefined, leaving.signal);
    const refused = assert.rejects(waiting, code('interrupted'));
    await settle();
    leaving.abort(new EspdError('interrupted', 'gone'));
    await refused;
    for (const run of runs) run.end();
    await Promise.all(held);
    await settle();
    assert.equal(runs.length, 2);
    const last = readings.document(['d'], undefined, never());
    await settle();
    runs[2]!.end();
    await last;
  });

  it('one that takes too long is ended, and says so', async () => {
    const { runs, clock, readings } = bench();
    const asked = readings.document(['diff'], TAG, never());
    const refused = assert.rejects(asked, /took longer than 120 s/);
    await settle();
    clock.advance(120_001);
    await refused;
    assert.equal(runs[0]!.interrupted, 1);
  });

  it('one that writes without end is ended; what it still writes is for nobody', async () => {
    const { runs, readings } = bench();
    const asked = readings.document(['diff'], TAG, never());
    const refused = assert.rejects(asked, /too long/);
    await settle();
    const piece = Buffer.alloc(1024 * 1024, 0x20);
    for (let count = 0; count < 40; count++) await runs[0]!.say(piece);
    await refused;
    assert.ok(runs[0]!.interrupted > 0);
  });

  it('what is remembered is bounded: the one wanted longest ago is forgotten', async () => {
    const { runs, readings } = bench();
    const make = async (name: string) => {
      const asked = readings.document([name], tagOf(name), never());
      await settle();
      if (runs.at(-1)!.args[0] === name) {
        for (let piece = 0; piece < 7; piece++) await runs.at(-1)!.say(Buffer.alloc(1024 * 1024));
        runs.at(-1)!.end();
      }
      return asked;
    };
    for (const name of ['a', 'b', 'a', 'c', 'a', 'b']) await make(name);
    // 16 MiB hold two of 7 MiB: b went for c.
    assert.deepEqual(
      runs.map(({ args }) => args[0]),
      ['a', 'b', 'c', 'b'],
    );
  });

  it('closing ends what runs and what waits', async () => {
    const { runs, readings } = bench();
    const asked = ['a', 'b', 'c'].map((name) => readings.document([name], undefined, never()));
    const refused = asked.map((asking) => assert.rejects(asking, code('interrupted')));
    await settle();
    await readings.close();
    await Promise.all(refused);
    assert.deepEqual(
      runs.map(({ interrupted }) => interrupted),
      [1, 1],
    );
  });
});

describe('parts of images by processes of their own', () => {
  it('comes as fast as it is taken; a failure of the taker ends the process', async () => {
    const { runs, readings } = bench();
    let taken = 0;
    const streaming = readings.stream(
      ['export'],
      (bytes) => {
        taken += bytes.length;
        return taken > 10 ? Promise.reject(new EspdError('interrupted', 'The client has gone')) : Promise.resolve();
      },
      never(),
    );
    const refused = assert.rejects(streaming, /client has gone/);
    await settle();
    await runs[0]!.say('12345678');
    await runs[0]!.say('12345678');
    await refused;
    assert.equal(runs[0]!.interrupted, 1);
    assert.deepEqual(runs[0]!.args, ['export']);
  });

  it('its error stands in the document of the command', async () => {
    const { runs, readings } = bench();
    const streaming = readings.stream(['export'], () => Promise.resolve(), never());
    const refused = assert.rejects(streaming, code('not-in-image'));
    await settle();
    runs[0]!.end({ status: 3, document: { error: { code: 'not-in-image', message: 'No', hint: '' } } });
    await refused;
  });

  it('slow clients of images do not keep documents waiting', async () => {
    const { runs, readings } = bench();
    const streams = Array.from({ length: 6 }, () => readings.stream(['export'], () => Promise.resolve(), never()));
    await settle();
    assert.equal(runs.length, 4);
    const document = readings.document(['diff'], undefined, never());
    await settle();
    assert.equal(runs.length, 5);
    runs[4]!.end();
    await document;
    for (let index = 0; index < 4; index++) runs[index]!.end();
    await settle();
    for (const run of runs) run.end();
    await Promise.all(streams);
  });
});
