/** `espd web` as it is run: link, browser, errors where no daemon is; and the password of a permanent page. */

import assert from 'node:assert/strict';
import { chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type TestContext, describe, it } from 'node:test';
import { canOpenBrowser, browserCommand } from '../../../src/cli/web/open-browser.ts';
import { openDaemonPage } from '../../../src/cli/web/daemon-page.ts';
import { setPassword } from '../../../src/cli/web/set-password.ts';
import { outputOf, type Host } from '../../../src/cli/host.ts';
import { systemClock } from '../../../src/clock.ts';
import { parseListen } from '../../../src/config/listen.ts';
import { loadConfig } from '../../../src/config/loader.ts';
import { hasCode } from '../../../src/errors.ts';
import { CREDENTIALS_FILE, CredentialsFile, isPassword } from '../../../src/front/credentials.ts';
import type { Logger } from '../../../src/log.ts';
import { ApiBench } from '../../control/support.ts';
import { Bench, checkError } from '../../support/cli.ts';

describe('espd web', () => {
  it('serves the page for whoever has the link, until it is interrupted', async (t) => {
    const api = await ApiBench.open(t);
    const bench = await Bench.open(t);
    const ending = new AbortController();
    let onLink: (url: string) => void = () => undefined;
    const linked = new Promise<string>((resolve) => (onLink = resolve));
    const running = bench.run(['web', '--no-browser'], {
      env: { ESPD_SOCKET: api.socketPath },
      signal: ending.signal,
      onOutput: ({ stdout }) => {
        const url = /http:\S+\?token=\S+/.exec(stdout)?.[0];
        if (url !== undefined) onLink(url);
      },
    });
    const url = await linked;
    assert.match(url, /^http:\/\/127\.0\.0\.1:\d+\/\?token=[\w-]{43}$/);
    const entered = await fetch(url, { redirect: 'manual' });
    assert.equal(entered.status, 303);
    const cookie = (entered.headers.get('set-cookie') ?? '').split(';')[0] ?? '';
    const status = await fetch(new URL('/v1/status', url), { headers: { cookie } });
    assert.equal(((await status.json()) as { instance: string }).instance, 'workshop');
    assert.equal((await fetch(new URL('/v1/status', url))).status, 401);
    assert.match(await (await fetch(new URL('/', url))).text(), /<!doctype html>/i);
    ending.abort();
    assert.equal((await running).status, 0);
    await assert.rejects(fetch(url));
  });

  it('says at once where no daemon runs, or it may not be asked', async (t) => {
    const bench = await Bench.open(t);
    const absent = join(bench.folder, 'none.sock');
    checkError(await bench.run(['web'], { env: { ESPD_SOCKET: absent } }), 'daemon-absent');
    checkError(await bench.run(['web', '--no-daemon']), 'usage');
    checkError(await bench.run(['web', '--port', '65536']), 'usage');
    checkError(await bench.run(['web', 'set-pasword']), 'usage');
    checkError(await bench.run(['web', '--token']), 'usage');
    checkError(await bench.run(['web', 'set-password', '--port', '80']), 'usage');
    checkError(await bench.run(['web', 'set-password', '--token', '--remove']), 'usage');
  });

  it('a port that is taken is told', async (t) => {
    const api = await ApiBench.open(t);
    const bench = await Bench.open(t);
    const { createServer } = await import('node:net');
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => server.close());
    const { port } = server.address() as { port: number };
    const run = await bench.run(['web', '--port', String(port)], { env: { ESPD_SOCKET: api.socketPath } });
    checkError(run, 'listen-refused');
  });

  it('opens a browser only where a person sits at one', () => {
    assert.equal(canOpenBrowser({ DISPLAY: ':0' }, 'linux'), true);
    assert.equal(canOpenBrowser({ WAYLAND_DISPLAY: 'wayland-0' }, 'linux'), true);
    assert.equal(canOpenBrowser({}, 'linux'), false);
    assert.equal(canOpenBrowser({ DISPLAY: ':0', SSH_CONNECTION: '1' }, 'linux'), false);
    assert.equal(canOpenBrowser({ CI: 'true' }, 'darwin'), false);
    assert.equal(canOpenBrowser({}, 'darwin'), true);
    for (const platform of ['linux', 'darwin', 'win32'] as const) {
      // An argument of its own, and of no shell's.
      assert.equal(browserCommand('http://x/?a=1&b=2', platform).at(-1), 'http://x/?a=1&b=2');
    }
  });
});

