/** A restore as a walk, on a simulated board, through the daemon and a process of its own. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { DemoBoard } from '../../src/cli/demo-hub.ts';
import { createBoard } from '../../src/simulator/index.ts';
import { serveRfc2217 } from '../../src/simulator/serve/rfc2217.ts';
import { missingBrowser } from './browser.ts';
import { PATIENCE_MS, WebStation } from './station.ts';

const skip = missingBrowser() ?? false;
const SECTOR = 0x9000;
const IN_APP = 0x10000;

describe('a restore', { skip }, () => {
  let station: WebStation;
  let board: DemoBoard;
  let factory: Buffer;
  before(async () => {
    station = await WebStation.open();
    board = station.hub.boards[1]!;
    factory = board.board.flash.snapshot();
    await station.backedUp(1);
  });
  after(() => station.close());

  /** As something else has written it. */
  const spoil = () => board.board.flash.load(SECTOR, Buffer.alloc(64, 0x5a));

  async function toThePlan() {
    const opened = await station.newPage();
    const { page } = opened;
    await page.goto(`${station.url}#/boards/${board.mac}/restore`);
    // The first one: what stood there before a restore is a backup of its own by then, and the latest.
    await page.getByRole('group', { name: 'Which backup' }).getByRole('radio').last().check();
    await page.getByRole('button', { name: 'See the plan' }).click();
    await page.getByLabel(/^Type the last four digits/).waitFor({ timeout: PATIENCE_MS });
    return opened;
  }

  test('the plan is shown, four digits are wanted, and the chip confirms', async () => {
    spoil();
    const { page, complaints } = await toThePlan();
    const plan = await page.locator('main').innerText();
    assert.match(plan, /24:0a:c4:12:45:56/);
    assert.match(plan, /1 sector \(4 KB\)/);
    assert.match(plan, /At risk\s+Settings and files on the board/);
    const write = page.getByRole('button', { name: 'Write 4 KB' });
    const digits = page.getByLabel(/^Type the last four digits/);
    for (const wrong of ['', '4555', '0000', '456']) {
      await digits.fill(wrong);
      assert.ok(await write.isDisabled(), wrong);
      await digits.press('Enter');
    }
    assert.ok(!board.board.flash.snapshot().equals(factory), 'nothing is written without the digits');
    await digits.fill('45:56');
    await write.click();
    await page.getByText('CONFIRMED', { exact: true }).waitFor({ timeout: PATIENCE_MS });
    assert.match(await page.locator('.outcome').innerText(), /Written: 1 sector, 4 KB/);
    assert.ok(board.board.flash.snapshot().equals(factory), 'the flash is that of the backup');
    assert.deepEqual(complaints, []);
  });

  test('a restore that was done stands on the page of its board, and is undone', async () => {
    const { page, complaints } = await station.newPage();
    await page.goto(`${station.url}#/boards/${board.mac}`);
    const restores = page.getByRole('region', { name: 'Restores' });
    await restores.getByText('Before:').waitFor();
    assert.equal(await restores.locator('li').count(), 1);
    await restores.getByRole('button', { name: 'Undo' }).click();
    await page.getByLabel(/^Type the last four digits/).fill('4556', { timeout: PATIENCE_MS });
    await page.getByRole('button', { name: 'Write 4 KB' }).click();
    await page.getByText('CONFIRMED', { exact: true }).waitFor({ timeout: PATIENCE_MS });
    const flash = board.board.flash.snapshot();
    assert.ok(
      flash.subarray(SECTOR, SECTOR + 64).every((byte) => byte === 0x5a),
      'as it was before that restore',
    );
    await page.getByRole('link', { name: 'To the board' }).click();
    await page.getByRole('region', { name: 'Restores' }).locator('li').nth(1).waitFor();
    assert.deepEqual(complaints, []);
  });

  test('no: the board stays as it is, and a second browser is told while the question stands', async () => {
    spoil();
    const before = board.board.flash.snapshot();
    const { page } = await toThePlan();
    const other = await station.newPage();
    await other.page.goto(station.url);
    await other.page.getByText('A restore waits for your answer').waitFor();
    await page.getByRole('button', { name: /^No, leave/ }).click();
    await page.getByRole('heading', { name: 'Stopped' }).waitFor({ timeout: PATIENCE_MS });
    await other.page.getByText('A restore waits for your answer').waitFor({ state: 'detached' });
    assert.ok(board.board.flash.snapshot().equals(before));
  });

  test('refused: another board is at the port that was named', async () => {
    const mac = await station.backedUp(2);
    const { ports } = (await station.ask('/v1/ports')) as { ports: { mac: string; port: string }[] };
    const { page } = await station.newPage();
    await page.goto(`${station.url}#/boards/${board.mac}/restore`);
    await page.getByLabel('Port').selectOption(ports.find((port) => port.mac === mac)!.port);
    const flash = station.hub.boards[2]!.board.flash.snapshot();
    await page.getByRole('button', { name: 'See the plan' }).click();
    await page.getByRole('heading', { name: 'Not restored' }).waitFor({ timeout: PATIENCE_MS });
    const told = await page.getByRole('alert').innerText();
    assert.match(told, new RegExp(`${mac}|${board.mac}`));
    assert.ok(station.hub.boards[2]!.board.flash.snapshot().equals(flash));
  });

  test('onto another board that is meant on purpose: the digits are of that one', async () => {
    // The same chip and flash, or it would be refused.
    const other = createBoard({
      ...{ family: 'esp32', mac: '24:0a:c4:99:99:01', jedec: [0xc8, 0x40, 0x16], line: { latencyMs: 1 } },
      content: Buffer.alloc(4 * 1024 * 1024, 0xff),
    });
    const served = await serveRfc2217(other);
    const place = join(station.folder, 'ports', 'other');
    await symlink(served.address, place);
    await station.until<{ ports: { mac: string; state: string }[] }>('/v1/ports', ({ ports }) =>
      ports.some(({ mac, state }) => mac === '24:0a:c4:99:99:01' && state === 'done'),
    );
    const { page, complaints } = await station.newPage();
    await page.goto(`${station.url}#/boards/${board.mac}/restore`);
    await page.getByRole('group', { name: 'Which backup' }).getByRole('radio').last().check();
    const to = page.getByLabel(/^Another board on purpose/);
    await to.fill('24:0a');
    await page.getByRole('button', { name: 'See the plan' }).click();
    await page.getByRole('alert').getByText('is no MAC').waitFor();
    await to.fill('24-0A-C4-99-99-01');
    await page.getByText(/goes onto another board/).waitFor();
    await page.getByRole('button', { name: 'See the plan' }).click();
    const digits = page.getByLabel(/^Type the last four digits/);
    await digits.fill('4556', { timeout: PATIENCE_MS });
    const write = page.getByRole('button', { name: /^Write / });
    assert.ok(await write.isDisabled(), 'the digits of the board that the image is of');
    await digits.fill('9901');
    await write.click();
    await page.getByText('CONFIRMED', { exact: true }).waitFor({ timeout: PATIENCE_MS });
    assert.ok(other.flash.snapshot().equals(factory));
    assert.deepEqual(complaints, []);
    await rm(place);
    await served.close();
  });

  test('pulled out in the middle: offered at the top of every page, and finished', async () => {
    await station.hub.unplug(board);
    board.board.flash.load(IN_APP, randomBytes(1024 * 1024));
    await station.hub.plugIn(board);
    await station.until<{ ports: { mac: string; state: string }[] }>('/v1/ports', ({ ports }) =>
      ports.some(({ mac, state }) => mac === board.mac && state === 'done'),
    );
    const { page, complaints } = await toThePlan();
    await page.getByLabel(/^Type the last four digits/).fill('4556');
    await page.getByRole('button', { name: /^Write / }).click();
    await page.getByText(/^writing/).waitFor({ timeout: PATIENCE_MS });
    await station.hub.unplug(board);
    await page.getByRole('heading', { name: 'Not restored' }).waitFor({ timeout: PATIENCE_MS });
    assert.ok(!board.board.flash.snapshot().equals(factory));

    await station.hub.plugIn(board);
    const other = await station.newPage();
    await other.page.goto(`${station.url}#/doctor`);
    const banner = other.page.getByText(/^The restore of .* was interrupted\.$/);
    await banner.waitFor({ timeout: PATIENCE_MS });
    await other.page.getByRole('button', { name: 'Finish the restore' }).first().click();
    await other.page.getByLabel(/^Type the last four digits/).waitFor({ timeout: PATIENCE_MS });
    await other.page.getByLabel(/^Type the last four digits/).fill('4556');
    await other.page.getByRole('button', { name: /^Write / }).click();
    await other.page.getByText('CONFIRMED', { exact: true }).waitFor({ timeout: PATIENCE_MS });
    assert.ok(board.board.flash.snapshot().equals(factory));
    await banner.waitFor({ state: 'detached', timeout: PATIENCE_MS });
    assert.deepEqual([...complaints, ...other.complaints], []);
  });

  test('one image onto each board that is plugged in, counted', async () => {
    await station.hub.unplug(board);
    spoil();
    const { page, complaints } = await station.newPage();
    await page.goto(`${station.url}#/production`);
    await page.getByLabel(/^Image of the board/).fill(board.mac);
    await page.getByLabel(/^Backup:/).fill('first');
    await page.getByRole('button', { name: 'See what it does' }).click();
    await page.getByLabel(/^Type the last four digits/).fill('4556', { timeout: PATIENCE_MS });
    await page.getByRole('button', { name: 'Begin' }).click();
    await page.getByText('PLUG IN THE FIRST BOARD').waitFor({ timeout: PATIENCE_MS });
    await station.hub.plugIn(board);
    await page.getByText('PASS', { exact: true }).first().waitFor({ timeout: PATIENCE_MS });
    assert.match(await page.locator('.counters').innerText(), /1\s+passed\s+0\s+failed/);
    assert.match(await page.getByRole('table').innerText(), /PASS\s+24:0a:c4:12:45:56/);
    assert.ok(board.board.flash.snapshot().equals(factory));
    await page.getByRole('button', { name: 'End it' }).click();
    await page.getByText(/^It has ended: 1 board/).waitFor({ timeout: PATIENCE_MS });

    // On paper: which image, how many, each of them, and nothing that is for clicking; also where the screen is dark.
    await page.emulateMedia({ media: 'print', colorScheme: 'dark' });
    const paper = await page.locator('body').innerText();
    assert.match(paper, new RegExp(`Production[^]*${board.mac}[^]*1\\s+passed[^]*PASS\\s+${board.mac}`));
    assert.match(paper, new RegExp(`overwritten with ${board.mac} \\S+Z\\.`));
    assert.doesNotMatch(paper, /Print the report|End it|Ports|Log out|u\{a\}|y\/N|Begin/);
    const background = await page.evaluate('getComputedStyle(document.querySelector(".card")).backgroundColor');
    assert.equal(background, 'rgb(255, 255, 255)');
    assert.ok((await page.pdf({ format: 'A4' })).length > 1000);
    assert.deepEqual(complaints, []);
  });

  test('a job that is not known any more is told of, and so is nonsense', async () => {
    const { page } = await station.newPage();
    for (const id of ['999999', 'abc']) {
      await page.goto(`${station.url}#/jobs/${id}`);
      await page.getByRole('alert').waitFor();
    }
  });
});
