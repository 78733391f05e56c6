/** The permanent page (`api.listen`) of the hardened unit, by the steps of docs/web.md: closed before, and for whom it opens. */

import assert from 'node:assert/strict';
import { type Lab, makeBoard } from '../lab.ts';
import { systemTest } from '../session.ts';
import { plugAndBackUp } from './backup.ts';
import { withConfig } from './config.ts';

const PORT = 8266;
/** Addresses for documentation (RFC 5737): to the filter of the unit they are not this machine's loopback. */
const OURS = '192.0.2.7';
const THEIRS = '192.0.2.99';
const PASSWORD = 'correct horse battery';

interface Asked {
  readonly path: string;
  readonly host?: string;
  /** Address that it comes from; another machine's if absent. */
  readonly from?: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** `failed`: the system's code, where nobody answered. */
interface Answer {
  readonly failed?: string;
  readonly status?: number;
  readonly headers: Readonly<Record<string, string | readonly string[]>>;
  readonly text: string;
}

/** Runs in the guest, which has no curl: one request, its answer as JSON. A dropped packet brings no answer at all. */
const CLIENT = `
const { host = '${OURS}', from = '${THEIRS}', path, method = 'GET', headers = {}, body = '' } = JSON.parse(atob(process.argv[1]));
const tell = (answer) => { console.log(JSON.stringify({ headers: {}, text: '', ...answer })); process.exit(0); };
const request = require('http').request({ host, port: ${PORT}, localAddress: from, path, method, headers, timeout: 20000 }, (response) => {
  let text = '';
  response.setEncoding('utf8').on('data', (chunk) => (text += chunk));
  response.on('end', () => tell({ status: response.statusCode, headers: response.headers, text }));
});
request.on('timeout', () => tell({ failed: 'silence' }));
request.on('error', ({ code }) => tell({ failed: code }));
request.end(body);
`.replaceAll('\n', ' ');

async function ask(lab: Lab, asked: Asked): Promise<Answer> {
  const argument = Buffer.from(JSON.stringify(asked)).toString('base64');
  return JSON.parse(await lab.guest.check(`node -e "${CLIENT}" ${argument}`, 120_000)) as Answer;
}

/** A login of the page itself. */
function login(password: string, headers: Readonly<Record<string, string>> = {}): Asked {
  const body = JSON.stringify({ password });
  return { path: '/web/login', method: 'POST', headers: { 'Content-Type': 'application/json', ...headers }, body };
}

interface Check {
  readonly id: string;
  readonly status: string;
  readonly title: string;
  readonly fix?: { readonly command: string };
}

async function checkOf(lab: Lab, id: string): Promise<Check> {
  const { stdout } = await lab.guest.run('espd doctor --json', 180_000);
  const { checks } = JSON.parse(stdout) as { checks: Check[] };
  const check = checks.find((one) => one.id === id);
  assert.ok(check !== undefined, `doctor has ${id}: ${stdout}`);
  return check;
}

systemTest(
  'the permanent page, as another machine sees it: closed as installed, opened by doctor --fix, for nobody without login',
  async (lab) => {
    for (const address of [OURS, THEIRS]) await lab.guest.check(`ip address add ${address}/32 dev lo`);
    await withConfig(lab, `api: { listen: ${OURS}:${PORT} }`, async () => {
      assert.equal((await checkOf(lab, 'page-password')).status, 'problem');
      const set = await lab.guest.check(`echo '${PASSWORD}' | espd web set-password --json`, 120_000);
      const { file } = JSON.parse(set) as { file: string };
      assert.equal(
        await lab.guest.check(`stat --format='%U %a' ${file}`),
        'espd 600',
        'root has set it for the service',
      );

      const refused = lab.journal.next(/The page cannot be served/);
      await lab.restartDaemon();
      assert.match(await refused, /the service may not use the network.*espd doctor/);
      assert.equal((await ask(lab, { path: '/' })).failed, 'ECONNREFUSED');
      const closed = await checkOf(lab, 'service-network');
      assert.equal(closed.status, 'problem');
      assert.match(closed.title, /may not use the network.*browsers at 192\.0\.2\.7/);
      assert.match(closed.fix?.command ?? '', /espd-network\.conf/);

      const fixed = await lab.guest.run('espd doctor --fix --yes', 180_000);
      assert.match(fixed.stdout, /espd-network\.conf/);
      const opened = lab.journal.next(/The page can be opened/);
      await lab.restartDaemon();
      await opened;
      assert.equal((await checkOf(lab, 'service-network')).status, 'ok');

      const page = await ask(lab, { path: '/' });
      assert.equal(page.status, 200);
      assert.match(page.text, /<title>/);
      for (const path of ['/v1/status', '/v1/boards', '/v1/events', '/metrics']) {
        assert.equal((await ask(lab, { path })).status, 401, path);
      }
      assert.equal((await ask(lab, { path: '/', headers: { Host: 'evil.example' } })).status, 403);
      assert.equal((await ask(lab, login(PASSWORD, { Origin: 'http://evil.example' }))).status, 403);
      assert.equal((await ask(lab, login(`${PASSWORD}!`))).status, 401);

      const { board, cookie, csrf } = await logInAndBackUp(lab);
      const session = { Cookie: cookie };
      const boards = await ask(lab, { path: '/v1/boards', headers: session });
      assert.ok(boards.text.includes(board), boards.text);
      const change = { path: `/v1/boards/${board}`, method: 'PATCH', body: '{"label":"kitchen"}' };
      const headers = { ...session, 'Content-Type': 'application/json' };
      assert.equal((await ask(lab, { ...change, headers })).status, 403, 'a cookie alone changes nothing');
      const foreign = { ...headers, 'X-Espd-Csrf': csrf, Origin: 'http://evil.example' };
      assert.equal((await ask(lab, { ...change, headers: foreign })).status, 403);
      assert.equal((await ask(lab, { ...change, headers: { ...headers, 'X-Espd-Csrf': csrf } })).status, 200);

      const besides = await ask(lab, { path: '/', host: '127.0.0.1', from: '127.0.0.1' });
      assert.equal(besides.failed, 'ECONNREFUSED', 'at that address alone');
      await lab.guest.check('espd web set-password --remove', 120_000);
      assert.equal(
        (await ask(lab, { path: '/v1/boards', headers: session })).status,
        401,
        'without password no session',
      );
    });
    await lab.guest.check('rm /etc/systemd/system/espd.service.d/espd-network.conf; systemctl daemon-reload');
    await lab.restartDaemon();
    assert.equal((await ask(lab, { path: '/' })).failed, 'ECONNREFUSED');
    for (const address of [OURS, THEIRS]) await lab.guest.check(`ip address del ${address}/32 dev lo`);
  },
);

/** A session, and a board that the service has backed up while its page was open. */
async function logInAndBackUp(lab: Lab): Promise<{ board: string; cookie: string; csrf: string }> {
  const { status, headers } = await ask(lab, login(PASSWORD));
  assert.equal(status, 204);
  const [said = ''] = headers['set-cookie'] ?? [];
  assert.match(said, /HttpOnly; SameSite=Strict/);
  const cookie = said.split(';', 1)[0] ?? '';
  const session = await ask(lab, { path: '/web/session', headers: { Cookie: cookie } });
  const { csrf } = JSON.parse(session.text) as { csrf: string };
  const board = makeBoard({ family: 'esp32' });
  await plugAndBackUp(lab, 1, board, { kind: 'cp210x' });
  return { board: board.mac, cookie, csrf };
}
