/** The page of the ports, live, with a real daemon behind it. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { missingBrowser } from './browser.ts';
import { PATIENCE_MS, WebStation } from './station.ts';

const skip = missingBrowser() ?? false;

describe('the page of the ports', { skip }, () => {
  let station: WebStation;
  before(async () => {
    station = await WebStation.open();
  });
  after(() => station.close());

  test('a board is plugged in, worked at, done, and pulled out: its place stays, empty', async () => {
    const { page, complaints } = await station.newPage();
    await page.goto(station.url);
    await page.getByText('Nothing is plugged in.').waitFor();
    const board = station.hub.boards[1]!;
    await station.hub.plugIn(board);
    const tile = page.locator('.tile');
    await page.locator('.tile.working progress').first().waitFor();
    await page.locator('.tile.done').waitFor({ timeout: PATIENCE_MS });
    assert.match(await tile.innerText(), /DONE\s+24:0a:c4:12:45:56\s+ESP32-D0WD-V3\s+It may be unplugged\./);
    assert.match(await tile.innerText(), /backed up as \d{4}-\d\d-\d\dT/);
    await station.hub.unplug(board);
    await page.locator('.tile.empty').waitFor();
    await page.getByRole('button', { name: /^Forget / }).click();
    await page.getByText('Nothing is plugged in.').waitFor();
    assert.deepEqual(complaints, []);
  });

  test('pulled out in the middle: nothing is left that works, and the next plug-in ends well', async () => {
    const { page, complaints } = await station.newPage();
    await page.goto(station.url);
    const board = station.hub.boards[0]!;
    await station.hub.plugIn(board);
    await page.locator('.tile.working').waitFor();
    await page.getByText(/reading/).waitFor();
    await station.hub.unplug(board);
    await page.locator('.tile.working').waitFor({ state: 'detached' });
    await page.locator('.tile.empty').waitFor();
    await station.hub.plugIn(board);
    await page.locator('.tile.done').waitFor({ timeout: PATIENCE_MS });
    await station.hub.unplug(board);
    assert.deepEqual(complaints, []);
  });

  test('held and released by its buttons, in two browsers at once', async () => {
    const [first, second] = [await station.newPage(), await station.newPage()];
    await station.backedUp(2);
    for (const { page } of [first, second]) {
      await page.goto(station.url);
      await page.locator('.tile.done').waitFor();
    }
    await first.page.getByRole('button', { name: /^Hold / }).click();
    for (const { page } of [first, second]) {
      await page.locator('.tile.held').getByText('by the page').waitFor();
    }
    await second.page.getByRole('button', { name: /^Release / }).click();
    for (const { page, complaints } of [first, second]) {
      await page.locator('.tile.held').waitFor({ state: 'detached' });
      assert.deepEqual(complaints, []);
    }
  });

  test('the daemon ends and begins again: the page says so, and goes on by itself', async () => {
    const { page } = await station.newPage();
    await page.goto(station.url);
    await page.getByText('Live', { exact: true }).waitFor();
    await station.stopDaemon();
    await page.getByText('No connection').waitFor();
    await station.startDaemon();
    await page.getByText('The daemon was started again').waitFor({ timeout: PATIENCE_MS });
    await page.getByText('Live', { exact: true }).waitFor();
  });
});
