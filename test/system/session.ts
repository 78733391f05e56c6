/** One guest for all system tests: it boots with the first, and each test begins with nothing plugged in. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Lab } from './lab.ts';

/** Longest time of one test; the longest take a minute or two in software emulation. */
const TEST_TIMEOUT_MS = 6 * 60_000;
/** Building the guest included, where the cache has none. */
const OPEN_TIMEOUT_MS = 15 * 60_000;

let opening: Promise<Lab> | undefined;

function say(line: string): void {
  process.stderr.write(`system tests: ${line}\n`);
}

before(
  async () => {
    opening = Lab.open({ log: say });
    await opening;
  },
  { timeout: OPEN_TIMEOUT_MS },
);

after(async () => {
  await (await opening?.catch(() => undefined))?.close();
});

/** A test in the guest. When it fails, the message ends with what espd and the kernel said last. */
export function systemTest(name: string, work: (lab: Lab) => Promise<void>): void {
  void test(name, { timeout: TEST_TIMEOUT_MS }, async () => {
    const lab = await opening;
    assert.ok(lab !== undefined);
    try {
      await work(lab);
      await lab.clear();
    } catch (error) {
      const report = await lab.report();
      // The next test needs a clean guest; that this one failed is what counts here.
      await lab.clear().catch(() => undefined);
      throw new Error(`${(error as Error).message}\n${report}`, { cause: error });
    }
  });
}
