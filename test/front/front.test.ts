/** Who may ask the page's server, and what: the link, foreign pages, rebound names, tokens, paths, bodies, slow clients. */

import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import type { Backend } from '../../src/front/backend.ts';
import { randomSecret } from '../../src/front/sessions.ts';
import { StaticFiles } from '../../src/front/static-files.ts';
import { FrontBench, PAGE, cookieOf } from './support.ts';

const DAY_MS = 24 * 3600_000;

describe('the link', () => {
  it('opens the page once: a cookie for this server alone, and the token leaves the address', async (t) => {
    const bench = await FrontBench.open(t);
    const answer = await bench.openLink();
    assert.deepEqual([answer.status, answer.headers.location], [303, '/']);
    const cookie = answer.headers['set-cookie']?.[0] ?? '';
    assert.match(cookie, new RegExp(`^espd-${bench.port}=[\\w-]{43}; Path=/; HttpOnly; SameSite=Strict$`));
    assert.doesNotMatch(cookie, new RegExp(bench.link.token));
    assert.equal((await bench.askAsPage('/v1/status')).status, 200);
    // Again, by somebody else.
    const again = await bench.ask(`/?token=${bench.link.token}`);
    assert.deepEqual(
      [again.status, again.json['code'], again.headers['set-cookie']],
      [401, 'login-refused', undefined],
    );
    // Again, by the same browser: it is in already.
    assert.equal((await bench.askAsPage(`/?token=${bench.link.token}`)).status, 303);
  });

  it('a wrong token opens nothing, and does not use up the right one; nor does HEAD', async (t) => {
    const bench = await FrontBench.open(t);
    for (const token of ['', 'x', randomSecret(), bench.link.token.slice(0, -1), `${bench.link.token}x`]) {
      const answer = await bench.ask(`/?token=${token}`);
      assert.deepEqual([answer.status, answer.headers['set-cookie']], [401, undefined], token);
    }
    await bench.ask(`/?token=${bench.link.token}`, { method: 'HEAD' });
    assert.equal((await bench.openLink()).status, 303);
  });

  it('a person reads why in words, a program in JSON', async (t) => {
    const bench = await FrontBench.open(t);
    const page = await bench.ask('/?token=x', { headers: { 'sec-fetch-dest': 'document' } });
    assert.match(page.headers['content-type'] ?? '', /^text\/plain/);
    assert.match(page.text, /used already[^]*Run espd web again/);
  });
});

