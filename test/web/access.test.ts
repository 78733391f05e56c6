/** Who cannot see, or cannot use a mouse: axe finds nothing serious, and all can be done by keyboard. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Page } from 'playwright-core';
import { seriousFaults } from './axe.ts';
import { missingBrowser, settled } from './browser.ts';
import { PATIENCE_MS, WebStation } from './station.ts';

const skip = missingBrowser() ?? false;

/** Who has no mouse: only real presses of keys, and names as a screen reader says them. */
class Keyboard {
  readonly #page: Page;

  constructor(page: Page) {
    this.#page = page;
  }

  /** Tabs on until what has the focus is called so. @throws when it is not among what can be reached */
  async to(name: string): Promise<void> {
    const said: string[] = [];
    for (let presses = 0; presses < 120; presses++) {
      await this.#page.keyboard.press('Tab');
      const now = await this.focused();
      if (now.includes(name)) return;
      said.push(now);
    }
    assert.fail(`no key leads to ${name}, only to\n${said.slice(0, 60).join('\n')}`);
  }

  async press(name: string, key: 'Enter' | 'Space'): Promise<void> {
    await this.to(name);
    await this.#page.keyboard.press(key);
  }

  /** Role and name, as the browser computes them; and whether it can be seen where one is. */
  async focused(): Promise<string> {
    if (await this.#page.evaluate('document.activeElement === document.body')) return '(the page)';
    const said = await this.#page.locator(':focus').ariaSnapshot();
    const outline = await this.#page.evaluate('getComputedStyle(document.activeElement).outlineStyle');
    return outline === 'none' ? `(focus cannot be seen) ${said.slice(0, 3)}` : said;
  }
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

  test('by keyboard alone: edit, pin, the policy, undo with its digits, another board, production, the log', async () => {
    const { page, complaints } = await station.newPage();
    const keys = new Keyboard(page);
    const { board } = station.hub.boards[0]!;
    const before = board.flash.snapshot();
    // Something else has written to it, and it was backed up: that can be undone.
    await station.hub.unplug(station.hub.boards[0]!);
    board.flash.load(0x9000, Buffer.alloc(64, 0x5a));
    await station.hub.plugIn(station.hub.boards[0]!);
    await station.until<{ backups: unknown[] }>(`/v1/boards/${mac}`, ({ backups }) => backups.length === 2);

    await page.goto(`${station.url}#/boards/${mac}`);
    await page.getByRole('button', { name: 'Undo' }).waitFor();
    await keys.press('button "Edit label and note"', 'Enter');
    // The first field has the focus already.
    await page.keyboard.type('kitchen');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'kitchen', level: 1 }).waitFor();
    assert.match(await keys.focused(), /button "Edit label and note"/, 'the focus is back where the form was opened');
    assert.equal(
      await page.evaluate(`new Promise((resolve) => {
        document.activeElement.click();
        setTimeout(() => resolve(document.activeElement.value), 0);
      })`),
      'kitchen',
      'the next key goes into the first field, though nothing was drawn yet',
    );
    await page.keyboard.press('Escape');
    await page.getByRole('heading', { name: 'kitchen', level: 1 }).waitFor();
    await keys.press('button "Pin: never remove', 'Space');
    await page.getByText('Pinned').waitFor();
    await keys.press('button "What would the policy remove?"', 'Enter');
    await page.getByText('There is no policy: nothing is ever removed.').waitFor();

    await keys.press('button "Undo"', 'Enter');
    const digits = page.getByLabel(/^Type the last four digits/);
    await digits.waitFor({ timeout: PATIENCE_MS });
    await keys.to('textbox "Type the last four digits');
    await page.keyboard.type(mac.replaceAll(':', '').slice(-4));
    await page.keyboard.press('Enter');
    await page.getByText('CONFIRMED', { exact: true }).waitFor({ timeout: PATIENCE_MS });
    assert.ok(board.flash.snapshot().equals(before), 'as it was');

    await page.goto(`${station.url}#/boards/${mac}/restore`);
    await keys.to('"Another board on purpose');
    await page.keyboard.type('24:0a');
    await keys.press('button "See the plan"', 'Enter');
    await page.getByRole('alert').getByText('is no MAC').waitFor();

    await page.goto(`${station.url}#/production`);
    await keys.to('"Image of the board');
    await page.keyboard.type(mac);
    await page.keyboard.press('Escape');
    await keys.press('button "See what it does"', 'Enter');
    await page.getByLabel(/^Type the last four digits/).waitFor({ timeout: PATIENCE_MS });
    await keys.press('button "No, ', 'Enter');
    await page.getByText('It has ended: 0 boards.').waitFor({ timeout: PATIENCE_MS });

    await page.goto(`${station.url}#/activity`);
    await keys.to('searchbox "Search"');
    await page.keyboard.type('NEW BOARD');
    await page.getByText('1 event', { exact: true }).waitFor();
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
