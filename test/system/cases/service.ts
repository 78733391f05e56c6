/** The unit: rights, hardening, and what systemd does to it. */

import assert from 'node:assert/strict';
import { ARCHIVE, type Lab, makeBoard } from '../lab.ts';
import { systemTest } from '../session.ts';
import { MIB, nextBackup, noise, plugAndBackUp, usbSerialJtagBoard, whenSent } from './backup.ts';
import { CONFIG, keepingConfig } from './config.ts';

const MAX_EXPOSURE = 2.5;

/** Runs `work` with the unit restarted with another setting, and restarts it with its own afterwards. */
async function withUnitSetting(lab: Lab, setting: string, work: () => Promise<void>): Promise<void> {
  const folder = '/run/systemd/system/espd.service.d';
  await lab.guest.check(`mkdir -p ${folder}; printf '[Service]\\n${setting}\\n' > ${folder}/test.conf`);
  await lab.guest.check('systemctl daemon-reload');
  await lab.restartDaemon();
  await work();
  // A board that is still there would be worked at again, and be pulled out in the middle when the next test begins.
  await lab.clear();
  await lab.guest.check(`rm -r ${folder}; systemctl daemon-reload`);
  await lab.restartDaemon();
}

systemTest('the service runs as espd, hardened, and nobody else reads the archive', async (lab) => {
  await plugAndBackUp(lab, 1, makeBoard({ family: 'esp32' }), { kind: 'cp210x' });
  assert.equal(await lab.guest.check(`ps -o user= -p ${await lab.mainPid()}`), 'espd');
  const foreign = await lab.guest.check(`find ${ARCHIVE} ! -user espd -o ! -group espd -o -perm /077`);
  assert.equal(foreign, '', 'everything belongs to espd alone');
  const stranger = await lab.guest.run(`runuser -u nobody -- ls ${ARCHIVE}`);
  assert.notEqual(stranger.status, 0);
  const { stdout } = await lab.guest.run('systemd-analyze security --no-pager espd');
  const exposure = Number(/exposure level for espd.service: ([\d.]+)/.exec(stdout)?.[1]);
  assert.ok(exposure <= MAX_EXPOSURE, `exposure ${exposure}\n${stdout}`);
});

systemTest('killed in the middle of a read: systemd starts it again, and the board is backed up', async (lab) => {
  const { board, options } = usbSerialJtagBoard({ content: noise(41) });
  await lab.plug(1, board, options);
  await whenSent(board, 0.5 * MIB);
  const killed = await lab.mainPid();
  const outcome = nextBackup(lab, board.mac);
  await lab.guest.check('systemctl kill --signal=SIGKILL espd');
  await outcome;
  assert.notEqual(await lab.mainPid(), killed);
  assert.equal(board.mode, 'app');
  assert.equal((await lab.backupIds(board.mac)).length, 1);
});

systemTest('hanging: the watchdog ends it, and systemd starts it again', async (lab) => {
  // The same as the unit's 60 s, only sooner.
  await withUnitSetting(lab, 'WatchdogSec=20', async () => {
    const pid = await lab.mainPid();
    const again = lab.journal.next(/Watching for boards/);
    const watchdog = lab.journal.next(/Watchdog timeout/);
    await lab.guest.check(`kill -STOP ${pid}`);
    await watchdog;
    await again;
    assert.notEqual(await lab.mainPid(), pid);
    await plugAndBackUp(lab, 1, makeBoard({ family: 'esp32' }), { kind: 'cp210x' });
  });
});

systemTest('stopped in the middle of a read: in order, the board in its app, the archive clean', async (lab) => {
  // The unit gives it 10 s; whether an emulated processor can keep to that is not the question.
  await withUnitSetting(lab, 'TimeoutStopSec=60', async () => {
    const board = makeBoard({ family: 'esp32', content: noise(42) });
    await lab.plug(1, board, { kind: 'cp210x' });
    await whenSent(board, 0.5 * MIB);
    await lab.guest.check('systemctl stop espd', 120_000);
    assert.equal(board.mode, 'app');
    // It would be `timeout` if systemd had had to kill it after TimeoutStopSec=.
    assert.equal(await lab.guest.check('systemctl show --property=Result --value espd'), 'success');
    assert.deepEqual(await lab.backupIds(board.mac), []);
  });
});

systemTest('the config is reloaded; a faulty one is reported and the old one stays', async (lab) => {
  await keepingConfig(lab, async () => {
    const refused = lab.journal.next(/The config has a fault/);
    await lab.guest.check(`echo 'wach: {}' >> ${CONFIG}; systemctl reload espd`);
    assert.match(await refused, /wach/);
    await plugAndBackUp(lab, 1, makeBoard({ family: 'esp32' }), { kind: 'cp210x' });
    await lab.clear();

    const reloaded = lab.journal.next(/Config reloaded/);
    const deny = `s/^wach.*//; s/^  deny: \\[\\]/  deny: [{ product: "CP2102*" }]/`;
    // sed renames the new file into the old one's place: nobody reads a half of it.
    await lab.guest.check(`sed -i '${deny}' ${CONFIG}; systemctl reload espd`);
    await reloaded;
    const board = makeBoard({ family: 'esp32' });
    const denied = lab.journal.next(/Left alone.*denied by the config/);
    await lab.plug(1, board, { kind: 'cp210x' });
    await denied;
    assert.deepEqual(board.lineHistory, []);
  });
});

systemTest('a faulty config at the start: the unit fails and is not started for ever', async (lab) => {
  await lab.guest.check(`cp -p ${CONFIG} ${CONFIG}.good; echo 'wach: {}' >> ${CONFIG}`);
  assert.notEqual((await lab.guest.run('systemctl restart espd', 180_000)).status, 0);
  const facts = await lab.guest.check('systemctl show --property=ActiveState,ExecMainStatus espd');
  assert.match(facts, /^ActiveState=failed$/m);
  assert.match(facts, /^ExecMainStatus=2$/m);
  await lab.guest.check(`mv ${CONFIG}.good ${CONFIG}`);
  await lab.startDaemon();
});