describe('the API behind it', () => {
  it('is for nobody without a session, whatever the cookie says', async (t) => {
    const bench = await FrontBench.open(t);
    await bench.openLink();
    const name = `espd-${bench.port}`;
    for (const cookie of ['', `${name}=`, `${name}=x`, `${name}=${randomSecret()}`, `x${bench.cookie}`, 'a;;=;']) {
      for (const path of ['/v1/status', '/v1/boards/x/backups/latest/image', '/metrics', '/v1']) {
        const { status, json } = await bench.ask(path, { headers: { cookie } });
        assert.deepEqual([status, json['code'], json['kind']], [401, 'login-needed', 'link'], `${cookie} ${path}`);
      }
    }
    assert.deepEqual(bench.asked, []);
    assert.equal((await bench.ask('/web/session')).status, 401);
  });

  it('a request that changes something needs the token of its session', async (t) => {
    const bench = await FrontBench.open(t);
    await bench.openLink();
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
      for (const csrf of ['', 'x', randomSecret()]) {
        const { status, json } = await bench.askAsPage('/v1/jobs', { method, headers: { 'x-espd-csrf': csrf } });
        assert.deepEqual([status, json['code']], [403, 'forbidden'], `${method} ${csrf}`);
      }
    }
    assert.deepEqual(bench.asked, []);
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
      assert.equal((await bench.askAsPage('/v1/jobs', { method, body: {} })).status, 200);
    }
    assert.equal(bench.asked.length, 4);
  });

  it('is not for other pages: a foreign Origin, another port, a frame of elsewhere', async (t) => {
    const bench = await FrontBench.open(t);
    await bench.openLink();
    const own = `127.0.0.1:${bench.port}`;
    for (const headers of [
      { origin: 'https://evil.example' },
      { origin: `http://127.0.0.1:${bench.port + 1}` },
      { origin: `http://localhost:${bench.port}` },
      { origin: 'null' },
      { origin: `http://${own}.evil.example` },
      { origin: `http://evil.example/http://${own}` },
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
    ]) {
      for (const method of ['GET', 'POST']) {
        const { status, json } = await bench.askAsPage('/v1/jobs', { method, headers });
        assert.deepEqual([status, json['code']], [403, 'forbidden'], JSON.stringify(headers));
      }
      assert.equal((await bench.askAsPage('/web/session', { headers })).status, 403);
    }
    assert.deepEqual(bench.asked, []);
  });

  it('is not known by a foreign name (DNS rebinding), also with a session', async (t) => {
    const bench = await FrontBench.open(t, { names: ['station.local'] });
    await bench.openLink();
    for (const host of [
      'evil.example',
      `evil.example:${bench.port}`,
      '-',
      'localhost.evil.example',
      '[::1',
      'a b',
      '@',
    ]) {
      for (const path of ['/', '/v1/status', `/?token=${bench.link.token}`]) {
        assert.equal((await bench.askAsPage(path, { headers: { host } })).status, 403, `${host} ${path}`);
      }
    }
    for (const host of ['localhost:1', '127.0.0.1', '[::1]:80', '192.168.1.7:8266', 'Station.LOCAL:8266']) {
      assert.equal((await bench.askAsPage('/v1/status', { headers: { host } })).status, 200, host);
    }
  });

  it('the cookie goes no further than this server', async (t) => {
    const seen: unknown[] = [];
    const bench = await FrontBench.open(t, {
      backend: (request, response) => {
        seen.push(request.headers.cookie);
        response.end();
        return Promise.resolve();
      },
    });
    await bench.openLink();
    await bench.askAsPage('/v1/status');
    assert.equal(seen.length, 1);
  });

  it('a session ends by logging out, after a week unused, and at the latest after a month', async (t) => {
    const bench = await FrontBench.open(t);
    await bench.openLink();
    assert.equal(
      (await bench.askAsPage('/web/logout', { method: 'POST', headers: { 'x-espd-csrf': 'x' } })).status,
      403,
    );
    const out = await bench.askAsPage('/web/logout', { method: 'POST' });
    assert.equal(out.status, 204);
    assert.match(out.headers['set-cookie']?.[0] ?? '', /Max-Age=0/);
    assert.equal((await bench.askAsPage('/v1/status')).status, 401);

    const idle = await FrontBench.open(t);
    await idle.openLink();
    idle.clock.advance(7 * DAY_MS);
    assert.equal((await idle.askAsPage('/v1/status')).status, 200);
    idle.clock.advance(7 * DAY_MS + 1);
    assert.equal((await idle.askAsPage('/v1/status')).status, 401);

    const busy = await FrontBench.open(t);
    await busy.openLink();
    for (let day = 0; day < 30; day += 5) {
      busy.clock.advance(5 * DAY_MS);
      assert.equal((await busy.askAsPage('/v1/status')).status, 200);
    }
    busy.clock.advance(1);
    assert.equal((await busy.askAsPage('/v1/status')).status, 401);
  });
});

