/** Who may ask the service: a member of its group everything, without rights of their own; a stranger nothing. */

import assert from 'node:assert/strict';
import { type Lab, makeBoard } from '../lab.ts';
import { systemTest } from '../session.ts';
import { plugAndBackUp } from './backup.ts';

const MEMBER = 'espd-test-member';

function espdAs(lab: Lab, user: string, args: string) {
  return lab.guest.run(`cd /; runuser -u ${user} -- espd ${args} </dev/null`, 180_000);
}

systemTest(
  'a member of group espd lists, backs up and restores through the service; a stranger may not',
  async (lab) => {
    const board = makeBoard({ family: 'esp32' });
    await plugAndBackUp(lab, 1, board, { kind: 'cp210x' });
    const before = board.flash.snapshot();
    await lab.guest.check(`id ${MEMBER} 2>/dev/null || useradd --groups espd ${MEMBER}`);
    assert.notEqual(
      (await lab.guest.run(`runuser -u ${MEMBER} -- test -r /dev/ttyUSB0`)).status,
      0,
      'no right on the port',
    );

    const listed = await espdAs(lab, MEMBER, 'list --json');
    assert.equal(listed.status, 0, listed.stderr);
    const { boards } = JSON.parse(listed.stdout) as { boards: { mac: string }[] };
    assert.ok(boards.some(({ mac }) => mac === board.mac));

    board.flash.erase(0x2000, 0x1000);
    board.flash.program(0x2000, Buffer.from('changed'));
    const backedUp = await espdAs(lab, MEMBER, 'backup --port /dev/ttyUSB0 --json');
    assert.equal(backedUp.status, 0, backedUp.stderr);
    assert.equal((await lab.backupIds(board.mac)).length, 2);

    const restored = await espdAs(lab, MEMBER, `restore --mac ${board.mac} --at first --yes --json`);
    assert.equal(restored.status, 0, restored.stderr);
    assert.ok(board.flash.snapshot().equals(before), 'the flash is that of the first backup');
    assert.equal(board.mode, 'app');

    for (const args of ['status', 'backup --port /dev/ttyUSB0', `restore --mac ${board.mac} --yes`]) {
      const { status, stderr } = await espdAs(lab, 'nobody', args);
      assert.notEqual(status, 0, args);
      assert.match(stderr, /group espd|espd\.sock/, args);
      assert.doesNotMatch(stderr, /\n\s+at /, 'no stack trace');
    }
  },
);
