/** The page of the ports, live, with a real daemon behind it. */

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
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

  test('a board that is not due is left alone, with the reason; its button backs it up all the same', async () => {
    const { page, complaints } = await station.newPage();
    await page.goto(station.url);
    const board = station.hub.boards[2]!;
    await page.locator('.tile.done').waitFor();
    await station.hub.unplug(board);
    await page.locator('.tile.empty').waitFor();
    const config = await readFile(station.hub.configPath, 'utf8');
    const withDue = async (due: string) => {
      await writeFile(station.hub.configPath, config.replace('watch: {', `watch: { due: ${due},`));
      await station.reload();
    };
    await withDue('1h');
    await station.hub.plugIn(board);
    const tile = page.locator('.tile.left-alone');
    await tile.waitFor({ timeout: PATIENCE_MS });
    assert.match(await tile.innerText(), /LEFT ALONE\s[^]*younger than 1 h \(watch\.due\)/);
    await tile.getByRole('button', { name: /^Back up / }).click();
    await page
      .locator('.tile.done')
      .getByText(/unchanged since/)
      .waitFor({ timeout: PATIENCE_MS });
    await withDue('always');
    assert.deepEqual(complaints, []);
  });

  test('a remote of the config: by its name, away with the reason and the next try, then done; renamed', async () => {
    const { page, complaints } = await station.newPage();
    await page.goto(station.url);
    const board = station.hub.boards[2]!;
    const { served } = board;
    // The test before has left a link to it.
    await station.hub.unplug(board);
    const config = await readFile(station.hub.configPath, 'utf8');
    const withRemote = (name: string) =>
      writeFile(
        station.hub.configPath,
        config.replace('watch: {', `watch: { remotes: [{ name: ${name}, url: '${served.address}' }],`),
      );
    await withRemote('bench-1');
    const tile = page.locator('.tile', { hasText: `bench-1 (${served.address})` });
    await tile.getByText(/^Tried again at \d\d:\d\d:\d\d\.$/).waitFor({ timeout: PATIENCE_MS });
    served.plug();
    await page.locator('.tile.done', { hasText: 'bench-1' }).waitFor({ timeout: PATIENCE_MS });
    assert.match(await tile.innerText(), /DONE\s/);
    assert.doesNotMatch(await tile.innerText(), /unplug/);
    await withRemote('bench-2');
    await page.locator('.tile.done', { hasText: 'bench-2' }).waitFor({ timeout: PATIENCE_MS });
    await writeFile(station.hub.configPath, config);
    // Nobody plugs anything in there: no empty place is left.
    await page.locator('.tile', { hasText: served.address }).waitFor({ state: 'detached' });
    assert.deepEqual(complaints, []);
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
