/** The Debian package on a real systemd: an upgrade in the middle of a backup. test/package/ has what needs no board. */

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stageFiles, pack } from '../../../packaging/deb/build.ts';
import { installScript } from '../guest/install-page.ts';
import { ARCHIVE, type Lab, field, makeBoard } from '../lab.ts';
import { systemTest } from '../session.ts';
import { MIB, nextBackup, noise, plugAndBackUp, sha256, whenSent } from './backup.ts';

const FOLDER = '/var/tmp/packages';
const VERSIONS = { before: '0.1.0~before', after: '0.1.0~later' } as const;
/** Unpacking some thousand files, on an emulated processor. */
const DPKG_LIMIT_MS = 400_000;

/** Two packages in the guest that differ in their version alone; the second is made there, of the first. */
async function bringPackages(lab: Lab): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'espd-upgrade-'));
  try {
    const root = join(import.meta.dirname, '../../..');
    const [output, stage] = [join(folder, 'out'), join(folder, 'stage')];
    const options = { root, output, architecture: 'amd64', version: VERSIONS.before, date: new Date(0) } as const;
    stageFiles(stage, options);
    await lab.guest.check(`mkdir -p ${FOLDER}`);
    await lab.guest.putFile(pack(stage, options), `${FOLDER}/before.deb`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  const make = [
    `dpkg-deb --raw-extract before.deb stage`,
    `sed -i 's/^Version: .*/Version: ${VERSIONS.after}/' stage/DEBIAN/control`,
    `dpkg-deb --build --root-owner-group -Znone stage after.deb`,
    `rm -r stage`,
  ];
  await lab.guest.check(`cd ${FOLDER} && ${make.join(' && ')}`, DPKG_LIMIT_MS);
}

/** Node is in the guest, but not as a package; and an installation by npm has left its config. */
const dpkg = (lab: Lab, args: string) =>
  lab.guest.check(`DEBIAN_FRONTEND=noninteractive dpkg --force-depends --force-confold ${args} 2>&1`, DPKG_LIMIT_MS);

systemTest(
  'deb: an upgrade in the middle of a backup ends it in order, and the new version finishes it',
  async (lab) => {
    const isByNpm = (await lab.guest.run('test -e /usr/local/bin/espd')).status === 0;
    if (isByNpm) await lab.guest.check(await installScript('npm uninstall --global'), 120_000);
    await bringPackages(lab);
    const started = lab.journal.next(/Watching for boards/);
    await dpkg(lab, `--install ${FOLDER}/before.deb`);
    await started;
    // The unit gives it 10 s; whether an emulated processor can keep to that is not the question.
    const dropIn = '/run/systemd/system/espd.service.d';
    await lab.guest.check(`mkdir -p ${dropIn}; printf '[Service]\\nTimeoutStopSec=60\\n' > ${dropIn}/test.conf`);
    await lab.restartDaemon();

    const [board, other] = [makeBoard({ family: 'esp32', content: noise(43) }), makeBoard({ family: 'esp32c3' })];
    await plugAndBackUp(lab, 2, other, { kind: 'ch341' });
    const othersResets = other.resets;
    await lab.plug(1, board, { kind: 'cp210x' });
    await whenSent(board, 0.5 * MIB);
    const before = await lab.mainPid();

    // What apt does in two steps, too: prerm of the old version stops it, postinst of the new one starts it.
    await dpkg(lab, `--unpack ${FOLDER}/after.deb`);
    assert.equal(board.mode, 'app', 'the board runs its app while there is no daemon');
    assert.equal(await lab.guest.check('systemctl is-active espd || true'), 'inactive');
    // It would be `timeout` if systemd had had to kill it.
    assert.equal(await lab.guest.check('systemctl show --property=Result --value espd'), 'success');
    assert.deepEqual(await lab.backupIds(board.mac), [], 'nothing incomplete is in the archive');

    const outcome = nextBackup(lab, board.mac);
    await dpkg(lab, '--configure espd');
    assert.match(await lab.guest.check('espd --version'), /^0\./);
    assert.equal(await lab.guest.check("dpkg-query -W -f '${Version}' espd"), VERSIONS.after);
    const line = await outcome;
    assert.notEqual(await lab.mainPid(), before);
    assert.equal(await lab.archivedSha256(board.mac, field(line, 'id')), sha256(board.flash.snapshot()));
    assert.equal(board.mode, 'app');
    assert.equal((await lab.backupIds(board.mac)).length, 1);
    // Of the 2 MiB half a MiB had been read; some of it was still on its way to the archive.
    const readAgain = Number(field(line, 'flashBytesRead'));
    assert.ok(readAgain < 1.9 * MIB, `${readAgain} bytes were read, as if nothing had been kept`);
    assert.equal(other.resets, othersResets, 'a board whose backup had ended was left alone');

    const sums = `find ${ARCHIVE} -path ${ARCHIVE}/cache -prune -o -type f -print | sort | xargs sha256sum`;
    const kept = await lab.guest.check(sums);
    await dpkg(lab, '--purge espd');
    assert.equal(await lab.guest.check(sums), kept, 'a purge leaves every backup');
    assert.notEqual((await lab.guest.run('systemctl cat espd || which espd')).status, 0, 'espd is gone');
    await lab.guest.check(`rm -r ${dropIn} ${FOLDER}; systemctl daemon-reload`);
  },
);
