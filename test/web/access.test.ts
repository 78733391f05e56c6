/** Who cannot see, or cannot use a mouse: axe finds nothing serious, and all can be done by keyboard. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import axe from 'axe-core';
import type { Page } from 'playwright-core';
import { missingBrowser, settled } from './browser.ts';
import { WebStation } from './station.ts';

const skip = missingBrowser() ?? false;

interface AxeResults {
  readonly violations: readonly {
    readonly id: string;
    readonly impact: string;
    readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[];
  }[];
}

async function seriousFaults(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate<AxeResults>('axe.run(document)');
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html}\n${failureSummary}`));
}

describe('access', { skip }, () => {
  let station: WebStation;
  let mac: string;
  before(async () => {
    station = await WebStation.open();
    mac = await station.backedUp(0);
  });
  after(() => station.close());

  const pages = () => [
    'ports',
    'boards',
    `boards/${mac}`,
    `boards/${mac}/restore`,
    'production',
    'activity',
    'doctor',
    'jobs/1',
  ];

  for (const colorScheme of ['light', 'dark'] as const) {
    test(`axe finds nothing serious on any page, ${colorScheme}`, async () => {
      const { page } = await station.newPage({ colorScheme });
      for (const path of pages()) {
        await page.goto(`${station.url}#/${path}`);
        await settled(page);
        assert.deepEqual(await seriousFaults(page), [], path);
      }
    });
  }

  test('every page fits a phone of 390 px, and axe finds nothing serious there either', async () => {
    const { page } = await station.newPage({ viewport: { width: 390, height: 844 } });
    for (const path of pages()) {
      await page.goto(`${station.url}#/${path}`);
      await settled(page);
      assert.equal(await page.evaluate('document.documentElement.scrollWidth'), 390, path);
      assert.deepEqual(await seriousFaults(page), [], path);
    }
  });

  test('by keyboard alone: past the navigation, to a board, to its restore', async () => {
    const { page, complaints } = await station.newPage();
    await page.goto(`${station.url}#/boards`);
    await page.getByRole('link', { name: mac, exact: true }).waitFor();
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate('document.activeElement.textContent'), 'Skip to the content');
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate('document.activeElement.id'), 'main');
    const wanted = `Restore ${mac}`;
    for (let presses = 0; presses < 40; presses++) {
      await page.keyboard.press('Tab');
      if ((await page.evaluate('document.activeElement.getAttribute("aria-label")')) === wanted) break;
    }
    assert.equal(await page.evaluate('document.activeElement.getAttribute("aria-label")'), wanted);
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: wanted, level: 1 }).waitFor();
    // Who followed the link goes on reading at what it has brought.
    assert.equal(await page.evaluate('document.activeElement.id'), 'main');
    assert.deepEqual(complaints, []);
  });

  test('dark and light by hand, remembered by the browser', async () => {
    const { page } = await station.newPage({ colorScheme: 'light' });
    await page.goto(station.url);
    const ground = () => page.evaluate('getComputedStyle(document.documentElement).backgroundColor');
    await page.locator('h1').waitFor();
    const light = await ground();
    await page.getByLabel('Colours').selectOption('dark');
    const dark = await ground();
    assert.notEqual(dark, light);
    await page.reload();
    await page.locator('h1').waitFor();
    assert.equal(await ground(), dark);
  });
});
