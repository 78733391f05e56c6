/** A real browser for the tests of the page: Debian's Chromium, one for all tests of a file. */

import { existsSync } from 'node:fs';
import { after } from 'node:test';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { CHROMIUM, startChromium } from './chromium.ts';

/** Why the tests of the page cannot run here; undefined = they can. In CI a missing browser is a failure. */
export function missingBrowser(): string | undefined {
  if (existsSync(CHROMIUM)) return undefined;
  if (process.env['CI'] === 'true') return undefined;
  const why = `no ${CHROMIUM}: the tests of the page are skipped (apt-get install chromium)`;
  process.stderr.write(`espd: ${why}\n`);
  return why;
}

let running: Promise<Browser> | undefined;

/** One browser for each test file; it ends with the file. */
function browser(): Promise<Browser> {
  running ??= startChromium();
  return running;
}

after(async () => {
  await (await running)?.close();
});

export interface OpenPage {
  readonly page: Page;
  /** What the page complained of on its console, and errors that it did not catch. */
  readonly complaints: string[];
}

/**
 * A page of its own, with storage of its own.
 * @param session a cookie of the server at `url`; absent = nobody has logged in
 */
export async function newPage(
  options: BrowserContextOptions = {},
  session?: { readonly url: string; readonly name: string; readonly value: string },
): Promise<OpenPage> {
  const context = await (await browser()).newContext(options);
  if (session !== undefined) await context.addCookies([session]);
  context.setDefaultTimeout(60_000);
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(`error: ${error.message}`));
  page.on('console', (message) => {
    // The browser tells of answers that are errors; the page handles those.
    const isAnswer = /^Failed to load resource/.test(message.text());
    if (message.type() === 'error' && !isAnswer) complaints.push(message.text());
  });
  return { page, complaints };
}
/** Waits until nothing that the page shows is being looked for; the stream of events never ends. */
export async function settled(page: Page): Promise<void> {
  await page.locator('h1').waitFor();
  for (let tries = 0; tries < 600; tries++) {
    const text = (await page.locator('#app').innerText()).trim();
    if (!/…\s*$/m.test(text)) return;
    await page.waitForTimeout(100);
  }
  throw new Error(`the page never settled: ${await page.locator('#app').innerText()}`);
}
