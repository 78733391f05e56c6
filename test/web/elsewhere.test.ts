/** Boards that other stations have seen and backed up, in the page: where their backups lie, by whom, and what is unfinished. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Page } from 'playwright-core';
import { OTHER_STATION, STATION, stored } from '../archive/elsewhere/support.ts';
import { ID0, MAC, OTHER_MAC, T0, archiveAt, backUp, image } from '../archive/support.ts';
import { seriousFaults } from './axe.ts';
import { missingBrowser, settled } from './browser.ts';
import { WebStation } from './station.ts';

const skip = missingBrowser() ?? false;
const LATER = '2026-11-25T10:00:00.000Z';
const BEGUN = {
  ...{ at: LATER, state: 'begun', startedAt: LATER, from: { mac: MAC, id: ID0 }, why: 'latest' },
  ...{ snapshot: null, snapshotIsNew: false, regions: [{ offset: 0, sizeBytes: 4096 }] },
  ...{ done: null, parts: null, kept: [], toldFlashBytes: null },
};

/** One backup here, a newer one in the store alone, half restored at another bench; and a board that only others have. */
function stationWithOthers(): Promise<WebStation> {
  return WebStation.open(async ({ archivePath }) => {
    const archive = archiveAt(archivePath);
    await backUp(archive, image(4096));
    const { elsewhere } = archive;
    await elsewhere.note(stored({ station: OTHER_STATION }, image(4096, 3), LATER));
    await elsewhere.note(stored({ mac: OTHER_MAC }, image(4096, 2)));
    await elsewhere.receive(MAC, 'halves.jsonl', OTHER_STATION, [BEGUN]);
    await elsewhere.receive(OTHER_MAC, 'labels.jsonl', STATION, [
      { at: T0, label: 'pump in the garden house', group: 'garden' },
    ]);
    await elsewhere.receive(OTHER_MAC, 'seen.jsonl', OTHER_STATION, [{ at: LATER, id: ID0, port: '/dev/ttyUSB3' }]);
  });
}

/** What sticks out of its row or card stands over the next one. */
function sticksOut(page: Page, box: string): Promise<string[]> {
  return page.evaluate<string[]>(`
    [...document.querySelectorAll(${JSON.stringify(box)})].flatMap((row) => {
      const bounds = row.getBoundingClientRect();
      return [...row.querySelectorAll('*')]
        // What is cut by its own box is not seen.
        .filter((part) => part.closest('.cut') === null)
        .filter((part) => {
          const { top, bottom, left, right } = part.getBoundingClientRect();
          return top < bounds.top - 1 || bottom > bounds.bottom + 1 || left < bounds.left - 1 || right > bounds.right + 1;
        })
        .map((part) => part.className + ': ' + part.textContent);
    })
  `);
}

describe('boards of other stations', { skip, timeout: 300_000 }, () => {
  test('where their backups lie, who has seen them last, and what was interrupted where', async (t) => {
    const station = await stationWithOthers();
    t.after(() => station.close());
    for (const [width, box] of [
      [1280, '.board-row:not(.head)'],
      [1170, '.board-row:not(.head)'],
      [1000, '.board-card'],
      [390, '.board-card'],
    ] as const) {
      const { page, complaints } = await station.newPage({ viewport: { width, height: 844 } });
      await page.goto(`${station.url}#/boards`);
      await page.getByRole('link', { name: 'pump in the garden house', exact: true }).waitFor();
      await settled(page);
      const rows = page.locator(box);
      // An interrupted restore needs somebody first.
      const [half = '', other = ''] = await rows.allInnerTexts();
      assert.match(half, new RegExp(`${MAC}[^]*1 here, 1 in the store`), `${width} px`);
      assert.match(half, /Half restored at bench8/i);
      assert.match(half, /seen[^]*by bench8|ago\s+by bench8/);
      assert.match(other, /0 here, 1 in the store/);
      assert.match(other, /by bench8/);
      assert.deepEqual(await sticksOut(page, box), [], `${width} px`);
      assert.deepEqual(await seriousFaults(page), [], `${width} px`);
      assert.equal(await page.evaluate('document.documentElement.scrollWidth'), width);
      await page.getByText(`The restore of ${MAC} was interrupted at bench8.`).waitFor();
      await page.getByText(/Plug it in, there or here\./).waitFor();

      await page.goto(`${station.url}#/boards/${OTHER_MAC}`);
      await page.getByText('There is no sound backup of this board here.').waitFor();
      await settled(page);
      const text = await page.locator('main').innerText();
      assert.match(text, /1 backup · 0 here, 1 in the store/);
      assert.match(text, /seen .* by bench8/);
      assert.match(text, /In the object store only[^]*blink 1\.0 · by bench7/);
      assert.deepEqual(await sticksOut(page, '.stored'), [], `${width} px`);
      assert.deepEqual(await seriousFaults(page), [], `a board of the store alone, ${width} px`);
      assert.equal(await page.evaluate('document.documentElement.scrollWidth'), width);
      assert.deepEqual(complaints, []);
    }
  });
});
