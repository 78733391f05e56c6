/** Passwords and tokens of a permanent page: how they are kept, how often they may be guessed, and when sessions end. */

import assert from 'node:assert/strict';
import { chmod, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, describe, it } from 'node:test';
import { hasCode } from '../../src/errors.ts';
import { CREDENTIALS_FILE, CredentialsFile, hashPassword, isPassword, newToken } from '../../src/front/credentials.ts';
import { LimitedError, PasswordGate } from '../../src/front/gate.ts';
import { LoginLimit } from '../../src/front/login-limit.ts';
import { HandClock } from '../simulator/serve/support.ts';
import { FrontBench } from './support.ts';

const PASSWORD = 'correct horse battery staple';
const SECOND_MS = 1000;
const MINUTE_MS = 60_000;

async function fileIn(t: TestContext): Promise<CredentialsFile> {
  const folder = await mkdtemp(join(tmpdir(), 'espd-login-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return new CredentialsFile(folder);
}

const setPassword = async (file: CredentialsFile, text = PASSWORD) =>
  file.write({ ...(await file.current()), password: await hashPassword(text) });

describe('the file of the password', () => {
  it('is for its owner alone, holds no password, and is replaced in one step', async (t) => {
    const file = await fileIn(t);
    assert.deepEqual(await file.current(), { formatVersion: 1, password: null, token: null });
    await setPassword(file);
    const { token, kept } = newToken(new HandClock());
    await file.write({ ...(await file.current()), token: kept });
    assert.equal((await stat(file.path)).mode & 0o777, 0o600);
    const text = await readFile(file.path, 'utf8');
    assert.doesNotMatch(text, new RegExp(`${PASSWORD}|${token}`));
    assert.deepEqual(await readdir(join(file.path, '..')), [CREDENTIALS_FILE]);
    const { password } = await file.current();
    assert.ok(password !== null && (await isPassword(password, PASSWORD)));
    assert.equal(await isPassword(password, `${PASSWORD} `), false);
  });

  it('a password is the same however its letters are composed; a short one is none', async () => {
    const kept = await hashPassword('sch\u00f6nes Wetter');
    assert.ok(await isPassword(kept, 'scho\u0308nes Wetter'));
    await assert.rejects(hashPassword('1234567'), (error) => hasCode(error, 'usage'));
    await assert.rejects(hashPassword('x'.repeat(1025)), (error) => hasCode(error, 'usage'));
    // Two of the same are kept differently.
    assert.notEqual((await hashPassword(PASSWORD)).hash, (await hashPassword(PASSWORD)).hash);
  });

  it('one that others may read, or that is not understood, is not used', async (t) => {
    const file = await fileIn(t);
    await setPassword(file);
    await chmod(file.path, 0o640);
    await assert.rejects(file.current(), /may be read by others/);
    const good = JSON.parse(await readFile(file.path, 'utf8')) as { password: object };
    for (const text of [
      ...['', '{', 'null', '[]', '{"formatVersion":2,"password":null,"token":null}', 'x'.repeat(70_000)],
      JSON.stringify({ ...good, password: { ...good.password, N: 2 ** 30 } }),
      JSON.stringify({ ...good, password: { ...good.password, N: 20_000 } }),
      JSON.stringify({ ...good, password: { ...good.password, hash: 'short' } }),
    ]) {
      await rm(file.path);
      await writeFile(file.path, text, { mode: 0o600 });
      await assert.rejects(file.current(), (error) => hasCode(error, 'listen-refused'), text.slice(0, 60));
    }
  });
});

describe('a permanent page', () => {
  async function benchWith(t: TestContext) {
    const file = await fileIn(t);
    await setPassword(file);
    const clock = new HandClock();
    const bench = await FrontBench.open(t, { gate: new PasswordGate(file, clock), clock });
    const login = (password: unknown, headers = {}) =>
      bench.ask('/web/login', {
        method: 'POST',
        body: { password },
        headers: { 'content-type': 'application/json', ...headers },
      });
    return { bench, clock, file, login };
  }

  it('says that it wants a password, takes it, and gives a session', async (t) => {
    const { bench, login } = await benchWith(t);
    const closed = await bench.ask('/v1/status');
    assert.deepEqual([closed.status, closed.json['kind']], [401, 'password']);
    const wrong = await login('wrong horse battery staple');
    assert.deepEqual(
      [wrong.status, wrong.json['code'], wrong.headers['set-cookie']],
      [401, 'login-refused', undefined],
    );
    const right = await login(PASSWORD);
    assert.equal(right.status, 204);
    assert.match(right.headers['set-cookie']?.[0] ?? '', /HttpOnly; SameSite=Strict$/);
    await bench.enter(right);
    assert.equal((await bench.askAsPage('/v1/boards/x/backups/latest/image')).status, 200);
    // The link of `espd web` means nothing here.
    assert.equal((await bench.ask(`/?token=${bench.link.token}`)).status, 401);
  });

  it('a foreign page cannot log anybody in', async (t) => {
    const { bench, login } = await benchWith(t);
    assert.equal((await login(PASSWORD, { origin: 'https://evil.example' })).status, 403);
    assert.equal((await login(PASSWORD, { 'sec-fetch-site': 'cross-site' })).status, 403);
    const form = { method: 'POST', body: `{"password":"${PASSWORD}"}`, headers: { 'content-type': 'text/plain' } };
    assert.equal((await bench.ask('/web/login', form)).status, 415);
    for (const body of ['', '{', 'null', '[]', '{"password":7}', '{"password":null}']) {
      const headers = { 'content-type': 'application/json' };
      assert.equal((await bench.ask('/web/login', { method: 'POST', body, headers })).status, 400, body);
    }
  });

  it('behind a proxy with TLS the cookie is for TLS alone', async (t) => {
    const { bench, login } = await benchWith(t);
    const { headers } = await login(PASSWORD, { origin: `https://127.0.0.1:${bench.port}` });
    assert.match(headers['set-cookie']?.[0] ?? '', /; Secure$/);
  });

  it('guessing becomes slower and slower; meanwhile the right one is not looked at either', async (t) => {
    const { clock, login } = await benchWith(t);
    for (let trial = 1; trial <= 4; trial++) assert.equal((await login('guess')).status, 401, `${trial}`);
    assert.equal((await login('guess')).status, 401);
    const limited = await login(PASSWORD);
    assert.deepEqual(
      [limited.status, limited.json['code'], limited.headers['retry-after']],
      [429, 'login-limited', '2'],
    );
    clock.advance(2 * SECOND_MS);
    assert.equal((await login('guess')).status, 401);
    assert.equal((await login(PASSWORD)).headers['retry-after'], '4');
    clock.advance(4 * SECOND_MS);
    assert.equal((await login(PASSWORD)).status, 204);
    // And all is forgotten.
    assert.equal((await login('guess')).status, 401);
    assert.equal((await login(PASSWORD)).status, 204);
  });

  it('many at once do not get round it', async (t) => {
    const { login } = await benchWith(t);
    const statuses = (await Promise.all(Array.from({ length: 20 }, () => login('guess')))).map(({ status }) => status);
    assert.equal(statuses.filter((status) => status === 401).length, 5);
    assert.equal(statuses.filter((status) => status === 429).length, 15);
  });

  it('a token lets programs in, without the token of a session; a wrong one is guessed as slowly', async (t) => {
    const { bench, clock, file } = await benchWith(t);
    const { token, kept } = newToken(clock);
    await file.write({ ...(await file.current()), token: kept });
    const as = (text: string) => ({ headers: { authorization: `Bearer ${text}` } });
    assert.equal((await bench.ask('/v1/status', as(token))).status, 200);
    assert.equal((await bench.ask('/v1/jobs', { method: 'POST', body: {}, ...as(token) })).status, 200);
    assert.equal(
      (await bench.ask('/v1/jobs', { headers: { ...as(token).headers, origin: 'https://evil.example' } })).status,
      403,
    );
    for (const wrong of [PASSWORD.replaceAll(' ', ''), token.slice(1), `${token}x`]) {
      assert.equal((await bench.ask('/v1/status', as(wrong))).status, 401, wrong);
    }
    for (let trial = 0; trial < 3; trial++) await bench.ask('/v1/status', as('wrong'));
    assert.equal((await bench.ask('/v1/status', as(token))).status, 429);
  });

  it('another password ends the sessions of the one before; without any nobody comes in', async (t) => {
    const { bench, file, login } = await benchWith(t);
    await bench.enter(await login(PASSWORD));
    assert.equal((await bench.askAsPage('/v1/status')).status, 200);
    await setPassword(file, 'another battery');
    assert.equal((await bench.askAsPage('/v1/status')).status, 401);
    await bench.enter(await login('another battery'));
    assert.equal((await bench.askAsPage('/v1/status')).status, 200);
    await file.write({ formatVersion: 1, password: null, token: null });
    assert.equal((await bench.askAsPage('/v1/status')).status, 401);
    assert.equal((await login('another battery')).status, 401);
    assert.equal((await bench.ask('/v1/status', { headers: { authorization: 'Bearer null' } })).status, 401);
  });
});

describe('how often a secret may be guessed', () => {
  it('waits double each time, up to a quarter of an hour, and forget after an hour', () => {
    const clock = new HandClock();
    const limit = new LoginLimit(clock);
    const waits = Array.from({ length: 16 }, () => {
      limit.failed('10.0.0.1');
      const waitMs = limit.waitMs('10.0.0.1');
      clock.advance(Math.max(waitMs, MINUTE_MS));
      return waitMs / SECOND_MS;
    });
    assert.deepEqual(waits, [0, 0, 0, 0, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]);
    clock.advance(61 * MINUTE_MS);
    limit.failed('10.0.0.1');
    assert.equal(limit.waitMs('10.0.0.1'), 0);
  });

  it('each address for itself, a network of IPv6 as one, and all together', () => {
    const clock = new HandClock();
    const limit = new LoginLimit(clock);
    for (let trial = 0; trial < 5; trial++) limit.failed('2001:db8:1:2:a::1');
    assert.ok(limit.waitMs('2001:db8:1:2:ffff::9') > 0);
    assert.equal(limit.waitMs('2001:db8:1:3::1'), 0);
    for (let trial = 0; trial < 5; trial++) limit.failed('::ffff:10.0.0.1');
    assert.ok(limit.waitMs('10.0.0.1') > 0);
    assert.equal(limit.waitMs('10.0.0.2'), 0);
    for (let address = 0; address < 50; address++) limit.failed(`10.1.0.${address}`);
    assert.equal(limit.waitMs('10.2.0.1'), MINUTE_MS);
    clock.advance(MINUTE_MS);
    assert.equal(limit.waitMs('10.2.0.1'), 0);
  });

  it('says how long in words that fit', () => {
    assert.match(new LimitedError(1500).hint, /in 2 s$/);
    assert.match(new LimitedError(900_000).hint, /in 15 min$/);
  });
});