describe('an answer without end', () => {
  const endless = () => {
    let onClosed: () => void = () => undefined;
    const closed = new Promise<void>((resolve) => (onClosed = resolve));
    const backend: Backend = (_request, response) => {
      response.writeHead(200).write('first\n');
      response.on('close', onClosed);
      return closed;
    };
    return { backend, closed };
  };
  const listen = async (bench: FrontBench) => {
    const text = `GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: ${bench.cookie}\r\n\r\n`;
    const socket = connect(bench.port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(text);
    await new Promise((resolve) => socket.once('data', resolve));
    return socket;
  };

  it('goes on while its session does, and ends soon after it', async (t) => {
    const { backend, closed } = endless();
    const bench = await FrontBench.open(t, { backend });
    await bench.openLink();
    const socket = await listen(bench);
    for (let minute = 0; minute < 20; minute++) {
      bench.clock.advance(60_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(socket.destroyed, false);
    assert.equal(bench.clock.pending, 1);
    await bench.askAsPage('/web/logout', { method: 'POST' });
    bench.clock.advance(30_000);
    await closed;
    socket.destroy();
    assert.equal(bench.clock.pending, 0);
  });
});

describe('what is served to browsers', () => {
  it('carries the same headers, whatever it is', async (t) => {
    const bench = await FrontBench.open(t);
    await bench.openLink();
    for (const path of ['/', '/assets/page-1a2b.js', '/nothing.js', '/v1/status', '/web/session', '/?token=x']) {
      const { headers } = await bench.askAsPage(path);
      assert.match(String(headers['content-security-policy']), /default-src 'self';.*frame-ancestors 'none'/, path);
      assert.doesNotMatch(String(headers['content-security-policy']), /unsafe|\*|data:/);
      assert.equal(headers['x-content-type-options'], 'nosniff');
      assert.equal(headers['referrer-policy'], 'no-referrer');
      assert.equal(headers['x-frame-options'], 'DENY');
      assert.equal(headers['access-control-allow-origin'], undefined);
    }
  });

  it('files by their names; paths of the page are the page', async (t) => {
    const bench = await FrontBench.open(t);
    const script = await bench.ask('/assets/page-1a2b.js');
    assert.deepEqual([script.status, script.text], [200, PAGE['assets/page-1a2b.js']]);
    assert.match(script.headers['content-type'] ?? '', /^text\/javascript/);
    assert.match(script.headers['cache-control'] ?? '', /immutable/);
    for (const path of ['/', '/boards', '/boards/50:02:91:c3:37:a5', '/v12', '/webs']) {
      const { status, text, headers } = await bench.ask(path);
      assert.deepEqual([status, text, headers['cache-control']], [200, PAGE['index.html'], 'no-cache'], path);
    }
    const tag = (await bench.ask('/')).headers.etag ?? '';
    assert.equal((await bench.ask('/', { headers: { 'if-none-match': tag } })).status, 304);
    const head = await bench.ask('/', { method: 'HEAD' });
    assert.deepEqual([head.text, head.headers['content-length']], ['', String(PAGE['index.html'].length)]);
    assert.equal((await bench.ask('/', { method: 'POST' })).status, 405);
  });

  it('no other file, however it is written', async (t) => {
    const bench = await FrontBench.open(t);
    for (const path of [
      ...['/../outside.txt', '/..%2foutside.txt', '/%2e%2e/outside.txt', '/assets/../../outside.txt', '//outside.txt'],
      ...['/assets/..%5c..%5coutside.txt', '/..\\outside.txt', '/outside.txt%00.js', '/secret.map', '/assets', '/.'],
      ...['/etc/passwd.txt', '/assets/%2e%2e%2f%2e%2e%2foutside.txt', '/constructor.js', '/__proto__.js'],
    ]) {
      const { text } = await bench.ask(path);
      assert.doesNotMatch(text, /nobody may read|not served/, path);
    }
  });

  it('is one clear sentence where the page was not built', async (t) => {
    const bench = await FrontBench.open(t, { files: await StaticFiles.read('/nonexistent/page') });
    const { status, json } = await bench.ask('/');
    assert.equal(status, 404);
    assert.match(String(json['detail']), /built without its page/);
  });

  it('what is too long, no path, or no method is refused', async (t) => {
    const bench = await FrontBench.open(t);
    await bench.openLink();
    assert.equal((await bench.askAsPage(`/v1/${'a'.repeat(9000)}`)).status, 414);
    assert.equal((await bench.askAsPage('/v1/status', { method: 'PROPFIND' })).status, 501);
    assert.equal((await bench.askAsPage('/web/other')).status, 404);
    const body = JSON.stringify({ password: 'x'.repeat(9000) });
    assert.equal((await bench.askAsPage('/web/login', { method: 'POST', body })).status, 413);
    assert.equal((await bench.ask('/v1/status', { headers: { x: 'a'.repeat(20_000) } })).status, 400);
    assert.deepEqual(bench.asked, []);
  });

  it('another protocol is not spoken: sessions of commands are for the socket alone', async (t) => {
    const bench = await FrontBench.open(t);
    await bench.openLink();
    const heard = await say(
      bench.port,
      `GET /v1/session HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: ${bench.cookie}\r\n` +
        'Connection: Upgrade\r\nUpgrade: espd-session/1\r\n\r\n',
    );
    assert.equal(heard, '');
    assert.deepEqual(bench.asked, []);
  });

  it('clients that send nothing, or half of something, or stop reading are let go', async (t) => {
    let onGone: () => void = () => undefined;
    const gone = new Promise<void>((resolve) => (onGone = resolve));
    const bench = await FrontBench.open(t, {
      idleMs: 50,
      backend: (_request, response) => {
        response.writeHead(200);
        // More than sockets hold: the client does not read it.
        const more = () => {
          while (!response.destroyed && response.write(Buffer.alloc(256 * 1024)));
        };
        response.on('drain', more);
        response.on('close', onGone);
        more();
        return Promise.resolve();
      },
    });
    await bench.openLink();
    // Each ends when the server closes it, and never by itself.
    for (const text of ['', 'GET / HT']) await say(bench.port, text);
    const socket = connect(bench.port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.pause();
    socket.write(`GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: ${bench.cookie}\r\n\r\n`);
    await gone;
    socket.destroy();
  });
});

function say(port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    let heard = '';
    socket.on('data', (chunk) => (heard += chunk.toString('latin1')));
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(heard));
    socket.write(text);
  });
}

it('two pages of one host have cookies of their own', async (t) => {
  const [one, other] = [await FrontBench.open(t), await FrontBench.open(t)];
  const [a, b] = [await one.openLink(), await other.openLink()];
  assert.notEqual(cookieOf(a).split('=')[0], cookieOf(b).split('=')[0]);
  const both = { cookie: `${one.cookie}; ${other.cookie}` };
  assert.equal((await one.ask('/v1/status', { headers: both })).status, 200);
  assert.equal((await other.ask('/v1/status', { headers: both })).status, 200);
  assert.equal((await other.ask('/v1/status', { headers: { cookie: one.cookie } })).status, 401);
});
