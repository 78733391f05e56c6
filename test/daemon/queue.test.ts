import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type Job, JobQueue } from '../../src/daemon/queue.ts';
import { EspdError } from '../../src/errors.ts';

/** A job that ends when it is told to. */
class ToldJob implements Job {
  readonly key: string;
  started = false;
  ends = 0;
  readonly errors: string[] = [];
  end: () => void = () => undefined;
  fail: (error: unknown) => void = () => undefined;
  readonly #done: Promise<void>;

  constructor(key: string) {
    this.key = key;
    this.#done = new Promise<void>((resolve, reject) => {
      this.end = resolve;
      this.fail = reject;
    });
  }

  readonly work = (): Promise<void> => {
    this.started = true;
    return this.#done;
  };
  readonly onError = (error: EspdError): void => void this.errors.push(error.code);
  readonly onEnd = (): void => {
    this.ends++;
  };
}

const toldJobs = (...keys: string[]) => keys.map((key) => new ToldJob(key));
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('the job queue', () => {
  it('gives those that do not yield their turn first, and each kind in its order', async () => {
    const queue = new JobQueue(1);
    const order: string[] = [];
    const add = (key: string, yields: boolean) =>
      queue.add({ key, yields, work: () => Promise.resolve(void order.push(key)), onError: () => undefined });
    for (const [key, yields] of [
      ['r1', true],
      ['r2', true],
      ['r3', true],
      ['b1', false],
      ['b2', false],
    ] as const) {
      assert.ok(add(key, yields));
    }
    assert.ok(queue.cancel('r2'));
    await settled();
    // What had begun goes on.
    assert.deepEqual(order, ['r1', 'b1', 'b2', 'r3']);
  });

  it('runs as many at once as allowed, the others in their order', async () => {
    const queue = new JobQueue(2);
    const jobs = toldJobs('a', 'b', 'c', 'd');
    for (const job of jobs) assert.ok(queue.add(job));
    await settled();
    assert.deepEqual(
      jobs.map((job) => job.started),
      [true, true, false, false],
    );
    assert.deepEqual([queue.activeCount, queue.waitingCount], [2, 2]);
    jobs[1]!.end();
    await settled();
    assert.deepEqual(
      jobs.map((job) => job.started),
      [true, true, true, false],
    );
    queue.parallel = 3;
    await settled();
    assert.ok(jobs[3]!.started);
    for (const job of jobs) job.end();
    await queue.close();
    assert.deepEqual(
      jobs.map((job) => job.ends),
      [1, 1, 1, 1],
    );
  });

  it('starts nothing new while more run than are allowed by now', async () => {
    const queue = new JobQueue(3);
    const jobs = toldJobs('a', 'b', 'c', 'd');
    for (const job of jobs) queue.add(job);
    queue.parallel = 1;
    for (const [index, job] of jobs.slice(0, 2).entries()) {
      job.end();
      await settled();
      assert.equal(jobs[3]!.started, false, `after ${index + 1} have ended`);
    }
    jobs[2]!.end();
    await settled();
    assert.ok(jobs[3]!.started);
    jobs[3]!.end();
    await queue.close();
  });

  it('counts a job as active from its first moment on, and until its key is free', async () => {
    const queue = new JobQueue(1);
    const counts: number[] = [];
    const count = () => {
      counts.push(queue.activeCount);
    };
    const work = () => {
      count();
      return Promise.resolve();
    };
    queue.add({ key: 'port', work, onError: () => assert.fail(), onEnd: count });
    assert.equal(queue.activeCount, 1);
    await settled();
    assert.deepEqual(counts, [1, 0]);
  });

  it('runs one job a key, whether the first one waits or runs', async () => {
    const queue = new JobQueue(1);
    const [first, second] = toldJobs('port', 'other');
    assert.ok(queue.add(first!));
    assert.ok(queue.add(second!));
    assert.ok(!queue.add(new ToldJob('port')));
    assert.ok(!queue.add(new ToldJob('other')));
    first!.end();
    await settled();
    assert.ok(!queue.has('port'));
    assert.ok(queue.has('other'));
    assert.ok(queue.add(first!));
    second!.end();
    await queue.close();
  });

  it('catches every error, and goes on', async () => {
    const queue = new JobQueue(1);
    const [bad, ours] = toldJobs('bad', 'ours');
    queue.add(bad!);
    queue.add(ours!);
    bad!.fail(new TypeError('a fault of ours'));
    await settled();
    assert.deepEqual(bad!.errors, ['internal']);
    assert.ok(ours!.started);
    ours!.fail(new EspdError('no-answer', 'silence'));
    await settled();
    assert.deepEqual([ours!.errors, ours!.ends], [['no-answer'], 1]);
  });

  it('catches what is thrown before there is a promise, and what is no error', async () => {
    const queue = new JobQueue(1);
    const codes: string[] = [];
    const note = (error: EspdError) => void codes.push(`${error.code} ${error.message}`);
    const thrower = (): Promise<void> => {
      throw new Error('at once');
    };
    queue.add({ key: 'a', work: thrower, onError: note });
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- as a careless library may
    queue.add({ key: 'b', work: () => Promise.reject('text'), onError: note });
    queue.add({ key: 'c', work: () => Promise.reject(new DOMException('', 'AbortError')), onError: note });
    await settled();
    assert.deepEqual(codes, ['internal at once', 'internal text', 'interrupted Interrupted']);
    assert.equal(queue.activeCount, 0);
  });

  it('takes the key again as soon as a job tells of its end', async () => {
    const queue = new JobQueue(1);
    const again = new ToldJob('port');
    let taken: boolean | undefined;
    const onEnd = () => (taken = queue.add(again));
    queue.add({ key: 'port', work: () => Promise.resolve(), onError: () => assert.fail(), onEnd });
    await settled();
    assert.deepEqual([taken, again.started], [true, true]);
    again.end();
    await queue.close();
  });

  it('forgets a job that has not started, and not one that runs', async () => {
    const queue = new JobQueue(1);
    const [running, waiting] = toldJobs('running', 'waiting');
    queue.add(running!);
    queue.add(waiting!);
    queue.cancel('waiting');
    queue.cancel('running');
    queue.cancel('unknown');
    assert.deepEqual([queue.has('running'), queue.has('waiting')], [true, false]);
    running!.end();
    await settled();
    assert.deepEqual([running!.ends, waiting!.started, waiting!.ends], [1, false, 0]);
  });

  it('closes when those that run have ended, whatever their end', async () => {
    const queue = new JobQueue(2);
    const [one, other, waiting] = toldJobs('one', 'other', 'waiting');
    for (const job of [one!, other!, waiting!]) queue.add(job);
    await settled();
    let isClosed = false;
    const closed = queue.close().then(() => (isClosed = true));
    assert.ok(!queue.add(new ToldJob('late')));
    one!.fail(new Error('broken'));
    await settled();
    assert.equal(isClosed, false);
    other!.end();
    await closed;
    assert.equal(waiting!.started, false);
  });

  it('starts nothing once it is closed, not even what was just added', async () => {
    const queue = new JobQueue(1);
    const job = new ToldJob('port');
    queue.add(job);
    await queue.close();
    assert.equal(job.started, false);
  });

  it('runs every job exactly once, never more at once than allowed, in any order of ends', async () => {
    const ends = fc.array(fc.nat({ max: 9 }), { minLength: 1, maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 5 }), ends, async (parallel, order) => {
        const queue = new JobQueue(parallel);
        const jobs = order.map((_, index) => new ToldJob(`port ${index}`));
        for (const job of jobs) queue.add(job);
        for (const pick of order) {
          await settled();
          const running = jobs.filter((job) => job.started && job.ends === 0);
          assert.equal(running.length, Math.min(parallel, jobs.filter((job) => job.ends === 0).length));
          const job = running[pick % running.length]!;
          if (pick % 2 === 0) job.end();
          else job.fail(new Error('broken'));
        }
        await settled();
        assert.ok(jobs.every((job) => job.ends === 1));
      }),
      { numRuns: 50 },
    );
  });
});
