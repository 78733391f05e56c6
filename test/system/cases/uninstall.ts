/** Taking espd away as docs/install.md says leaves every backup where it is. */

import assert from 'node:assert/strict';
import { installScript } from '../guest/install-page.ts';
import { ARCHIVE, makeBoard } from '../lab.ts';
import { systemTest } from '../session.ts';
import { plugAndBackUp, sha256 } from './backup.ts';

/** All of the archive but what is derived (FORMAT.md), to which the stop of the service adds. */
const SUMS = `find ${ARCHIVE} -path ${ARCHIVE}/cache -prune -o -type f -print | sort | xargs sha256sum`;

systemTest('uninstalled: the archive stays, and proves itself without espd', async (lab) => {
  const board = makeBoard({ family: 'esp32' });
  const { id } = await plugAndBackUp(lab, 1, board, { kind: 'cp210x' });
  const before = await lab.guest.check(SUMS);
  await lab.guest.check(await installScript('npm uninstall --global'), 120_000);
  assert.notEqual((await lab.guest.run('systemctl cat espd || which espd')).status, 0, 'espd is gone');
  assert.equal(await lab.guest.check(SUMS), before);
  assert.equal(await lab.archivedSha256(board.mac, id), sha256(board.flash.snapshot()));
});
