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
const RESERVE_MS = 3 * 60_000;
/**
 * On a machine that does much else at the time, one of a hundred tries fails for reasons of its own. So in CI a test
 * has a second one, in a fresh guest, and says so aloud; a real fault fails both. Not for more than so many tests.
 */
const SECOND_TRIES = process.env['CI'] === undefined ? 0 : 2;

interface SystemTest {
  readonly name: string;
  readonly work: (lab: Lab) => Promise<void>;
}

const tests: SystemTest[] = [];
const secondTries: string[] = [];
let guest: Lab | undefined;

/** Adds a test; `runSystemTests` runs it. When it fails, its message ends with what espd and the kernel said last. */
export function systemTest(name: string, work: (lab: Lab) => Promise<void>): void {
  tests.push({ name, work });
}

/** Runs what was added and fits the pattern. @throws Error when nothing fits */
export function runSystemTests(pattern: string | undefined, deadlineMs: number): void {
  const wanted = new RegExp(pattern ?? '', 'i');
  const chosen = tests.filter(({ name }) => wanted.test(name));
  if (chosen.length === 0) {
    throw new Error(`no test fits ${String(wanted)}; there are\n${tests.map(({ name }) => `  ${name}\n`).join('')}`);
  }
  for (const { name, work } of chosen) {
    void test(name, async (context) => {
      if (Date.now() > deadlineMs - RESERVE_MS) {
        say(`SKIPPED, as no time is left: ${name}`);
        context.skip('no time left');
        return;
      }
      await runWithSecondTry(context, { name, work });
    });
  }
  after(async () => {
    await guest?.close();
    for (const name of secondTries) say(`passed only when it was tried again: ${name}`);
  });
}

async function runWithSecondTry(context: TestContext, { name, work }: SystemTest): Promise<void> {
  try {
    await runOnce(work);
  } catch (error) {
    if (secondTries.length >= SECOND_TRIES) throw error;
    say(`FAILED, is tried once more in a fresh guest: ${name}\n${(error as Error).message}`);
    secondTries.push(name);
    await runOnce(work);
    context.diagnostic('passed only at the second try');
  }
}

async function runOnce(work: SystemTest['work']): Promise<void> {
  const lab = (guest ??= await Lab.open({ log: say }));
  const limit = new AbortController();
  const late = delay(TRY_LIMIT_MS, undefined, { signal: limit.signal }).then(() => {
    throw new Error(`not finished within ${TRY_LIMIT_MS / 60_000} minutes`);
  });
  late.catch(() => undefined);
  try {
    const running = work(lab).then(() => lab.clear());
    running.catch(() => undefined);
    await Promise.race([running, late]);
  } catch (error) {
    const report = await lab.report();
    guest = undefined;
    await lab.close();
    throw new Error(`${(error as Error).message}\n${report}`, { cause: error });
  } finally {
    limit.abort();
  }
}

function say(line: string): void {
  process.stderr.write(`system tests: ${line}\n`);
}