describe('espd web set-password', () => {
  it('from stdin: the file is its owner\u2019s, and the page takes the password', async (t) => {
    const { host, options, folder, said } = await personAt(t);
    await set(host, options, {}, 'correct horse\nmore\n');
    const file = new CredentialsFile(folder);
    const { password } = await file.current();
    assert.ok(password !== null && (await isPassword(password, 'correct horse')));
    assert.equal((await stat(file.path)).mode & 0o777, 0o600);
    assert.match(said(), /in force/);
    await assert.rejects(set(host, options, {}, 'short\n'), (error) => hasCode(error, 'usage'));
    await assert.rejects(set(host, options, {}, ''), (error) => hasCode(error, 'usage'));
  });

  it('from a person: twice, unseen; two that differ change nothing', async (t) => {
    const { host, options, folder } = await personAt(t);
    const answers = ['correct horse', 'correct horse', 'another one', 'another two'];
    const hidden: unknown[] = [];
    const ask = (_question: string, how?: object) => {
      hidden.push(how);
      return Promise.resolve(answers.shift() ?? '');
    };
    const asked = { ...host, terminal: { ...host.terminal, ask } };
    await set(asked, options, {}, '');
    assert.deepEqual(hidden, [{ hidden: true }, { hidden: true }]);
    await assert.rejects(set(asked, options, {}, ''), /differ/);
    const { password } = await new CredentialsFile(folder).current();
    assert.ok(password !== null && (await isPassword(password, 'correct horse')));
  });

  it('a token is shown once, beside the password; --remove takes both', async (t) => {
    const { host, options, folder, said } = await personAt(t);
    await set(host, options, {}, 'correct horse\n');
    await set(host, options, { token: true }, '');
    const token = /espd_[\w-]{43}/.exec(said())?.[0] ?? '';
    assert.notEqual(token, '');
    const file = new CredentialsFile(folder);
    assert.ok((await file.current()).password !== null);
    assert.doesNotMatch(await readFile(file.path, 'utf8'), new RegExp(token));
    await set(host, options, { remove: true }, '');
    assert.deepEqual(await file.current(), { formatVersion: 1, password: null, token: null });
  });

  it('replaces a file that nobody can use any more', async (t) => {
    const { host, options, folder } = await personAt(t);
    await set(host, options, {}, 'correct horse\n');
    await chmod(join(folder, CREDENTIALS_FILE), 0o644);
    await set(host, options, {}, 'correct horse\n');
    await writeFile(join(folder, CREDENTIALS_FILE), '{');
    await set(host, options, {}, 'correct horse\n');
    assert.ok((await new CredentialsFile(folder).current()).password !== null);
  });
});

describe('api.listen', () => {
  it('is an address in numbers and a port', () => {
    assert.deepEqual(parseListen('127.0.0.1:8266'), { host: '127.0.0.1', port: 8266 });
    assert.deepEqual(parseListen('[::]:80'), { host: '::', port: 80 });
    for (const text of [
      ...['', '8266', ':8266', 'localhost:8266', '127.0.0.1', '127.0.0.1:0', '127.0.0.1:65536', '300.0.0.1:1'],
      ...['::1:80', '[127.0.0.1]:80', '[::1]', '127.0.0.1:80 ', '127.0.0.1:8x'],
    ]) {
      assert.equal(parseListen(text), undefined, text);
    }
  });

  it('without a password nothing listens, and the log says how to set one; with it the page is there', async (t) => {
    const { host, options, folder, path } = await personAt(t);
    const { createServer } = await import('node:net');
    const port = await new Promise<number>((resolve) => {
      const server = createServer().listen(0, '127.0.0.1', () => {
        const { port: free } = server.address() as { port: number };
        server.close(() => resolve(free));
      });
    });
    await writeFile(path, `archive: { statePath: ${JSON.stringify(folder)} }\napi: { listen: '127.0.0.1:${port}' }\n`);
    const { config } = await loadConfig({ path, env: host.env });
    const lines: { message: string; fields: unknown }[] = [];
    const line = (message: string, fields?: object) => void lines.push({ message, fields });
    const log: Logger = { error: line, warn: line, info: line, debug: line, child: () => log };
    const control = {
      serve: (_request: unknown, response: { end(text: string): unknown }) => Promise.resolve(void response.end('{}')),
    };
    const open = () => openDaemonPage({ clock: systemClock, config, log }, control);
    assert.equal(await open(), undefined);
    assert.match(JSON.stringify(lines), /no password is set[^]*espd web set-password/);
    await assert.rejects(fetch(`http://127.0.0.1:${port}/`));
    await set(host, options, {}, 'correct horse\n');
    const page = await open();
    assert.ok(page !== undefined);
    assert.equal((await fetch(`http://127.0.0.1:${port}/v1/status`)).status, 401);
    const login = await fetch(`http://127.0.0.1:${port}/web/login`, {
      ...{ method: 'POST', body: JSON.stringify({ password: 'correct horse' }) },
      headers: { 'content-type': 'application/json' },
    });
    assert.equal(login.status, 204);
    const cookie = (login.headers.get('set-cookie') ?? '').split(';')[0] ?? '';
    assert.equal(await (await fetch(`http://127.0.0.1:${port}/v1/status`, { headers: { cookie } })).text(), '{}');
    // A second one finds the port taken, and says so.
    assert.equal(await open(), undefined);
    assert.match(JSON.stringify(lines.at(-1)), /another program listens there/);
    await page.close();
  });
});

async function personAt(t: TestContext) {
  const bench = await Bench.open(t);
  const folder = join(bench.folder, 'state');
  const path = join(bench.folder, 'web.yaml');
  await writeFile(path, `archive: { statePath: ${JSON.stringify(folder)} }\n`);
  let text = '';
  const stream = { write: (data: string | Uint8Array) => void (text += String(data)) };
  const host: Host = {
    env: { HOME: bench.folder },
    terminal: { stdout: stream, stderr: stream },
    signal: new AbortController().signal,
    onHangup: () => undefined,
  };
  return { host, folder, path, options: { config: path }, said: () => text };
}

function set(
  host: Host,
  options: { config: string },
  how: { token?: boolean; remove?: boolean },
  input: string,
): Promise<undefined> {
  const wanted = { token: false, remove: false, ...how };
  return setPassword(options, host, outputOf({}, host), wanted, Readable.from([Buffer.from(input)]));
}
