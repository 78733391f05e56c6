/** A restore as a walk, on a simulated board, through the daemon and a process of its own. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { DemoBoard } from '../../src/cli/demo-hub.ts';
import { missingBrowser, newPage } from './browser.ts';
import { PATIENCE_MS, WebStation } from './station.ts';

const skip = missingBrowser() ?? false;
const SECTOR = 0x9000;

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
    const opened = await newPage();
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
    await page.getByText('CONFIRMED').waitFor({ timeout: PATIENCE_MS });
    assert.match(await page.locator('.outcome').innerText(), /Written: 1 sector, 4 KB/);
    assert.ok(board.board.flash.snapshot().equals(factory), 'the flash is that of the backup');
    assert.deepEqual(complaints, []);
  });

  test('no: the board stays as it is, and a second browser is told while the question stands', async () => {
    spoil();
    const before = board.board.flash.snapshot();
    const { page } = await toThePlan();
    const other = await newPage();
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
    const { page } = await newPage();
    await page.goto(`${station.url}#/boards/${board.mac}/restore`);
    await page.getByLabel('Port').selectOption(ports.find((port) => port.mac === mac)!.port);
    const flash = station.hub.boards[2]!.board.flash.snapshot();
    await page.getByRole('button', { name: 'See the plan' }).click();
    await page.getByRole('heading', { name: 'Not restored' }).waitFor({ timeout: PATIENCE_MS });
    const told = await page.getByRole('alert').innerText();
    assert.match(told, new RegExp(`${mac}|${board.mac}`));
    assert.ok(station.hub.boards[2]!.board.flash.snapshot().equals(flash));
  });

  test('a job that is not known any more is told of, and so is nonsense', async () => {
    const { page } = await newPage();
    for (const id of ['999999', 'abc']) {
      await page.goto(`${station.url}#/jobs/${id}`);
      await page.getByRole('alert').waitFor();
    }
  });
});
