/**
 * `npm run pictures -- [FOLDER]`: makes the pictures of docs/images anew, of a station with simulated boards. With a
 * folder, every page of it as well, dark and light, at 1280 and 390 px, to be looked at.
 */

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { parseMac } from '../../src/mac.ts';
import { OTHER_STATION, STATION, stored } from '../archive/elsewhere/support.ts';
import { archiveAt, image } from '../archive/support.ts';
import { settled } from './browser.ts';
import { PATIENCE_MS, WebStation } from './station.ts';

const IMAGES = new URL('../../docs/images/', import.meta.url).pathname;
const DOCS_SIZE = { width: 1200, height: 760 };
const SIZES = { wide: { width: 1280, height: 800 }, phone: { width: 390, height: 844 } };
/** In its file system. */
const IN_FILES = 0x2a0000;
/** At this bench it has never been plugged in. */
const OF_ANOTHER_BENCH = parseMac('24:0a:c4:00:01:02')!;

const [folder] = process.argv.slice(2);
const station = await WebStation.open(async ({ archivePath }) => {
  const archive = archiveAt(archivePath);
  await archive.elsewhere.note(stored({ mac: OF_ANOTHER_BENCH, station: OTHER_STATION }, image(65536, 2)));
});
try {
  await makePictures();
} finally {
  await station.close();
}
process.exit(0);

async function makePictures(): Promise<void> {
  const [plug, weather, door] = station.hub.boards;
  if (plug === undefined || weather === undefined || door === undefined) throw new Error('the demo has three boards');
  await station.backedUp(1);
  const { page } = await station.newPage({ viewport: DOCS_SIZE, colorScheme: 'light' });
  const shot = async (name: string) => {
    await settled(page);
    // It names a folder that is there for this run alone.
    await page.evaluate("document.querySelector('footer').hidden = true");
    // The restore to its last button; of longer pages what a screen shows.
    await page.screenshot({ path: join(IMAGES, `${name}.png`), fullPage: name === 'web-restore' });
    await page.evaluate("document.querySelector('footer').hidden = false");
  };
  await describe(page, weather.mac, { label: 'weather station', group: 'garden', note: 'on the roof, needs a ladder' });
  // Changed by its app, backed up, and put back: then there are backups, restores and something to undo.
  await station.hub.unplug(weather);
  weather.board.flash.load(IN_FILES, Buffer.alloc(64, 0x11));
  await station.hub.plugIn(weather);
  await backups(weather.mac, 2);
  const archive = archiveAt(station.hub.archivePath);
  await archive.elsewhere.note(
    stored({ mac: parseMac(weather.mac)!, station: STATION }, image(65536, 3), '2026-11-20T10:00:00.000Z'),
  );

  await page.goto(`${station.url}#/boards/${weather.mac}/restore`);
  await page.getByRole('group', { name: 'Which backup' }).getByRole('radio').last().check();
  await settled(page);
  await everySize(page, 'choose');
  await page.getByRole('button', { name: 'See the plan' }).click();
  await page.getByLabel(/^Type the last four digits/).fill('45', { timeout: PATIENCE_MS });
  await shot('web-restore');
  await everySize(page, 'plan');
  await page.getByLabel(/^Type the last four digits/).fill('4556');
  await page.getByRole('button', { name: /^Write/ }).click();
  await page.getByText('CONFIRMED', { exact: true }).waitFor({ timeout: PATIENCE_MS });
  await everySize(page, 'confirmed');

  await page.goto(`${station.url}#/boards/${weather.mac}`);
  await page.getByText(/ on the disk · seen/).waitFor();
  await shot('web-board');
  await everySize(page, 'board');
  const ids = await backups(weather.mac, 2);
  await page.goto(`${station.url}#/boards/${weather.mac}?compare=${ids.slice(0, 2).join(',')}`);
  await page.getByRole('heading', { name: 'What changed' }).waitFor();
  await everySize(page, 'diff');
  await page.goto(`${station.url}#/boards/${OF_ANOTHER_BENCH}`);
  await everySize(page, 'elsewhere');

  await station.hub.plugIn(door);
  const held = { method: 'PUT', body: { port: '/dev/ttyUSB7', by: 'esptool of ada', minutes: 30 } };
  await change(page, '/v1/holds', held).catch(() => undefined);
  await page.goto(`${station.url}#/boards`);
  await everySize(page, 'boards');
  await page.getByRole('button', { name: 'Grid' }).click();
  await everySize(page, 'boards-grid');
  for (const name of ['ports', 'production', 'activity', 'doctor', 'jobs/1']) {
    await page.goto(`${station.url}#/${name}`);
    await everySize(page, name.replace('/', '-'));
  }
}

/** For a person's eye, if a folder is given. */
async function everySize(page: Page, name: string): Promise<void> {
  if (folder === undefined) return;
  await mkdir(folder, { recursive: true });
  await settled(page);
  for (const [size, viewport] of Object.entries(SIZES)) {
    await page.setViewportSize(viewport);
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme });
      await page.screenshot({ path: join(folder, `${name}-${size}-${colorScheme}.png`), fullPage: true });
    }
  }
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize(DOCS_SIZE);
}

/** Ids, the oldest first, once there are so many. */
async function backups(mac: string, count: number): Promise<string[]> {
  const document = await station.until<{ backups: { id: string }[] }>(
    `/v1/boards/${mac}`,
    ({ backups: all }) => all.length >= count,
  );
  return document.backups.map(({ id }) => id);
}

function describe(page: Page, mac: string, body: object): Promise<void> {
  return change(page, `/v1/boards/${mac}`, { method: 'PATCH', body });
}

/** As the page does it, with the token of its session. */
async function change(page: Page, path: string, asked: { method: string; body: object }): Promise<void> {
  if (page.url() === 'about:blank') await page.goto(station.url);
  const status = await page.evaluate(
    async ([where, { method, body }]) => {
      const { csrf } = (await (await fetch('/web/session')).json()) as { csrf: string };
      const headers = { 'Content-Type': 'application/json', 'X-Espd-Csrf': csrf };
      return (await fetch(where, { method, headers, body: JSON.stringify(body) })).status;
    },
    [path, asked] as const,
  );
  if (status >= 300) throw new Error(`${asked.method} ${path}: ${status}`);
}
