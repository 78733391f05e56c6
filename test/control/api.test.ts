import assert from 'node:assert/strict';
import { readFile, stat } from 'node:fs/promises';
import { request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { CommandListener, StartCommand } from '../../src/control/command-jobs.ts';
import { API_PATHS } from '../../src/control/contract/operations.ts';
import { EspdError } from '../../src/errors.ts';
import { PACED, macOf, reading } from '../daemon/workshop.ts';
import { ApiBench } from './support.ts';

const port = (address: string) => encodeURIComponent(address);

describe('the API', () => {
  it('tells the state of the station', async (t) => {
    const bench = await ApiBench.open(t);
    const device = bench.shop.board({ line: PACED });
    bench.shop.plug(device);
    await reading(bench.shop, device);
    const { status, json, headers } = await bench.ask('/v1/status');
    assert.equal(status, 200);
    assert.match(headers['content-type'] ?? '', /^application\/json/);
    const [view] = json['ports'] as Record<string, unknown>[];
    assert.deepEqual([view?.['port'], view?.['state'], view?.['mac']], [device.address, 'working', device.board.mac]);
    assert.equal(json['instance'], 'workshop');
    await bench.shop.said('Backed up and verified');
    await bench.shop.idle();
    const { json: after } = await bench.ask('/v1/ports');
    const [done] = after['ports'] as Record<string, unknown>[];
    assert.deepEqual([done?.['state'], (done?.['result'] as { unchanged: boolean }).unchanged], ['done', false]);
    assert.deepEqual((await bench.ask('/v1/status')).json['counters'], { backups: 1, unchanged: 0, failures: 0 });
  });

  it('tells of boards, one board, one backup, by MAC and by label', async (t) => {
    const bench = await ApiBench.open(t);
    const device = bench.shop.board();
    bench.shop.plug(device);
    await bench.shop.said('Backed up and verified');
    await bench.shop.idle();
    const mac = macOf(device.board);
    await bench.shop.archive.marks.describe(mac, { label: 'kitchen' });
    const { json: list } = await bench.ask('/v1/boards');
    const [row] = list['boards'] as Record<string, unknown>[];
    assert.deepEqual([list['total'], row?.['mac'], row?.['label']], [1, mac, 'kitchen']);
    for (const name of [mac, mac.replaceAll(':', '-'), 'Kitchen']) {
      const { json } = await bench.ask(`/v1/boards/${encodeURIComponent(name)}`);
      assert.equal((json['backups'] as unknown[]).length, 1, name);
    }
    const { json } = await bench.ask('/v1/boards/kitchen/backups/latest');
    const id = (json['backup'] as { id: string }).id;
    assert.equal((await bench.ask(`/v1/boards/kitchen/backups/${id}`)).status, 200);
    assert.deepEqual(
      [
        (await bench.ask('/v1/boards/cellar')).status,
        (await bench.ask('/v1/boards/kitchen/backups/2020-01-01')).status,
      ],
      [404, 404],
    );
  });

  it('tells what a board and each of its backups take on the disk', async (t) => {
    const bench = await ApiBench.open(t);
    const device = bench.shop.board();
    bench.shop.plug(device);
    await bench.shop.said('Backed up and verified');
    await bench.shop.idle();
    const { json } = await bench.ask(`/v1/boards/${macOf(device.board)}/sizes`);
    const backups = json['backups'] as { id: string; diskBytes: number }[];
    assert.equal(backups.length, 1);
    assert.ok(backups[0]!.diskBytes > 0 && backups[0]!.diskBytes <= Number(json['diskBytes']));
    assert.equal(json['imageBytes'], device.board.flash.snapshot().length);
    assert.equal((await bench.ask('/v1/boards/nobody/sizes')).status, 404);
  });

  it('lists the boards again only to those who do not have the list, and some boards alone', async (t) => {
    const bench = await ApiBench.open(t);
    const devices = [0, 1].map((slot) => bench.shop.board({ slot }));
    for (const device of devices) bench.shop.plug(device);
    await bench.shop.until(() => bench.shop.eventsOf('job-done').length === 2, 'both backups');
    await bench.shop.idle();
    const first = await bench.ask('/v1/boards');
    const tag = first.headers.etag ?? '';
    assert.match(tag, /^"[0-9a-f]{32}"$/);
    for (const known of [tag, `W/${tag}`, `"other", ${tag}`, '*']) {
      const again = await bench.ask('/v1/boards', { headers: { 'if-none-match': known } });
      assert.deepEqual([again.status, again.text, again.headers.etag], [304, '', tag], known);
      assert.equal(again.headers['content-length'], undefined);
    }
    assert.equal((await bench.ask('/v1/boards', { headers: { 'if-none-match': '"other"' } })).text, first.text);
    const [one, two] = devices.map(({ board }) => macOf(board)).sort();
    await bench.ask(`/v1/boards/${one!}`, { method: 'PATCH', body: { label: 'kitchen' } });
    const changed = await bench.ask('/v1/boards', { headers: { 'if-none-match': tag } });
    assert.deepEqual([changed.status, changed.headers.etag === tag], [200, false]);

    const named = async (only: string) => {
      const { json } = await bench.ask(`/v1/boards?only=${encodeURIComponent(only)}`);
      return [json['total'], ...(json['boards'] as { mac: string; label: string | null }[]).map(({ label }) => label)];
    };
    assert.deepEqual(await named(one!), [1, 'kitchen']);
    assert.deepEqual(await named(`${two!},${one!.replaceAll(':', '-').toUpperCase()},${one!}`), [2, 'kitchen', null]);
    assert.deepEqual(await named('02:00:00:00:00:99'), [0]);
    const wrong = ['only=', 'only=kitchen', `only=${one!},`, `only=${one!},../..`, 'some=1', 'only=1&only=2'];
    for (const query of [...wrong, `only=${Array(400).fill(one).join(',')}`]) {
      assert.equal((await bench.ask(`/v1/boards?${query}`)).status, 400, query.slice(0, 80));
    }
  });

  it('hands out an image, whole and by ranges', async (t) => {
    const bench = await ApiBench.open(t);
    const device = bench.shop.board();
    bench.shop.plug(device);
    await bench.shop.said('Backed up and verified');
    await bench.shop.idle();
    const flash = device.board.flash.snapshot();
    const path = `/v1/boards/${macOf(device.board)}/backups/latest/image`;
    const whole = await bench.ask(path);
    assert.ok(whole.bytes.equals(flash));
    assert.equal(whole.headers['accept-ranges'], 'bytes');
    const end = flash.length - 1;
    const cases: [string, number, number][] = [
      ['bytes=0-0', 0, 0],
      ['bytes=4096-8191', 4096, 8191],
      [`bytes=${end}-`, end, end],
      ['bytes=-5', end - 4, end],
      ['bytes=100-99999999', 100, end],
      ['bytes=-99999999', 0, end],
    ];
    for (const [range, from, to] of cases) {
      const { status, headers, bytes } = await bench.ask(path, { headers: { range } });
      assert.deepEqual([status, headers['content-range']], [206, `bytes ${from}-${to}/${flash.length}`], range);
      assert.ok(bytes.equals(flash.subarray(from, to + 1)), range);
    }
    for (const range of ['bytes=5-4', 'bytes=0-1,5-6', 'lines=1-2', 'bytes=-', 'bytes=a-b']) {
      assert.equal((await bench.ask(path, { headers: { range } })).status, 200, range);
    }
    for (const range of [`bytes=${flash.length}-`, 'bytes=-0']) {
      const { status, headers } = await bench.ask(path, { headers: { range } });
      assert.deepEqual([status, headers['content-range']], [416, `bytes */${flash.length}`], range);
    }
    const other = await bench.ask(path, { headers: { range: 'bytes=0-0', 'if-range': '"another"' } });
    assert.equal(other.status, 200);
    const head = await bench.ask(path, { method: 'HEAD' });
    assert.deepEqual([head.bytes.length, head.headers['content-length']], [0, String(flash.length)]);
  });

  it('makes a backup that is asked for, and joins one that runs', async (t) => {
    const bench = await ApiBench.open(t);
    const device = bench.shop.board({ line: PACED });
    bench.shop.plug(device);
    await reading(bench.shop, device);
    const body = { kind: 'backup', port: device.address };
    const { status, json, headers } = await bench.ask('/v1/jobs', { method: 'POST', body });
    assert.deepEqual([status, json['state'], json['cause']], [202, 'running', 'plug-in']);
    await bench.shop.said('Backed up and verified');
    await bench.shop.idle();
    const { json: done } = await bench.ask(headers.location ?? '');
    assert.deepEqual([done['state'], (done['result'] as { unchanged: boolean }).unchanged], ['done', false]);
    const { json: again } = await bench.ask('/v1/jobs', {
      method: 'POST',
      body: { kind: 'backup', board: device.board.mac },
    });
    assert.equal(again['cause'], 'request');
    await bench.shop.said('Unchanged since its last backup');
  });

  it('cancels a job in the middle: the board is released', async (t) => {
    const bench = await ApiBench.open(t);
    const device = bench.shop.board({ line: PACED });
    bench.shop.plug(device);
    await reading(bench.shop, device);
    const [job] = bench.shop.daemon.jobs;
    assert.equal((await bench.ask(`/v1/jobs/${job!.id}`, { method: 'DELETE' })).status, 202);
    await job!.ended;
    assert.deepEqual([bench.shop.openLinks, device.board.mode], [0, 'app']);
    const { json } = await bench.ask(`/v1/jobs/${job!.id}`);
    assert.deepEqual([json['state'], json['failure']], ['failed', 'stopped']);
    assert.equal((await bench.ask(`/v1/jobs/${job!.id}`, { method: 'DELETE' })).status, 409);
    assert.equal((await bench.ask('/v1/jobs/77', { method: 'DELETE' })).status, 404);
  });

  it('holds a port and gives it back', async (t) => {
    const bench = await ApiBench.open(t);
    const device = bench.shop.board({ line: PACED });
    bench.shop.plug(device);
    await reading(bench.shop, device);
    const path = `/v1/ports/${port(device.address)}/hold`;
    const { status, json } = await bench.ask(path, { method: 'PUT', body: { by: 'Ada', forSeconds: 600, now: true } });
    assert.deepEqual([status, json['by']], [200, 'Ada']);
    assert.deepEqual([bench.shop.openLinks, device.board.mode], [0, 'app']);
    assert.equal((await bench.ask(path, { method: 'PUT', body: { by: 'Grace' } })).status, 409);
    assert.equal((await bench.ask(path, { method: 'DELETE' })).status, 204);
    assert.equal((await bench.ask(path, { method: 'DELETE' })).status, 404);
    await bench.shop.said('Backed up and verified');
  });

  it('loads the config again, or says what is wrong with it', async (t) => {
    const bench = await ApiBench.open(t);
    assert.equal((await bench.ask('/v1/reload', { method: 'POST' })).status, 200);
    bench.reloadError = new EspdError('config-invalid', 'line 3: unknown key');
    const { status, json } = await bench.ask('/v1/reload', { method: 'POST' });
    assert.deepEqual([status, json['code'], json['detail']], [400, 'config-invalid', 'line 3: unknown key']);
  });

  it('describes every path that it has, and no other', async (t) => {
    const bench = await ApiBench.open(t);
    const { json } = await bench.ask('/v1/openapi.json');
    const described = Object.entries(json['paths'] as Record<string, object>).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
    );
    assert.deepEqual(described.toSorted(), API_PATHS.map(({ method, path }) => `${method} ${path}`).toSorted());
    for (const { method, path } of API_PATHS) {
      const asked = path.replaceAll(/\{\w+\}/g, 'x');
      // These go on for as long as somebody listens.
      if (path === '/v1/events' || path.endsWith('/lease')) continue;
      const answer = await bench.ask(asked, { method });
      assert.ok(![405, 500].includes(answer.status), `${method} ${asked}: ${answer.status} ${answer.text}`);
    }
  });
});

