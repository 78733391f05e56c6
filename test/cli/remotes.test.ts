/** Remotes of the config by their names: in commands, in what they print, and where a daemon does them. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { complete } from '../../src/cli/completion/complete.ts';
import { statusLines } from '../../src/cli/station/status-lines.ts';
import { markOf, placeOf } from '../../src/cli/station/words.ts';
import { readStatus } from '../../src/client/status-document.ts';
import { ApiBench } from '../control/support.ts';
import { Bench, checkError } from '../support/cli.ts';

async function remoteBench(t: Parameters<typeof Bench.open>[0]) {
  const bench = await Bench.open(t);
  const board = await bench.addBoard({ family: 'esp32c3' }, { linked: false });
  await bench.configure({ watch: { remotes: [{ name: 'desk', url: board.address }] } });
  return { bench, ...board };
}

describe('commands', () => {
  test('take the name of a remote for a port, and tell its address', async (t) => {
    const { bench, board, address } = await remoteBench(t);
    const { status, json } = await bench.runJson<{ backups: { port: string; mac: string }[] }>([
      'backup',
      '--port',
      'desk',
    ]);
    assert.equal(status, 0);
    assert.deepEqual(
      json.backups.map(({ port, mac }) => [port, mac]),
      [[address, board.mac]],
    );
    const verified = await bench.run(['verify', '--device', '--port', 'desk']);
    assert.equal(verified.status, 0, verified.stderr);
    assert.equal(board.mode, 'app');
  });

  test('ask it like any board that is attached, by its MAC as well', async (t) => {
    const { bench, board, address } = await remoteBench(t);
    const { json } = await bench.runJson<{ boards: { port: string; mac: string }[] }>(['identify']);
    assert.deepEqual(
      json.boards.map(({ port, mac }) => [port, mac]),
      [[address, board.mac]],
    );
    assert.equal((await bench.run(['backup', '--mac', board.mac])).status, 0);
  });

  test('take a path for a path, and other spellings of the address for the remote', async (t) => {
    const { bench, address } = await remoteBench(t);
    await bench.fails(['identify', '--port', './desk'], 'port-missing', { hint: false });
    const { hint } = await bench.fails(['identify', '--port', 'desktop'], 'port-missing');
    assert.equal(hint, 'Its remotes are: desk');
    const { json } = await bench.runJson<{ boards: { port: string }[] }>([
      'identify',
      '--port',
      address.toUpperCase().replace('RFC', 'Rfc'),
    ]);
    assert.equal(json.boards[0]?.port, address);
  });

  test('send nothing to what is no server of RFC 2217', async (t) => {
    const bench = await Bench.open(t);
    const board = await bench.addBoard({ family: 'esp32c3' }, { as: 'socket', linked: false });
    await bench.configure({ watch: { remotes: [{ name: 'desk', url: board.address.replace('socket', 'rfc2217') }] } });
    await bench.fails(['identify', '--port', 'desk'], 'no-rfc2217');
    assert.deepEqual(board.board.commands, []);
  });

  test('are completed with its name', async (t) => {
    const { bench, address } = await remoteBench(t);
    let text = '';
    await complete(['--config', bench.configPath, 'ports'], {
      env: { HOME: bench.folder },
      write: (more) => (text += more),
    });
    assert.ok(text.split('\n').includes(`desk\t${address}`), text);
  });
});

describe('the station', () => {
  const DESK = { address: 'rfc2217://pi:4001', usb: null, name: 'desk' };

  test('tells programs its name and its address', async (t) => {
    const bench = await Bench.open(t);
    const api = await ApiBench.open(t);
    api.shop.plug(DESK);
    const { json } = await bench.runJson<{ ports: { port: string; name: string | null }[] }>(['status'], {
      env: { ESPD_SOCKET: api.socketPath },
    });
    assert.deepEqual(
      json.ports.map(({ port, name }) => [port, name]),
      [['rfc2217://pi:4001', 'desk']],
    );
  });

  test('holds and releases it by its name, which is stronger than the label of a board', async (t) => {
    const bench = await Bench.open(t);
    const api = await ApiBench.open(t);
    const env = { ESPD_SOCKET: api.socketPath };
    const other = api.shop.board();
    api.shop.plug(other);
    await api.shop.said('Backed up and verified');
    await api.shop.archive.marks.describe(other.board.mac as never, { label: 'desk' });
    api.shop.plug(DESK);
    assert.equal((await bench.run(['hold', 'desk'], { env })).status, 0);
    assert.deepEqual(
      api.shop.daemon.holds.map(({ port }) => port),
      ['rfc2217://pi:4001'],
    );
    assert.equal((await bench.run(['release', 'desk'], { env })).status, 0);
    assert.deepEqual(api.shop.daemon.holds, []);
    checkError(await bench.run(['hold', 'shelf'], { env }), 'archive-unknown-board');
  });

  test('says of no remote that it may be unplugged; of a port of a daemon that knows no names as before', () => {
    const port = { port: '/dev/ttyUSB0', state: 'done', since: '2026-11-27T14:00:00.000Z' };
    const document = {
      ...{ version: '9', instance: 'i', now: port.since, archive: '/a', lastSeq: 1, jobs: [], attention: [] },
      ports: [port, { ...port, port: 'rfc2217://pi:4001', name: 'desk' }],
    };
    const status = readStatus(document);
    assert.ok(status);
    assert.deepEqual(status.ports.map(placeOf), ['/dev/ttyUSB0', 'desk (rfc2217://pi:4001)']);
    assert.deepEqual(
      status.ports.map((view) => markOf(view).why),
      ['unplug', ''],
    );
    assert.ok(statusLines(status).some((line) => /desk \(rfc2217:\/\/pi:4001\) +- +- +DONE$/.test(line)));
    assert.equal(readStatus({ ...document, ports: [{ ...port, name: 7 }] }), undefined);
  });

  test('says why a remote cannot be reached, and when it is tried again', () => {
    const at = '2026-11-27T14:00:00.000Z';
    const error = { code: 'port-missing', message: 'nothing listens at pi port 4001', hint: 'Is ser2net running?' };
    const port = { port: 'rfc2217://pi:4001', name: 'desk', state: 'failed', since: at, error, retryAt: at };
    const document = {
      ...{ version: '9', instance: 'i', now: at, archive: '/a', lastSeq: 1, jobs: [], ports: [port] },
      attention: [{ at, about: 'port', port: port.port, mac: null, error }],
    };
    const status = readStatus(document);
    assert.ok(status);
    const text = statusLines(status).join('\n');
    assert.match(
      text,
      /desk \(rfc2217:\/\/pi:4001\) +- +- +FAILED, again at \d\d:\d\d:\d\d: nothing listens at pi port 4001$/m,
    );
    assert.match(
      text,
      /\d\d:\d\d:\d\d {2}desk \(rfc2217:\/\/pi:4001\): nothing listens .* \(port-missing\)\n +Is ser2net running\?$/m,
    );
  });
});
