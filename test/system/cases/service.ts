/** The unit: rights, hardening, and what systemd does to it. */

import assert from 'node:assert/strict';
import { seededRandom } from '../../../src/simulator/index.ts';
import { ARCHIVE, makeBoard } from '../lab.ts';
import { systemTest } from '../session.ts';
import { nextBackup, plugAndBackUp } from './backup.ts';
import { usbSerialJtagBoard } from './bridges.ts';
import { whenSent } from './unplug.ts';

const MIB = 1024 * 1024;
const CONFIG = '/etc/espd/config.yaml';

systemTest('the service runs as espd, hardened, and nobody else reads the archive', async (lab) => {
  const { board } = { board: makeBoard({ family: 'esp32' }) };
  await plugAndBackUp(lab, 1, board, { kind: 'cp210x' });
  assert.equal(await lab.guest.check(`ps -o user= -p ${await lab.mainPid()}`), 'espd');
  const foreign = await lab.guest.check(`find ${ARCHIVE} ! -user espd -o -perm /077`);
  assert.equal(foreign, '', 'everything belongs to espd alone');
  const { stdout } = await lab.guest.run('systemd-analyze security --no-pager espd');
  const exposure = Number(/exposure level for espd.service: ([\d.]+)/.exec(stdout)?.[1]);
  assert.ok(exposure <= 2.5, `exposure ${exposure}`);
});

systemTest('killed in the middle of a read: systemd starts it again, and the board is backed up', async (lab) => {
  const { board, options } = usbSerialJtagBoard({ content: seededRandom(41).bytes(2 * MIB) });
  await lab.plug(1, board, options);
  await whenSent(board, 0.5 * MIB);
  const outcome = nextBackup(lab, board.mac);
  await lab.guest.check('systemctl kill --signal=SIGKILL espd');
  await outcome;
  assert.equal(board.mode, 'app');
  assert.equal((await lab.backupIds(board.mac)).length, 1);
});

systemTest('hanging: the watchdog ends it, and systemd starts it again', async (lab) => {
  const folder = '/run/systemd/system/espd.service.d';
  await lab.guest.check(`mkdir -p ${folder}; printf '[Service]\\nWatchdogSec=10\\n' > ${folder}/short.conf`);
  await lab.guest.check('systemctl daemon-reload');
  try {
    await lab.restartDaemon();
    const pid = await lab.mainPid();
    const again = lab.journal.next(/Watching for boards/);
    await lab.guest.check(`kill -STOP ${pid}`);
    await again;
    assert.notEqual(await lab.mainPid(), pid);
    const log = await lab.guest.check('journalctl --no-pager --output=cat --unit=espd -n 30');
    assert.match(log, /Watchdog timeout/);
  } finally {
    await lab.guest.check(`rm -r ${folder}; systemctl daemon-reload`);
    await lab.restartDaemon();
  }
});

systemTest('stopped in the middle of a read: in time, the board in its app, the archive clean', async (lab) => {
  const board = makeBoard({ family: 'esp32', content: seededRandom(42).bytes(2 * MIB) });
  await lab.plug(1, board, { kind: 'cp210x' });
  await whenSent(board, 0.5 * MIB);
  try {
    await lab.guest.check('systemctl stop espd');
    assert.equal(board.mode, 'app');
    // It would be `timeout` if systemd had had to kill it after TimeoutStopSec=.
    assert.equal(await lab.guest.check('systemctl show --property=Result --value espd'), 'success');
    assert.deepEqual(await lab.backupIds(board.mac), []);
  } finally {
    const started = lab.journal.next(/Watching for boards/);
    await lab.guest.check('systemctl start espd', 120_000);
    await started;
  }
});

systemTest('the config is reloaded; a faulty one is reported and the old one stays', async (lab) => {
  const original = `${CONFIG}.original`;
  await lab.guest.check(`cp ${CONFIG} ${original}`);
  try {
    const refused = lab.journal.next(/The config has a fault/);
    await lab.guest.check(`echo 'wach: {}' >> ${CONFIG}; systemctl reload espd`);
    assert.match(await refused, /wach/);
    const reloaded = lab.journal.next(/Config reloaded/);
    await lab.guest.check(
      `sed 's/^  deny: \\[\\]/  deny: [{ product: "CP2102*" }]/' ${original} > ${CONFIG}; systemctl reload espd`,
    );
    await reloaded;
    const board = makeBoard({ family: 'esp32' });
    const denied = lab.journal.next(/Left alone.*denied by the config/);
    await lab.plug(1, board, { kind: 'cp210x' });
    await denied;
    assert.deepEqual(board.lineHistory, []);
  } finally {
    await lab.guest.check(`mv ${original} ${CONFIG}; systemctl reload espd`);
  }
});