describe('bad requests', () => {
  it('are refused as problems with a code, a sentence and a hint', async (t) => {
    const bench = await ApiBench.open(t);
    const post = (body: unknown, headers = {}) => bench.ask('/v1/jobs', { method: 'POST', body, headers });
    const cases: [Promise<{ status: number; headers: object; json: Record<string, unknown> }>, number][] = [
      [bench.ask('/v2/status'), 404],
      [bench.ask('/v1/status/'), 404],
      [bench.ask(`/${'a/'.repeat(200)}`), 404],
      [bench.ask('/v1/boards/%zz'), 400],
      [bench.ask(`/${'a'.repeat(9000)}`), 414],
      [bench.ask('/v1/status', { method: 'DELETE' }), 405],
      [bench.ask('/v1/status', { method: 'PATCH' }), 405],
      [bench.ask('/v1/events?since=-1'), 400],
      [bench.ask('/v1/events?since=a'), 400],
      [bench.ask('/v1/events?since=1&since=2'), 400],
      [bench.ask('/v1/events?what=1'), 400],
      [bench.ask('/v1/boards/50:02:91:c3:37:a5'), 404],
      [bench.ask('/v1/boards/..%2F..%2Fetc/backups/x/image'), 404],
      [bench.ask('/v1/jobs/1e3'), 404],
      [post('{'), 400],
      [post('"text"'), 400],
      [post(null), 400],
      [post({}), 400],
      [post({ kind: 'restore-everything' }), 400],
      [post({ kind: 'backup' }), 400],
      [post({ kind: 'backup', port: '/dev/ttyUSB0', more: 1 }), 400],
      [post({ kind: 'backup', port: '/dev/ttyUSB0' }), 404],
      [post({ kind: 'restore', board: 'nobody' }), 404],
      [post({ kind: 'backup', port: 'x'.repeat(70_000) }), 413],
      [post('kind=backup', { 'content-type': 'text/plain' }), 415],
      [bench.ask('/v1/ports/x/hold', { method: 'PUT', body: { forSeconds: -1 } }), 400],
      [bench.ask('/v1/ports/x/hold', { method: 'PUT', body: { forSeconds: 1e12 } }), 400],
    ];
    for (const [index, [asking, wanted]] of cases.entries()) {
      const { status, headers, json } = await asking;
      assert.equal(status, wanted, `case ${index}: ${JSON.stringify(json)}`);
      assert.match(String((headers as Record<string, unknown>)['content-type']), /^application\/problem\+json/);
      assert.equal(json['status'], wanted);
      for (const key of ['title', 'detail', 'code', 'hint'])
        assert.equal(typeof json[key], 'string', `${index} ${key}`);
    }
    assert.equal((await bench.ask('/v1/status')).status, 200);
  });

  it('that are no HTTP, that come in pieces, or that end in the middle harm nobody', async (t) => {
    const bench = await ApiBench.open(t);
    const say = (text: string) =>
      new Promise<string>((resolve) => {
        const socket = connect(bench.socketPath);
        let heard = '';
        socket.on('data', (chunk) => (heard += chunk.toString('latin1')));
        socket.on('error', () => undefined);
        socket.on('close', () => resolve(heard));
        socket.end(text);
      });
    for (const text of ['\0\0\0', 'GET', 'GET /v1/status HTTP/9.9\r\n\r\n', 'GET /v1/status\r\n\r\n', '{"a":1}\n']) {
      assert.match(await say(text), /^(HTTP\/1\.1 400|)/);
    }
    const huge = await say(`GET /v1/status HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(40_000)}\r\n\r\n`);
    assert.match(huge, /^HTTP\/1\.1 4/);
    const announced = await new Promise<string>((resolve) => {
      const socket = connect(bench.socketPath);
      socket.on('data', (chunk) => resolve(chunk.toString('latin1')));
      socket.on('error', () => resolve('')).on('close', () => resolve(''));
      socket.write('POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n{');
      t.after(() => socket.destroy());
    });
    assert.match(announced, /^HTTP\/1\.1 413 /, 'before all of it has come');
    const full = 'POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{"kind":"backup"}   ';
    for (let cut = 1; cut < full.length; cut += 7) await say(full.slice(0, cut));
    assert.equal((await bench.ask('/v1/status')).status, 200);
    assert.deepEqual(bench.shop.daemon.jobs, []);
  });
});

