/** The page of one board: its backups, what is in them, what changed, and what a person writes about it. */

import assert from 'node:assert/strict';
import { appendFile, readFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import type { DemoBoard } from '../../src/cli/demo-hub.ts';
import { missingBrowser, settled } from './browser.ts';
import { PATIENCE_MS, WebStation } from './station.ts';

const skip = missingBrowser() ?? false;
const IN_NVS = 0x9000;

describe('a board', { skip }, () => {
  let station: WebStation;
  let board: DemoBoard;
  let ids: string[];
  let link: string;

  before(async () => {
    station = await WebStation.open(({ configPath }) => appendFile(configPath, 'retention: { keepLast: 1 }\n'));
    board = station.hub.boards[1]!;
    link = `${station.url}#/boards/${board.mac}`;
    // As the board comes from the factory, and changed twice by somebody else.
    for (const [index, fill] of [undefined, 0x11, 0x22].entries()) {
      if (fill !== undefined) {
        await station.hub.unplug(board);
        board.board.flash.load(IN_NVS, Buffer.alloc(64, fill));
      }
      await station.hub.plugIn(board);
      const { backups } = await station.until<{ backups: { id: string }[] }>(
        `/v1/boards/${board.mac}`,
        (document) => document.backups.length === index + 1,
      );
      ids = backups.map(({ id }) => id);
    }
    assert.equal(ids.length, 3);
  });
  after(() => station.close());

  test('its time line, the map of its flash, and what can be downloaded', async () => {
    const { page, complaints } = await station.newPage();
    await page.goto(link);
    await settled(page);
    assert.equal(await page.locator('.time-line > li').count(), 3);
    assert.match(await page.locator('.time-line > li').last().innerText(), /First/);
    const map = page.getByRole('img', { name: /^Map of the flash/ });
    assert.match((await map.getAttribute('aria-label')) ?? '', /1 block changed since/);
    assert.equal(await map.locator('g.cell').count(), 64);
    assert.equal(await map.locator('g.cell.changed circle').count(), 1);
    assert.ok((await map.locator('rect.app').count()) > 10);
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('link', { name: 'Download nvs' }).click(),
    ]);
    const nvs = await readFile(await download.path());
    assert.ok(nvs.equals(board.board.flash.snapshot().subarray(IN_NVS, IN_NVS + 20 * 1024)));
    assert.deepEqual(complaints, []);
  });

  test('what it takes on the disk, and what the policy would do with its backups', async () => {
    const { page, complaints } = await station.newPage();
    await page.goto(link);
    await page.getByText(/ on the disk · seen/).waitFor();
    await page
      .locator('.time-line > li')
      .first()
      .getByText(/4 MB, on the disk \d/)
      .waitFor();
    await page.getByRole('button', { name: 'What would the policy remove?' }).click();
    const policy = page.getByRole('region', { name: 'What the policy would remove' });
    await policy.getByText('1 of 3 backups.').waitFor({ timeout: PATIENCE_MS });
    assert.match(await policy.innerText(), new RegExp(`${ids[1]!} goes`));
    assert.match(await policy.innerText(), new RegExp(`${ids[0]!} stays`));
    assert.deepEqual(complaints, []);
  });

  test('two that are ticked are compared, whichever is ticked first', async () => {
    const { page, complaints } = await station.newPage();
    await page.goto(link);
    await page.getByLabel(`Compare ${ids[2]!}`).check();
    await page.getByText('Tick one more').waitFor();
    await page.getByLabel(`Compare ${ids[0]!}`).check();
    await page.getByRole('heading', { name: 'What changed' }).waitFor();
    await page.getByText('1 of 1024 sectors differ (4 KB)').waitFor();
    await page.getByText(`${ids[0]!} → ${ids[2]!}`).waitFor();
    assert.equal(await page.locator('.flash-map rect.differs').count(), 1);
    await page.getByRole('heading', { name: 'nvs' }).waitFor();
    // The address holds what is shown.
    await page.reload();
    await page.getByText('1 of 1024 sectors differ (4 KB)').waitFor();
    await page.getByRole('button', { name: 'Close' }).click();
    await page.getByRole('link', { name: 'Download the image' }).waitFor();
    assert.deepEqual(complaints, []);
  });

  test('label, group and note, edited in place: another browser sees them, and a wrong label is told of', async () => {
    const [first, second] = [await station.newPage(), await station.newPage()];
    await first.page.goto(link);
    await second.page.goto(`${station.url}#/boards`);
    await first.page.getByRole('button', { name: 'Edit label and note' }).click();
    await first.page.getByLabel('Label').fill('a@b');
    await first.page.getByRole('button', { name: 'Save' }).click();
    await first.page.getByRole('alert').waitFor();
    await first.page.getByLabel('Label').fill('kitchen');
    await first.page.getByLabel('Group').fill('ground floor');
    await first.page.getByLabel('Note').fill('above the sink');
    await first.page.getByLabel('Note').press('Enter');
    await first.page.getByRole('heading', { name: 'kitchen', level: 1 }).waitFor();
    await first.page.getByText('above the sink').waitFor();
    await second.page.getByRole('link', { name: 'kitchen', exact: true }).waitFor({ timeout: PATIENCE_MS });
    assert.deepEqual([...first.complaints, ...second.complaints], []);
  });

  test('what a policy would remove is shown, and a pin takes a backup out of it', async () => {
    const { page } = await station.newPage();
    await page.goto(`${station.url}#/activity`);
    const section = page.getByRole('region', { name: 'What the policy would remove' });
    await section.getByText(/^1 backup, /).waitFor({ timeout: PATIENCE_MS });
    await section.getByText('Each of them, and why').click();
    assert.match(await section.innerText(), new RegExp(ids[1]!));
    const other = await station.newPage();
    await other.page.goto(link);
    await other.page.getByRole('button', { name: `(${ids[1]!})` }).click();
    await other.page.getByText('Pinned').waitFor();
    await section.getByText(/^Nothing/).waitFor({ timeout: PATIENCE_MS });
  });

  test('the events of all that, filtered by topic and by text', async () => {
    const { page, complaints } = await station.newPage();
    await page.goto(`${station.url}#/activity`);
    const events = page.getByRole('region', { name: 'Events' });
    await events.getByText('Job ended').first().waitFor();
    await events.getByLabel('Search').fill('NEW BOARD');
    await events.getByText('1 event', { exact: true }).waitFor();
    await events.getByText('New board').waitFor();
    await events.getByLabel('Of').selectOption('port');
    await events.getByText('0 events').waitFor();
    await events.getByLabel('Search').fill('');
    await events.getByText('Port detached').first().waitFor();
    assert.equal(await events.getByText('Job ended').count(), 0);
    assert.deepEqual(complaints, []);
  });

  test('a board that the archive does not know', async () => {
    const { page } = await station.newPage();
    await page.goto(`${station.url}#/boards/nobody`);
    await page.getByRole('alert').getByText('archive-unknown-board').waitFor();
  });
});
