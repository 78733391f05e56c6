/** What the doctor says of a permanent page: its password, and the network that the service needs for it. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Config } from '../../src/config/loader.ts';
import { clientsOf } from '../../src/doctor/network.ts';
import { checkPage, judgePage } from '../../src/doctor/page.ts';
import type { FileFacts } from '../../src/doctor/outside.ts';
import { factsOf, loadedConfig, said } from './subject.ts';

const listening =
  (listen: string | null) =>
  (config: Config): Config => ({ ...config, api: { ...config.api, listen } });
const file = (mode: number) => ({ kind: 'file', uid: 999, gid: 999, mode, changedMs: 0 }) satisfies FileFacts;
const PATH = '/var/lib/espd/web-login.json';

test('without api.listen nothing is said; with it a password must be set, and be its owner\u2019s alone', async () => {
  assert.deepEqual(await checkPage(factsOf({}, { loaded: loadedConfig(undefined, listening(null)) })), []);
  const facts = factsOf({}, { loaded: loadedConfig(undefined, listening('127.0.0.1:8266')) });
  const [missing] = await checkPage(facts);
  assert.match(said([missing!])[0] ?? '', /^problem page-password: No password is set for the page at 127/);
  assert.deepEqual(missing?.remedy?.steps, [{ kind: 'run', argv: ['espd', 'web', 'set-password'], root: true }]);
  const judge = (look: Parameters<typeof judgePage>[0]['file']) =>
    said(judgePage({ listen: '127.0.0.1:8266', path: PATH, file: look }))[0] ?? '';
  assert.match(judge({ found: true, value: file(0o600) }), /^ok page-password/);
  assert.match(judge({ found: true, value: file(0o640) }), /^problem page-password: .*read by others/);
  assert.match(judge({ found: false, code: 'EACCES' }), /^note page-password: .*cannot be checked/);
});

test('who must be able to reach the service for its page', () => {
  assert.deepEqual(clientsOf(null), []);
  assert.deepEqual(clientsOf('127.0.0.1:8266'), ['127.0.0.1']);
  assert.deepEqual(clientsOf('[::1]:8266'), ['::1']);
  // From wherever.
  assert.deepEqual(clientsOf('192.168.1.7:8266'), ['browsers at 192.168.1.7:8266']);
  assert.deepEqual(clientsOf('[::]:8266'), ['browsers at [::]:8266']);
});
