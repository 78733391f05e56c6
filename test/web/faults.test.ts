/** What a person sees and hears when something goes wrong: a board that fails, findings of the doctor, a bad network. */

import assert from 'node:assert/strict';
import { type TestContext, describe, test } from 'node:test';
import type { BrowserContextOptions, Page } from 'playwright-core';
import { reportOf } from '../../src/doctor/doctor.ts';
import { note, ok, problem } from '../../src/doctor/types.ts';
import { EspdError } from '../../src/errors.ts';
import { ApiBench } from '../control/support.ts';
import { missingBrowser, newPage, settled } from './browser.ts';
import { cuttingProxy } from './cutting-proxy.ts';
import { openSession, servePage } from './page-server.ts';
import { PATIENCE_MS } from './station.ts';

const skip = missingBrowser() ?? false;

async function pageOf(t: TestContext, bench: ApiBench, options: BrowserContextOptions = {}) {
  const server = await servePage(bench.socketPath);
  t.after(() => server.close());
  const { url } = server;
  const session = await openSession(server);
  return { url, session, ...(await newPage(options, { url, ...session })) };
}

/** Writes down each tone that the page gives to the browser's own audio, and lets it be played. */
const EAR = `
  window.tones = [];
  const Real = window.AudioContext;
  window.AudioContext = class extends Real {
    createOscillator() {
      const tone = super.createOscillator();
      const start = tone.start.bind(tone);
      tone.start = (when) => {
        window.tones.push({ hertz: tone.frequency.value, context: this });
        start(when);
      };
      return tone;
    }
  };
`;
const tones = (page: Page) => page.evaluate<number[]>('tones.map(({ hertz }) => hertz)');

async function heard(page: Page, wanted: readonly number[]): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    if ((await tones(page)).length >= wanted.length) break;
    await page.waitForTimeout(100);
  }
  assert.deepEqual(await tones(page), wanted);
}

describe('a board that fails', { skip }, () => {
  test('its tile says so from across the room, with the sentence, what to do, and when it is tried again', async (t) => {
    const bench = await ApiBench.open(t);
    const { page, complaints, url } = await pageOf(t, bench);
    await page.goto(url);
    await page.getByText('Live', { exact: true }).waitFor();
    const hint = 'Hold its BOOT button while you plug it in';
    bench.shop.beforeOpen = () => Promise.reject(new EspdError('no-sync', 'The board does not answer', { hint }));
    const device = bench.shop.board();
    bench.shop.plug(device);
    const tile = page.locator('.tile.failed');
    await tile.waitFor();
    const text = await tile.innerText();
    assert.match(text, /^FAILED/);
    assert.ok(text.includes('The board does not answer') && text.includes(hint), text);
    const size = await page.evaluate<number>(`parseFloat(getComputedStyle(document.querySelector('.mark')).fontSize)`);
    assert.ok(size >= 32, `${size} px`);
    // It is put right, and its tile with it.
    bench.shop.beforeOpen = () => undefined;
    await tile.getByRole('button', { name: /^Back up/ }).click();
    await page.locator('.tile.done').waitFor();
    assert.equal(await page.locator('.tile.failed').count(), 0);
    assert.deepEqual(complaints, []);
  });

  test('sounds: none unless asked for; then a high one that is done, a low one that failed', async (t) => {
    const bench = await ApiBench.open(t);
    const { page, complaints, url } = await pageOf(t, bench);
    await page.addInitScript(EAR);
    await page.goto(url);
    await page.getByText('Live', { exact: true }).waitFor();
    const device = bench.shop.board();
    bench.shop.plug(device);
    await page.locator('.tile.done').waitFor();
    assert.deepEqual(await tones(page), []);
    await page.getByRole('button', { name: 'Sound off' }).click();
    // Who asks for it hears at once what it is like.
    await heard(page, [660, 880]);
    assert.equal(await page.evaluate('tones[0].context.state'), 'running');
    await page.getByRole('button', { name: /^Back up/ }).click();
    await heard(page, [660, 880, 660, 880]);
    bench.shop.beforeOpen = () => Promise.reject(new EspdError('no-sync', 'It does not answer'));
    await page.getByRole('button', { name: /^Back up/ }).click();
    await page.locator('.tile.failed').waitFor();
    await heard(page, [660, 880, 660, 880, 330, 220]);
    await page.getByRole('button', { name: 'Sound on' }).click();
    await page.getByRole('button', { name: /^Back up/ }).click();
    await page.locator('.tile.failed').waitFor();
    assert.equal((await tones(page)).length, 6);
    assert.deepEqual(complaints, []);
  });
});

