/** What the doctor says of remotes: what the daemon has found; and that it connects to none. */

import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { configSchema } from '../../src/config/schema.ts';
import { examine } from '../../src/doctor/doctor.ts';
import { checkNetwork } from '../../src/doctor/network.ts';
import { checkRemotes, judgeRemote } from '../../src/doctor/remotes.ts';
import type { StationPort } from '../../src/doctor/subject.ts';
import { commandOf } from '../../src/doctor/types.ts';
import { EspdError } from '../../src/errors.ts';
import { remotePorts } from '../../src/serial/remotes.ts';
import { RUNNING_SERVICE, lines } from './machine.ts';
import { factsOf, loadedConfig, said, subjectOf } from './subject.ts';

const DESK = { name: 'desk', url: 'rfc2217://Pi:4001' };
const AT = '2026-11-27T14:00:00.000Z';
const PORT: StationPort = {
  ...{ port: 'rfc2217://pi:4001', state: 'done', mac: '50:02:91:c3:37:a5' },
  ...{ reason: null, error: null, retryAt: null },
};
const failed = (code: string, retryAt: string | null): Partial<StationPort> => ({
  ...{ state: 'failed', mac: null, retryAt },
  error: { code, message: `rfc2217://pi:4001: nothing listens at pi port 4001`, hint: 'Is ser2net running?' },
});
const withRemotes = (...remotes: { name: string; url: string }[]) =>
  loadedConfig(undefined, (config) => ({ ...config, watch: configSchema.parse({ watch: { remotes } }).watch }));

describe('the doctor on a remote', () => {
  const judged = (change: Partial<StationPort>) => judgeRemote(DESK, [{ ...PORT, ...change }]);

  it('says what the daemon has found there, why it cannot be reached, and when it is tried again', () => {
    assert.deepEqual(said([judged({})]), [
      'ok remotes: desk (rfc2217://pi:4001) answers: its board is 50:02:91:c3:37:a5',
    ]);
    const away = judged(failed('port-missing', AT));
    assert.deepEqual(said([away]), ['problem remotes: desk: rfc2217://pi:4001: nothing listens at pi port 4001']);
    assert.equal(away.detail, `Is ser2net running? The next try is at ${AT}`);
    assert.equal(away.remedy, undefined);
    const given = judged(failed('no-rfc2217', null));
    assert.match(given.detail ?? '', /not tried again by itself$/);
    assert.equal(given.remedy && commandOf(given.remedy, false), 'espd backup --port desk');
    assert.equal(judged(failed('port-busy', AT)).status, 'note');
    assert.match(
      said([judged({ state: 'left-alone', reason: 'denied by the config', mac: null })])[0] ?? '',
      /^note .*denied/,
    );
    assert.match(said([judged({ state: 'idle', mac: null })])[0] ?? '', /^ok .*nobody has looked at it yet$/);
    assert.equal(judged({ state: 'idle', mac: null, retryAt: AT }).status, 'note');
    assert.equal(judged({ state: 'working', mac: null }).status, 'ok');
    assert.match(said([judgeRemote(DESK, [])])[0] ?? '', /^note .*The daemon does not know desk/);
  });

  it('says nothing where there is none, and one thing for all where no daemon answers', async () => {
    assert.deepEqual(await checkRemotes(factsOf({})), []);
    const [finding, ...others] = await checkRemotes(
      factsOf({}, { loaded: withRemotes(DESK, { name: 'shelf', url: 'rfc2217://pi:4002' }) }),
    );
    assert.deepEqual(others, []);
    assert.equal(finding?.status, 'note');
    assert.match(finding.title, /desk and shelf/);
    assert.match(finding.detail ?? '', /^No daemon answers\. The doctor connects to none/);
    assert.equal(finding.remedy && commandOf(finding.remedy, false), 'espd identify --port desk');
    assert.equal(finding.remedy?.safe, false);
    const broken = { loaded: new EspdError('config-invalid', 'x') };
    assert.deepEqual(await checkRemotes(factsOf({}, broken)), []);
  });

  it('connects to none, in any of its checks', async () => {
    let connections = 0;
    const server = createServer((socket) => {
      connections++;
      socket.destroy();
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const remote = { name: 'desk', url: `rfc2217://127.0.0.1:${port}` };
    const subject = subjectOf(
      {},
      { loaded: withRemotes(remote), listPorts: () => Promise.resolve(remotePorts([remote])) },
    );
    const findings = await examine(subject);
    server.close();
    await once(server, 'close');
    assert.ok(findings.some(({ id }) => id === 'remotes'));
    assert.equal(connections, 0);
  });

  it('names its host in the drop-in that lets the service use the network', async () => {
    const remotes = Array.from({ length: 100 }, (_, index) => ({
      name: `r${index}`,
      url: `rfc2217://10.0.0.${index}:4001`,
    }));
    const machine = { programs: { systemctl: { stdout: lines(RUNNING_SERVICE) } } };
    const listPorts = () => Promise.resolve(remotePorts(remotes));
    const [finding] = await checkNetwork(factsOf(machine, { loaded: withRemotes(...remotes), listPorts }));
    assert.deepEqual([finding?.status, finding?.remedy?.safe], ['problem', true]);
    const [step] = finding?.remedy?.steps ?? [];
    assert.ok(step?.kind === 'write');
    const [, allowed = ''] = /^IPAddressAllow=(.*)$/m.exec(step.text) ?? [];
    assert.deepEqual(allowed.split(' ').sort(), remotes.map((_, index) => `10.0.0.${index}`).sort());
    assert.match(step.text, /^RestrictAddressFamilies=AF_INET AF_INET6$/m);
  });
});
