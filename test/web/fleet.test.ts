/** Many boards, and boards with names that somebody made up to do harm. */

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, describe, test } from 'node:test';
import type { BrowserContextOptions, Page } from 'playwright-core';
import { demoImage } from '../../src/simulator/index.ts';
import { ApiBench } from '../control/support.ts';
import { KIB } from '../daemon/workshop.ts';
import { boardMac, fillArchive } from '../support/fill-archive.ts';
import { missingBrowser, newPage, settled } from './browser.ts';
import { openSession, servePage } from './page-server.ts';

const skip = missingBrowser() ?? false;

async function pageOf(t: TestContext, bench: ApiBench, options: BrowserContextOptions = {}) {
  const server = await servePage(bench.socketPath);
  t.after(() => server.close());
  const { url } = server;
  return { url, ...(await newPage(options, { url, ...(await openSession(server)) })) };
}

/** Nothing sticks out to the right: on a phone a page that has to be dragged sideways cannot be read. */
function fitsItsWidth(page: Page): Promise<boolean> {
  return page.evaluate<boolean>('document.documentElement.scrollWidth <= innerWidth');
}

describe('a fleet of 2,000 boards', { skip }, () => {
  const BOARDS = 2000;

  test('only what is on the screen is in the document; found, filtered, and sorted', async (t) => {
    const root = await mkdtemp(join(tmpdir(), 'espd-fleet-'));
    t.after(() => rm(root, { recursive: true, force: true }));
    fillArchive(root, BOARDS, 1, 4 * KIB);
    const bench = await ApiBench.open(t, { root });
    const { page, complaints, url } = await pageOf(t, bench);
    await page.goto(`${url}#/boards?sort=mac`);
    const table = page.getByRole('table', { name: 'Boards' });
    await table.waitFor();
    await page.getByText('2000 boards').waitFor();
    assert.equal(await table.getAttribute('aria-rowcount'), String(BOARDS + 1));
    const rows = page.locator('.board-row:not(.head)');
    assert.ok((await rows.count()) < 60, 'rows in the document');
    assert.equal(await rows.first().locator('.board-name').innerText(), boardMac(0));

    await page.evaluate('scrollTo(0, document.documentElement.scrollHeight)');
    await page.getByRole('link', { name: boardMac(BOARDS - 1), exact: true }).waitFor();
    assert.ok((await rows.count()) < 60, 'rows in the document at the end');

    await page.evaluate('scrollTo(0, 0)');
    await page.keyboard.press('/');
    await page.keyboard.type(boardMac(1234).replaceAll(':', '-').toUpperCase());
    await page.getByText('1 of 2000 boards').waitFor();
    assert.equal(await rows.first().locator('.board-name').innerText(), boardMac(1234));
    await page.getByRole('searchbox').fill('');
    await page.getByRole('combobox', { name: 'Only' }).selectOption('damaged');
    await page.getByText('No board fits.').waitFor();
    await page.getByRole('textbox', { name: 'Firmware' }).fill('Tasmota 13');
    await page.getByText('"13" looks like a version').waitFor();
    assert.deepEqual(complaints, []);
  });
});

describe('hostile names', { skip }, () => {
  const SCRIPT = '<img src=x onerror="document.title=1"><script>document.title=1</script>';
  const RIGHT_TO_LEFT = '\u202egnp.exe\u2066';
  const LONG = 'W'.repeat(4096);

  function hostileContents(): object {
    const name = `${SCRIPT}${RIGHT_TO_LEFT}`;
    const part = { name, type: SCRIPT, subtype: LONG, offset: 0, sizeBytes: 256 * KIB };
    const key = { key: name, type: SCRIPT, sizeBytes: 9, secret: false, value: LONG };
    return {
      ...{ mac: '', id: '', sizeBytes: 256 * KIB, before: null, boots: name, opaque: null, problems: [name] },
      map: { blockBytes: 64 * KIB, cells: ['data', 'blank', 'data', 'data'] },
      firmware: { name, version: LONG },
      partitions: [part],
      parts: [{ ...part, kind: 'partition' }],
      nvs: [{ partition: name, state: 'plain', namespaces: [{ name, keys: [key] }], more: 0, problems: [LONG] }],
      files: [
        {
          partition: name,
          kind: null,
          more: 0,
          problems: [],
          entries: [{ path: LONG + name, isFolder: false, sizeBytes: 1 }],
        },
      ],
    };
  }

  test('of USB, firmware, labels, notes and groups: shown as text, on every page, on a phone', async (t) => {
    const bench = await ApiBench.open(t);
    const content = demoImage({
      ...{ family: 'esp32', sizeBytes: 256 * KIB, appBytes: 40 * KIB, seed: 1 },
      ...{ projectName: '<b>\u202eevil', version: '<i>1' },
    });
    const board = bench.shop.board({ content, usbFacts: { product: SCRIPT + RIGHT_TO_LEFT + LONG, location: SCRIPT } });
    const silent = bench.shop.board({ slot: 1, usbFacts: { product: `${RIGHT_TO_LEFT}${SCRIPT}` } });
    bench.shop.plug(board);
    await bench.shop.until(() => bench.shop.eventsOf('job-done').length === 1, 'the backup');
    bench.shop.beforeOpen = () => Promise.reject(new Error(SCRIPT + RIGHT_TO_LEFT + LONG));
    bench.shop.plug(silent);
    const { page, complaints, url } = await pageOf(t, bench, { viewport: { width: 390, height: 844 } });
    // In the bench no process reads images; what one would tell of this one is as bad as the rest.
    await page.route('**/contents', (asked) => asked.fulfill({ json: hostileContents() }));
    await page.route('**/v1/retention', (asked) => asked.fulfill({ json: { policy: null, backups: [] } }));
    // Labels and notes are checked when they are given; a page that believes that has one guard too few.
    await page.route('**/v1/boards', async (asked) => {
      const answer = await asked.fetch();
      const document = (await answer.json()) as { boards: Record<string, unknown>[] };
      for (const row of document.boards)
        Object.assign(row, { label: SCRIPT + RIGHT_TO_LEFT + LONG, group: SCRIPT, note: LONG });
      await asked.fulfill({ response: answer, json: document });
    });
    for (const path of [
      'ports',
      'boards',
      `boards/${board.board.mac}`,
      `boards/${board.board.mac}/restore`,
      'activity',
    ]) {
      await page.goto(`${url}#/${path}`);
      await page.locator('h1').waitFor();
      await page.getByText('Live', { exact: true }).waitFor();
      await settled(page);
      assert.ok(await fitsItsWidth(page), `${path} is too wide`);
      const text = await page.locator('main').innerText();
      assert.doesNotMatch(text, /[\u202a-\u202e\u2066-\u2069]/, path);
      assert.equal(await page.locator('main img, main script, main b').count(), 0, path);
      assert.match(await page.title(), / · espd$/);
    }
    await page.goto(`${url}#/ports`);
    await page.getByText('<img src=x').first().waitFor();
    assert.deepEqual(complaints, []);
  });
});
