/** Candidates for the shells: boards, backups and ports, and silence about every fault. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseMac } from '../../../src/mac.ts';
import { candidateLines, complete } from '../../../src/cli/completion/complete.ts';
import type { PortInfo } from '../../../src/serial/ports.ts';
import { Bench } from '../../support/cli.ts';

async function ask(
  args: readonly string[],
  ports: readonly PortInfo[] = [],
  env: NodeJS.ProcessEnv = { HOME: '/nonexistent' },
): Promise<string> {
  let text = '';
  const write = (part: string) => void (text += part);
  const host = { env, write, ports: () => Promise.resolve(ports) };
  assert.equal(await complete(args, host), 0);
  return text;
}

test('boards by label and MAC; behind an @ the backups of one', async (t) => {
  const bench = await Bench.open(t);
  const { board, address } = await bench.addBoard({ family: 'esp8266' });
  await bench.run(['backup', '--port', address]);
  await bench.run(['label', board.mac, 'door sensor']);
  const place = ['--config', bench.configPath];
  assert.equal(await ask([...place, 'boards', '--', 'x']), `door sensor\t${board.mac}\n${board.mac}\tdoor sensor\n`);
  assert.equal(await ask([`--archive=${bench.archivePath}`, 'boards']), await ask([...place, 'boards']));
  const [backup] = (await bench.archive.history(parseMac(board.mac)!)).backups;
  for (const name of ['door sensor', board.mac]) {
    const lines = (await ask([...place, 'boards', '--', `${name}@fi`])).split('\n');
    assert.deepEqual(lines, [`${name}@latest`, `${name}@first`, `${name}@${backup!.id}`, '']);
  }
});

test('boards of an archive that only the daemon may read come from the daemon', async (t) => {
  const bench = await Bench.open(t);
  const socketPath = join(bench.folder, 'espd.sock');
  const asked: string[] = [];
  const boards = [
    { mac: '50:02:91:00:00:01', label: 'door sensor' },
    { mac: '50:02:91:00:00:02', label: null },
  ];
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(request.url === '/v1/boards' ? { boards } : { backups: [{ id: 'ID1' }] }));
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  t.after(() => server.close());
  const env = { HOME: bench.folder, ESPD_CONFIG: bench.configPath, ESPD_SOCKET: socketPath };
  assert.equal(
    await ask(['boards'], [], env),
    'door sensor\t50:02:91:00:00:01\n50:02:91:00:00:01\tdoor sensor\n50:02:91:00:00:02\n',
  );
  assert.equal(
    await ask(['boards', '--', 'door sensor@'], [], env),
    'latest first ID1'.replace(/(\S+) ?/g, 'door sensor@$1\n'),
  );
  assert.deepEqual(asked, ['/v1/boards', '/v1/boards/door%20sensor']);
  // The daemon that is named has the archive that is meant, also where the config's can be read.
  await mkdir(bench.archivePath, { recursive: true });
  assert.match(await ask(['boards'], [], env), /^door sensor\t/);
  asked.pop();
  // A config or archive that is named is meant, and no other.
  assert.equal(await ask(['--config', bench.configPath, 'boards'], [], env), '');
  assert.equal(await ask(['boards'], [], { ...env, ESPD_SOCKET: '/nonexistent/espd.sock' }), '');
  assert.equal(asked.length, 2);
});

test('ports are those that espd would touch', async (t) => {
  const bench = await Bench.open(t);
  const usb = (productId: string, product: string) => ({
    ...{ vendorId: '10c4', productId, product },
    ...{ serialNumber: null, manufacturer: null, location: null },
  });
  const port = (address: string, facts: PortInfo['usb']): PortInfo => ({
    ...{ address, key: address, usb: facts, fromFolder: false },
  });
  await bench.configure({ watch: { deny: [{ path: '/dev/ttyUSB7' }] } });
  const ports = [
    port('/dev/ttyUSB0', usb('ea60', 'CP2102\u001b[31m')),
    port('/dev/ttyUSB7', usb('ea60', 'CP2102')),
    port('/dev/ttyS0', null),
  ];
  const text = await ask(['--config', bench.configPath, 'ports'], ports);
  assert.match(text, /^\/dev\/ttyUSB0\tCP2102.*\n$/);
  assert.doesNotMatch(text, /[\u0000-\u0008\u001b]/);
});

test('whatever is wrong, nothing is said', async (t) => {
  const bench = await Bench.open(t);
  const place = ['--config', bench.configPath];
  for (const args of [
    [],
    ['nonsense'],
    ['boards', '--frobnicate'],
    ['--config', '/nonexistent', 'boards'],
    ['--config'],
    ['--archive', '/nonexistent', 'boards'],
    [...place, 'boards', '--', 'nobody@'],
    [...place, 'boards', '--', '@@@'],
  ]) {
    assert.equal(await ask(args), '', args.join(' '));
  }
});

test('candidates: what cannot be printed or typed is left out, and never more than 500', () => {
  const plain = (value: string) => ({ value, about: '' });
  assert.equal(candidateLines([plain('a\nb'), plain('\u001b[2J'), plain(''), plain('c')]), 'c\n');
  const many = Array.from({ length: 2000 }, (_, index) => plain(`b${index}`));
  assert.equal(candidateLines(many).split('\n').length, 501);
  assert.equal(candidateLines([{ value: 'v', about: 'x\ty\nz' }]).split(/[\t\n]/).length, 3);
});

test('the process answers, and loads no command for it', () => {
  const root = join(import.meta.dirname, '../../..');
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [
      '--import',
      join(root, 'scripts/tsx.mjs'),
      join(root, 'src/main.ts'),
      'complete',
      '--archive',
      '/nonexistent',
      'boards',
    ],
    { encoding: 'utf8', cwd: root },
  );
  assert.deepEqual([status, stdout, stderr], [0, '', '']);
});
