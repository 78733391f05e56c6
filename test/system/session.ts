/**
 * Runs the system tests, one after the other, in one guest that boots with the first; each begins with nothing plugged
 * in. After a failure the guest may be in any state, so the next test gets a fresh one.
 */

import { after, test, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Lab } from './lab.ts';

/** Limit of one try. The longest take two minutes in software emulation on an idle machine. */
const TRY_LIMIT_MS = 10 * 60_000;
/** What a test, its guest included, may need: with less than this left until the deadline none is begun. */
const RESERVE_MS = 4 * 60_000;
/**
 * On a machine that does much else at the time, one of a hundred tries fails for reasons of its own. So in CI a test
 * has a second one, in a fresh guest, and says so aloud; a real fault fails both. Not for more than so many tests.
 */
const SECOND_TRIES = process.env['CI'] === undefined ? 0 : 2;

interface SystemTest {
  readonly name: string;
  readonly work: (lab: Lab) => Promise<void>;
}

/** The whole run may take no longer, which says nothing about the test. */
class NoTimeLeft extends Error {}

const tests: SystemTest[] = [];
const secondTries: string[] = [];
let guest: Lab | undefined;

/** Adds a test; `runSystemTests` runs it. When it fails, its message ends with what espd and the kernel said last. */
export function systemTest(name: string, work: (lab: Lab) => Promise<void>): void {
  tests.push({ name, work });
}

/** Runs what was added and fits the pattern, and skips what is not over at the deadline. @throws Error when nothing fits */
export function runSystemTests(pattern: string | undefined, deadlineMs: number): void {
  const wanted = new RegExp(pattern ?? '', 'i');
  const chosen = tests.filter(({ name }) => wanted.test(name));
  if (chosen.length === 0) {
    throw new Error(`no test fits ${String(wanted)}; there are\n${tests.map(({ name }) => `  ${name}\n`).join('')}`);
  }
  for (const { name, work } of chosen) {
    void test(name, async (context) => {
      try {
        await runWithSecondTry(context, { name, work }, deadlineMs);
      } catch (error) {
        if (!(error instanceof NoTimeLeft)) throw error;
        say(`SKIPPED, as no time is left: ${name}`);
        context.skip('no time left');
      }
    });
  }
  after(async () => {
    await guest?.close();
    for (const name of secondTries) say(`had to be tried twice: ${name}`);
  });
}

async function runWithSecondTry(context: TestContext, { name, work }: SystemTest, deadlineMs: number): Promise<void> {
  try {
    await runOnce(work, deadlineMs);
  } catch (error) {
    const hasTime = deadlineMs - Date.now() > RESERVE_MS;
    if (error instanceof NoTimeLeft || secondTries.length >= SECOND_TRIES || !hasTime) throw error;
    say(`FAILED, is tried once more in a fresh guest: ${name}\n${(error as Error).message}`);
    secondTries.push(name);
    await runOnce(work, deadlineMs).catch((second: unknown) => {
      // It has failed, and there is no time to show that it can do better.
      throw second instanceof NoTimeLeft ? error : second;
    });
    context.diagnostic('passed only at the second try');
  }
}

async function runOnce(work: SystemTest['work'], deadlineMs: number): Promise<void> {
  if (deadlineMs - Date.now() < RESERVE_MS) throw new NoTimeLeft();
  const lab = (guest ??= await Lab.open({ log: say }));
  const leftMs = deadlineMs - Date.now();
  const limit = new AbortController();
  const late = delay(Math.min(TRY_LIMIT_MS, leftMs), undefined, { signal: limit.signal }).then(() => {
    if (leftMs < TRY_LIMIT_MS) throw new NoTimeLeft();
    throw new Error(`not finished within ${TRY_LIMIT_MS / 60_000} minutes`);
  });
  late.catch(() => undefined);
  try {
    const running = work(lab).then(() => lab.clear());
    running.catch(() => undefined);
    await Promise.race([running, late]);
  } catch (error) {
    guest = undefined;
    if (error instanceof NoTimeLeft) {
      await lab.close();
      throw error;
    }
    const report = await lab.report();
    await lab.close();
    throw new Error(`${(error as Error).message}\n${report}`, { cause: error });
  } finally {
    limit.abort();
  }
}

function say(line: string): void {
  process.stderr.write(`system tests: ${line}\n`);
}