describe('the doctor', { skip }, () => {
  test('problems first, each with the command that mends it, to be copied; then notes, then what is in order', async (t) => {
    const bench = await ApiBench.open(t);
    const permissions = ['clipboard-read', 'clipboard-write'];
    const { page, complaints, url } = await pageOf(t, bench, { permissions });
    const command = 'sudo usermod -aG dialout espd && systemctl restart espd # <b>';
    const findings = [
      ok('node', 'Node is new enough'),
      note('udev', 'No udev rule', { detail: 'Ports belong to group dialout' }),
      problem('rights', 'Ports may not be opened', {
        detail: 'They belong to <i>root</i>',
        remedy: { steps: [], safe: false, command },
      }),
    ];
    await page.route('**/v1/doctor', (asked) => asked.fulfill({ json: reportOf(findings, false) }));
    await page.goto(`${url}#/doctor`);
    await settled(page);
    const shown = page.locator('.findings > li');
    assert.deepEqual(
      (await shown.allInnerTexts()).map((text) => text.split('\n', 1)[0]?.toLowerCase()),
      ['problem', 'note'],
    );
    assert.match(await shown.first().innerText(), /Ports may not be opened\s+They belong to <i>root<\/i>/);
    assert.equal(await shown.first().locator('code').innerText(), command);
    await page.getByRole('button', { name: 'Copy the command for: Ports may not be opened' }).click();
    await page.getByText('Copied').waitFor();
    assert.equal(await page.evaluate('navigator.clipboard.readText()'), command);
    assert.match(await page.getByRole('region', { name: 'In order' }).innerText(), /Node is new enough/);
    await page.getByText('See below').waitFor();
    // Mended, and examined again.
    await page.unroute('**/v1/doctor');
    await page.route('**/v1/doctor', (asked) => asked.fulfill({ json: reportOf(findings.slice(0, 1), false) }));
    await page.getByRole('button', { name: 'Examine again' }).click();
    await page.getByText('Nothing is wrong').waitFor();
    assert.equal(await shown.count(), 0);
    assert.deepEqual(complaints, []);
  });
});

describe('a bad network', { skip }, () => {
  test('the log of events: if reading the past ones is cut, the page says so, and reads them again on request', async (t) => {
    const bench = await ApiBench.open(t);
    const { page, complaints, url } = await pageOf(t, bench);
    for (let port = 0; port < 6; port++) {
      bench.shop.events.emit({ type: 'port-held', port: `/dev/before${port}`, by: 'ada', until: null });
    }
    await page.route('**/v1/events?since=0', (asked) =>
      asked.fulfill({ body: `${JSON.stringify({ type: 'hello', instance: 'x', lastSeq: 6 })}\n` }),
    );
    // As soon as the station is known all is read anew; only then the log is opened.
    await page.goto(url);
    await page.getByText('Live', { exact: true }).waitFor();
    await page.goto(`${url}#/activity`);
    const events = page.getByRole('region', { name: 'Events' });
    await events.getByText('Events from before this page was opened are missing here.').waitFor();
    assert.equal(await events.getByText('/dev/before0').count(), 0);
    await page.unroute('**/v1/events?since=0');
    await events.getByRole('button', { name: 'Read them again' }).click();
    await events.getByText('/dev/before0').waitFor();
    assert.equal(await events.getByText('are missing here').count(), 0);
    // Refused by the daemon: with its own words.
    await page.route('**/v1/events?since=0', (asked) =>
      asked.fulfill({ status: 503, json: { title: 'Busy', detail: 'Too many clients listen', code: 'daemon-busy' } }),
    );
    await page.goto(`${url}#/ports`);
    await page.goto(`${url}#/activity`);
    await events.getByText('Too many clients listen').waitFor();
    assert.deepEqual(complaints, []);
  });

  test('a proxy that cuts each connection in the middle: the page shows every event once, and says when it is away', async (t) => {
    const bench = await ApiBench.open(t);
    const server = await servePage(bench.socketPath);
    t.after(() => server.close());
    const proxy = await cuttingProxy(Number(new URL(server.url).port));
    t.after(() => proxy.close());
    const { page, complaints } = await newPage({}, { url: proxy.url, ...(await openSession(server)) });
    // Cookies are named after the port of the server itself.
    await page.goto(`${proxy.url}#/activity`);
    await page.getByText('Live', { exact: true }).waitFor();
    const events = page.getByRole('region', { name: 'Events' });
    await events.getByLabel('Search').fill('/dev/cut');
    const seen = (text: string) => events.getByText(text, { exact: true }).waitFor({ timeout: PATIENCE_MS });
    let told = 0;
    const tell = (count: number) => {
      for (const end = told + count; told < end; told++) {
        bench.shop.events.emit({ type: 'port-held', port: `/dev/cut${told}`, by: 'Küche ☕', until: null });
      }
    };
    tell(5);
    await seen('5 events');
    // Each new connection is cut after so many bytes: in headers, in lines, in letters.
    for (const bytes of [4001, 3011, 2503]) {
      proxy.cutAfter(bytes);
      tell(40);
      await seen(`${told} events`);
    }
    assert.ok(proxy.cuts() >= 3, `${proxy.cuts()} cuts`);
    // So few that no event ever comes through.
    proxy.cutAfter(20);
    tell(40);
    await page.getByText('No connection').waitFor({ timeout: PATIENCE_MS });
    await page.getByText(/What stands here may be old/).waitFor();
    proxy.cutAfter(null);
    await seen(`${told} events`);
    await page.getByText('Live', { exact: true }).waitFor({ timeout: PATIENCE_MS });
    assert.equal(await page.getByText(/were missed/).count(), 0);
    // The network's own faults are no faults of the page.
    assert.deepEqual(
      complaints.filter((complaint) => !/net::ERR_/.test(complaint)),
      [],
    );
  });
});