describe('jobs that a process of its own does', () => {
  function runner() {
    const runs: {
      args: readonly string[];
      listener: CommandListener;
      answers: string[];
      interrupted: boolean;
      end: (status: number) => void;
    }[] = [];
    const start: StartCommand = (args, listener) => {
      let end: (status: number) => void = () => undefined;
      const ended = new Promise<{ status: number; error: undefined }>((resolve) => {
        end = (status) => resolve({ status, error: undefined });
      });
      const run = { args, listener, answers: [] as string[], interrupted: false, end };
      runs.push(run);
      return {
        ended,
        answer: (_id, text) => void run.answers.push(text),
        interrupt: () => {
          run.interrupted = true;
          end(130);
        },
      };
    };
    return { runs, start };
  }

  async function boardWithBackup(bench: ApiBench) {
    const device = bench.shop.board();
    bench.shop.plug(device);
    await bench.shop.said('Backed up and verified');
    await bench.shop.idle();
    return macOf(device.board);
  }

  it('a restore shows its plan, and writes only after a yes', async (t) => {
    const { runs, start } = runner();
    const bench = await ApiBench.open(t, { start });
    const mac = await boardWithBackup(bench);
    const body = { kind: 'restore', board: mac, at: 'first' };
    const { status, headers } = await bench.ask('/v1/jobs', { method: 'POST', body });
    assert.equal(status, 202);
    const [run] = runs;
    assert.deepEqual(run?.args, ['restore', `--mac=${mac}`, '--at=first']);
    const path = headers.location ?? '';
    assert.equal((await bench.ask(`${path}/confirm`, { method: 'POST', body: { confirm: true } })).status, 409);
    run.listener.onProgress({ port: '/dev/ttyUSB0', phase: 'comparing', doneBytes: 1, totalBytes: 2 });
    run.listener.onPlan({ sectors: 3 });
    run.listener.onAsk(7, 'Write?');
    const waiting = (await bench.ask(path)).json;
    assert.deepEqual(
      [waiting['phase'], waiting['plan'], waiting['question']],
      ['confirmation', { sectors: 3 }, 'Write?'],
    );
    assert.equal((await bench.ask(`${path}/confirm`, { method: 'POST', body: { confirm: false } })).status, 400);
    assert.deepEqual(run.answers, []);
    assert.equal((await bench.ask(`${path}/confirm`, { method: 'POST', body: { confirm: true } })).status, 202);
    assert.deepEqual(run.answers, ['yes']);
    run.listener.onResult({ mac, sectorsWritten: 3 });
    run.end(0);
    await bench.shop.until(() => bench.shop.eventsOf('job-done').some(({ kind }) => kind === 'restore'), 'the end');
    const done = (await bench.ask(path)).json;
    assert.deepEqual([done['state'], done['document']], ['done', { mac, sectorsWritten: 3 }]);
    assert.deepEqual([waiting['agreed'], done['question'], done['agreed']], [null, null, 'Write?']);
  });

  it('that fail say why; a cancel ends them as Ctrl-C does', async (t) => {
    const { runs, start } = runner();
    const bench = await ApiBench.open(t, { start });
    const first = await bench.ask('/v1/jobs', { method: 'POST', body: { kind: 'identify', port: '/dev/ttyUSB7' } });
    runs[0]!.listener.onResult({ error: { code: 'port-missing', message: 'No such port', hint: '' } });
    runs[0]!.end(3);
    await bench.shop.until(() => bench.shop.eventsOf('job-ended').length === 1, 'the end');
    const failed = (await bench.ask(first.headers.location ?? '')).json;
    assert.deepEqual([failed['state'], (failed['error'] as { code: string }).code], ['failed', 'port-missing']);
    const second = await bench.ask('/v1/jobs', { method: 'POST', body: { kind: 'prune' } });
    assert.deepEqual(runs[1]!.args, ['prune', '--dry-run']);
    assert.equal((await bench.ask(second.headers.location ?? '', { method: 'DELETE' })).status, 202);
    assert.equal(runs[1]!.interrupted, true);
    await bench.shop.until(() => bench.shop.eventsOf('job-ended').length === 2, 'the end');
    assert.equal((await bench.ask(second.headers.location ?? '')).json['failure'], 'stopped');
    const third = await bench.ask('/v1/jobs', { method: 'POST', body: { kind: 'verify' } });
    await bench.ask(third.headers.location ?? '', { method: 'DELETE' });
    await bench.shop.until(() => bench.shop.eventsOf('job-ended').length === 3, 'the end');
    assert.equal((await bench.ask(third.headers.location ?? '')).json['failure'], 'stopped');
  });

  it('a restore that is cancelled says by what, and what finishes it', async (t) => {
    const { runs, start } = runner();
    const bench = await ApiBench.open(t, { start });
    const mac = await boardWithBackup(bench);
    const endOf = async (finish: string | null) => {
      const body = { kind: 'restore', board: mac };
      const { headers } = await bench.ask('/v1/jobs', { method: 'POST', body });
      const path = headers.location ?? '';
      const error = { code: 'interrupted', message: 'Interrupted', hint: '' };
      runs.at(-1)?.listener.onResult({ mac, halfRestored: { finish }, error });
      await bench.ask(path, { method: 'DELETE' });
      await bench.shop.until(() => bench.shop.eventsOf('job-ended').some(({ job }) => path.endsWith(`/${job}`)), 'it');
      return (await bench.ask(path)).json['error'];
    };
    const message = 'The job was cancelled';
    const hint = 'The board is half restored. Finish with: espd restore x';
    assert.deepEqual(await endOf('espd restore x'), { code: 'interrupted', message, hint });
    assert.deepEqual(await endOf(null), { code: 'interrupted', message, hint: '' });
  });

  it('a pull is one, however many want that backup; its progress is at no port', async (t) => {
    const { runs, start } = runner();
    const bench = await ApiBench.open(t, { start });
    const mac = await boardWithBackup(bench);
    const ask = (body: object) => bench.ask('/v1/jobs', { method: 'POST', body: { kind: 'pull', ...body } });
    const first = await ask({ board: mac, at: '2026-11-23T10-00-00Z' });
    assert.deepEqual([first.status, first.json['kind'], first.json['mac']], [202, 'pull', mac]);
    assert.deepEqual(runs[0]?.args, ['pull', `${mac}@2026-11-23T10-00-00Z`]);
    const same = await ask({ board: mac, at: '2026-11-23T10-00-00Z' });
    assert.equal(same.json['job'], first.json['job']);
    const other = await ask({ board: mac });
    assert.notEqual(other.json['job'], first.json['job']);
    assert.deepEqual(runs[1]?.args, ['pull', `${mac}@latest`]);
    runs[0].listener.onProgress({ port: null, phase: 'fetching', doneBytes: 1, totalBytes: 4 });
    const told = (await bench.ask(first.headers.location ?? '')).json;
    assert.deepEqual([told['phase'], told['port'], told['doneBytes'], told['totalBytes']], ['fetching', null, 1, 4]);
    runs[0].end(0);
    await bench.shop.until(() => bench.shop.eventsOf('job-ended').length === 1, 'the end');
    const again = await ask({ board: mac, at: '2026-11-23T10-00-00Z' });
    assert.notEqual(again.json['job'], first.json['job'], 'one that has ended is not joined');
    assert.equal((await ask({ board: 'nobody' })).status, 404);
    assert.equal((await ask({ board: mac, at: '' })).status, 400);
  });

  it('one image on many boards: each is told and counted, and the report is the document', async (t) => {
    const { runs, start } = runner();
    const bench = await ApiBench.open(t, { start });
    const mac = await boardWithBackup(bench);
    const body = { kind: 'restore', board: mac, many: true, count: 3, keep: ['nvs'] };
    const { status, headers, json } = await bench.ask('/v1/jobs', { method: 'POST', body });
    assert.equal(status, 202);
    assert.deepEqual([json['counts'], json['boards']], [{ passed: 0, failed: 0, skipped: 0 }, []]);
    const [run] = runs;
    assert.deepEqual(run?.args, ['restore', `--from=${mac}`, '--at=latest', '--many', '--count=3', '--keep=nvs']);
    const error = { code: 'write-mismatch', message: 'No', hint: '' };
    const other = '24:0a:c4:00:00:01';
    run.listener.onEvent({ board: { verdict: 'pass', port: '/dev/ttyUSB1', mac: other, sectorsWritten: 3 } });
    run.listener.onEvent({ board: { verdict: 'fail', port: '/dev/ttyUSB2', mac: null, error } });
    run.listener.onEvent({ board: { verdict: 'skip', port: '/dev/ttyUSB3', mac: other, error } });
    for (const odd of [null, 'board', {}, { board: { verdict: 'good', port: 'x', mac: null } }, { board: null }]) {
      run.listener.onEvent(odd);
    }
    const path = headers.location ?? '';
    const told = (await bench.ask(path)).json;
    assert.deepEqual(told['counts'], { passed: 1, failed: 1, skipped: 1 });
    assert.deepEqual(
      (told['boards'] as { verdict: string }[]).map(({ verdict }) => verdict),
      ['pass', 'fail', 'skip'],
    );
    assert.deepEqual(
      bench.shop.eventsOf('clone-done').map(({ verdict, port: at, mac: of, error: why }) => [verdict, at, of, why]),
      [
        ['pass', '/dev/ttyUSB1', other, null],
        ['fail', '/dev/ttyUSB2', null, error],
        ['skip', '/dev/ttyUSB3', other, error],
      ],
    );
    run.listener.onEvent({ report: { passed: 1 } });
    run.end(1);
    await bench.shop.until(() => bench.shop.eventsOf('job-ended').length === 1, 'the end');
    assert.deepEqual((await bench.ask(path)).json['document'], { passed: 1 });
  });

  it('a restore of some partitions; an undo; one that was interrupted is finished as it was begun, but asks again', async (t) => {
    const { runs, start } = runner();
    const bench = await ApiBench.open(t, { start });
    const mac = await boardWithBackup(bench);
    const ask = (body: object) => bench.ask('/v1/jobs', { method: 'POST', body });
    await ask({ kind: 'restore', board: mac, partitions: ['nvs', '--yes'], keep: ['phy'], port: '/dev/ttyUSB0' });
    assert.deepEqual(runs[0]?.args, [
      ...['restore', `--mac=${mac}`, '--at=latest', '--port=/dev/ttyUSB0'],
      ...['--partition=nvs', '--partition=--yes', '--keep=phy'],
    ]);
    const undone = await ask({ kind: 'undo', board: mac });
    assert.deepEqual([runs[1]?.args, undone.json['kind']], [['undo', mac], 'restore']);
    const nothing = await ask({ kind: 'finish', board: mac });
    assert.deepEqual([nothing.status, runs.length], [409, 2]);
    const [id = ''] = await bench.shop.archive.backupIds(mac);
    const region = { offset: 0, sizeBytes: 4096 };
    await bench.shop.archive.beginRestore({
      ...{ mac, from: { mac, id }, startedAt: '2026-11-26T00:00:00.000Z', why: 'latest', regions: [region] },
      ...{ done: [{ ...region, md5: '0'.repeat(32) }], parts: [{ ...region, name: 'nvs' }] },
      ...{ snapshot: null, snapshotIsNew: false },
      options: { port: '/dev/ttyUSB5', ignore: ['layout'], yes: true, toldFlashBytes: null, unconfirmed: true },
    });
    await ask({ kind: 'finish', board: mac });
    const finish = ['restore', '--mac', mac, '--at', id, '--partition', 'nvs'];
    assert.deepEqual(runs[2]?.args, [...finish, '--port', '/dev/ttyUSB5', '--ignore-layout', '--unconfirmed']);
    const { json } = await ask({ kind: 'finish', board: mac, port: '/dev/ttyUSB0' });
    assert.deepEqual(runs[3]?.args, [...finish, '--port', '/dev/ttyUSB0', '--ignore-layout', '--unconfirmed']);
    assert.deepEqual([json['kind'], json['mac'], json['port']], ['restore', mac, '/dev/ttyUSB0']);
    for (const body of [
      { kind: 'restore', board: mac, many: true, port: '/dev/ttyUSB0' },
      { kind: 'restore', board: mac, many: true, to: mac },
      { kind: 'restore', board: mac, many: true, dryRun: true },
      { kind: 'restore', board: mac, many: true, partitions: ['nvs'] },
      { kind: 'restore', board: mac, count: 3 },
      { kind: 'restore', board: mac, many: true, count: 0 },
    ]) {
      assert.equal((await ask(body)).status, 400, JSON.stringify(body));
    }
    assert.equal(runs.length, 4);
  });

  it('are started by an explicit request alone: no plug-in, and at most 8', async (t) => {
    const { runs, start } = runner();
    const bench = await ApiBench.open(t, { start });
    await boardWithBackup(bench);
    assert.equal(runs.length, 0);
    const ask = () => bench.ask('/v1/jobs', { method: 'POST', body: { kind: 'verify' } });
    for (let job = 0; job < 8; job++) assert.equal((await ask()).status, 202);
    const { status, json } = await ask();
    assert.deepEqual([status, json['code']], [503, 'daemon-busy']);
    for (const run of runs) run.end(0);
  });
});

describe('the socket', () => {
  it('is for user and group, and gone when the daemon is', async (t) => {
    const bench = await ApiBench.open(t);
    const { mode } = await stat(bench.socketPath);
    assert.equal(mode & 0o777, 0o660);
    await bench.control.close();
    await assert.rejects(readFile(join(bench.socketPath)), { code: 'ENOENT' });
  });

  it('ends streams when the daemon stops', async (t) => {
    const bench = await ApiBench.open(t);
    const ended = new Promise<void>((resolve, reject) => {
      const asking = request({ socketPath: bench.socketPath, path: '/v1/events' }, (response) => {
        response.once('data', () => void bench.control.close());
        response.on('close', () => resolve());
        response.on('error', () => undefined);
      });
      asking.on('error', reject);
      asking.end();
    });
    await ended;
  });
});
