/** The page at the server that it is served by: by a link, by a password, and what a foreign page can do with a session. */

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, after, before, describe, test } from 'node:test';
import { PAGE_FOLDER } from '../../src/cli/web/page-folder.ts';
import { systemClock } from '../../src/clock.ts';
import { socketBackend } from '../../src/front/backend.ts';
import { CredentialsFile, hashPassword } from '../../src/front/credentials.ts';
import { Front } from '../../src/front/front.ts';
import { type Gate, LinkGate, PasswordGate } from '../../src/front/gate.ts';
import { StaticFiles } from '../../src/front/static-files.ts';
import { silentLogger } from '../../src/log.ts';
import { missingBrowser, newPage, settled } from './browser.ts';
import { WebStation } from './station.ts';

const skip = missingBrowser() ?? false;
const PASSWORD = 'correct horse battery';

describe('the page, and who may open it', { skip }, () => {
  let station: WebStation;
  let mac: string;
  before(async () => {
    station = await WebStation.open();
    mac = await station.backedUp(0);
  });
  after(() => station.close());

  async function serve(t: TestContext, gate: Gate): Promise<string> {
    const front = new Front({
      ...{ clock: systemClock, log: silentLogger, gate, names: [] },
      backend: socketBackend(station.socketPath),
      files: await StaticFiles.read(PAGE_FOLDER),
    });
    t.after(() => front.close());
    return `http://127.0.0.1:${(await front.listen('127.0.0.1', 0)).port}/`;
  }

  test('the link opens it once; the token is not in the address, and the page may change things', async (t) => {
    const gate = new LinkGate();
    const url = await serve(t, gate);
    const { page, complaints } = await newPage();
    await page.goto(`${url}?token=${gate.token}`);
    await settled(page);
    assert.doesNotMatch(page.url(), /token/);
    await page.goto(`${url}#/boards/${mac}`);
    await settled(page);
    assert.match(await page.locator('#app').innerText(), new RegExp(mac));
    // As the page does it: with the token of its session, which a cookie alone does not have.
    const statuses = await page.evaluate(async (path) => {
      const { csrf } = (await (await fetch('/web/session')).json()) as { csrf: string };
      const init = { method: 'PATCH', body: '{"label":"kitchen"}' };
      const headers = { 'Content-Type': 'application/json' };
      const bare = await fetch(path, { ...init, headers });
      const own = await fetch(path, { ...init, headers: { ...headers, 'X-Espd-Csrf': csrf } });
      return [bare.status, own.status];
    }, `/v1/boards/${mac}`);
    assert.deepEqual(statuses, [403, 200]);
    // Neither its own policy nor its own server refuses anything of it.
    assert.deepEqual(complaints, []);

    const other = await newPage();
    const answer = await other.page.goto(`${url}?token=${gate.token}`);
    assert.equal(answer?.status(), 401);
    assert.match(await other.page.locator('body').innerText(), /used already/);
    await other.page.goto(url);
    await other.page.getByText('This link is used up').waitFor();
  });

  test('a password is asked for; a wrong one is told, the right one opens the page', async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'espd-web-login-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    const file = new CredentialsFile(folder);
    await file.write({ formatVersion: 1, password: await hashPassword(PASSWORD), token: null });
    const url = await serve(t, new PasswordGate(file, systemClock));
    const { page, complaints } = await newPage();
    await page.goto(`${url}#/boards`);
    const field = page.getByLabel('Password of this station');
    await field.fill('wrong horse battery');
    await field.press('Enter');
    await page.getByText('This is not the password').waitFor();
    await field.fill(PASSWORD);
    await field.press('Enter');
    await page.getByText(mac).first().waitFor();
    const [{ value: cookie } = { value: '' }] = await page.context().cookies();
    await page.getByRole('button', { name: 'Log out' }).click();
    await field.waitFor();
    // The session itself is gone, and not only forgotten by the browser.
    const name = `espd-${new URL(url).port}`;
    const answer = await fetch(`${url}v1/status`, { headers: { cookie: `${name}=${cookie}` } });
    assert.equal(answer.status, 401);
    await page.reload();
    await field.waitFor();
    assert.deepEqual(complaints, []);
  });

  test('a foreign page can neither read nor change anything with the session of the browser', async (t) => {
    const gate = new LinkGate();
    const url = await serve(t, gate);
    const foreign = await foreignPage(t);
    const { page } = await newPage();
    await page.goto(`${url}?token=${gate.token}`);
    await settled(page);
    // The same host at another port: its cookies are sent there, too.
    await page.goto(foreign);
    const attempts: [string, { method?: string; mode?: 'no-cors'; headers?: Record<string, string> }][] = [
      ['/v1/boards', {}],
      ['/web/session', {}],
      ['/v1/reload', { method: 'POST' }],
      ['/v1/reload', { method: 'POST', mode: 'no-cors' }],
      ['/v1/status', { headers: { Authorization: 'Bearer x' } }],
    ];
    const tried = await page.evaluate(
      (all) =>
        Promise.all(
          all.map(([path, init]) =>
            fetch(path, { credentials: 'include', ...init }).then(
              ({ type, status }) => `${type} ${status}`,
              () => 'refused',
            ),
          ),
        ),
      attempts.map(([path, init]) => [new URL(path, url).href, init] as const),
    );
    assert.deepEqual(
      tried,
      attempts.map(() => 'refused'),
    );
    await page.setContent(`<iframe src="${url}"></iframe>`);
    const [frame] = page.frames().slice(1);
    assert.doesNotMatch((await frame?.content().catch(() => '')) ?? '', /id="app"/);
  });
});

async function foreignPage(t: TestContext): Promise<string> {
  const server: Server = createServer((_request, response) => {
    response.setHeader('Content-Type', 'text/html').end('<!doctype html><title>foreign</title>');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}
