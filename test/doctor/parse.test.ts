/** Outputs of tools and files of the system, also hostile ones. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { mayUse, wayIn } from '../../src/doctor/access.ts';
import { parseClaims } from '../../src/doctor/grabbers.ts';
import {
  isAtLeast,
  parseAccount,
  parseAcl,
  parseGroups,
  parseProperties,
  processStartMs,
} from '../../src/doctor/parse.ts';

test('properties: the value is all behind the first =, the last of a key counts, other lines are passed over', () => {
  const text = 'A=1\nExecStart={ path=/x ; argv[]=/x --a=b }\n=x\nno line\n\u001b[31mB=2\nA=3\r\nC=\n';
  assert.deepEqual(
    [...parseProperties(text)],
    [
      ['A', '3'],
      ['ExecStart', '{ path=/x ; argv[]=/x --a=b }'],
      ['C', ''],
    ],
  );
});

test('groups and accounts', () => {
  const text = 'dialout:x:20:ada,espd\nespd:x:994:\nbroken\n:x:1:\nhuge:x:99999999999:\nneg:x:-1:\n';
  assert.deepEqual(parseGroups(text), [
    { name: 'dialout', gid: 20, members: ['ada', 'espd'] },
    { name: 'espd', gid: 994, members: [] },
  ]);
  const users = 'root:x:0:0:root:/:/bin/bash\nespd:x:994:993:espd backup service:/var/lib/espd:/sbin/nologin\n';
  assert.deepEqual(parseAccount(users, 'espd'), { uid: 994, gid: 993 });
  assert.equal(parseAccount(users, 'ada'), undefined);
  assert.equal(parseAccount('espd:x:abc:1::\n', 'espd'), undefined);
});

test('no output of any tool makes a parser throw', () => {
  const hostile = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 80 }),
    fc.constantFrom('\0', '=', ':::', 'user::', 'mask::'),
  );
  fc.assert(
    fc.property(hostile, hostile, (text, other) => {
      parseProperties(text);
      parseGroups(text);
      parseAccount(text, other);
      parseAcl(text);
      parseClaims(text, other);
      isAtLeast(text, [20, 19]);
      processStartMs(text, other);
    }),
  );
  for (const parse of [parseProperties, parseGroups, parseAcl]) parse('a=b:c\n'.repeat(300_000));
});

test('an ACL as getfacl prints it', () => {
  const acl = parseAcl(
    'user::rw-\nuser:1000:rw-\t#effective:r--\ngroup::r--\ngroup:46:rw-\nmask::rw-\nother::---\ndefault:mask::rwx\n',
  );
  assert.deepEqual(acl, { users: new Map([[1000, 6]]), groups: new Map([[46, 6]]), group: 4, mask: 6 });
  assert.deepEqual(parseAcl('').mask, null);
});

const NODE = { uid: 0, gid: 20, mode: 0o660 };

test('who may use a device: owner, group, others, ACL and mask, as acl(5) has it', () => {
  const ada = { uid: 1000, gids: [1000] };
  assert.equal(mayUse({ ...NODE, mode: 0 }, null, { uid: 0, gids: [] }), true);
  assert.equal(mayUse(NODE, null, ada), false);
  assert.equal(mayUse(NODE, null, { ...ada, gids: [20] }), true);
  assert.equal(mayUse({ ...NODE, mode: 0o666 }, null, ada), true);
  // The owner, and who is in the group, do not get what others may.
  assert.equal(mayUse({ uid: 1000, gid: 20, mode: 0o066 }, null, ada), false);
  assert.equal(mayUse({ ...NODE, mode: 0o606 }, null, { ...ada, gids: [20] }), false);
  const acl = { users: new Map([[1000, 6]]), groups: new Map([[46, 6]]), group: 0, mask: 6 };
  assert.equal(mayUse(NODE, acl, ada), true);
  assert.equal(mayUse(NODE, { ...acl, mask: 4 }, ada), false);
  assert.equal(mayUse(NODE, acl, { uid: 5, gids: [46] }), true);
  // The bits of the mode are the mask, not the rights of the group.
  assert.equal(mayUse(NODE, acl, { uid: 5, gids: [20] }), false);
});

test('the way to a device: join the group, log in again, or the rules', () => {
  const groups = [
    { name: 'root', gid: 0, members: [] },
    { name: 'dialout', gid: 20, members: ['bob'] },
  ];
  assert.deepEqual(wayIn(NODE, { name: 'ada', gids: [] }, groups), { kind: 'join', group: 'dialout' });
  assert.deepEqual(wayIn(NODE, { name: 'bob', gids: [] }, groups), { kind: 'log-in-again', group: 'dialout' });
  assert.deepEqual(wayIn(NODE, { name: 'bob', gids: [20] }, groups), { kind: 'rules' });
  assert.deepEqual(wayIn({ gid: 0, mode: 0o660 }, { name: 'ada', gids: [] }, groups), { kind: 'rules' });
  assert.deepEqual(wayIn({ gid: 20, mode: 0o600 }, { name: 'ada', gids: [] }, groups), { kind: 'rules' });
  assert.deepEqual(wayIn({ gid: 77, mode: 0o660 }, { name: 'ada', gids: [] }, groups), { kind: 'rules' });
});

test('versions', () => {
  for (const version of ['20.19.0', 'v20.19.1', '20.20.2', '22.0.0', '100.0.0']) {
    assert.equal(isAtLeast(version, [20, 19]), true, version);
  }
  for (const version of ['20.18.9', '18.20.4', '2.19.0']) assert.equal(isAtLeast(version, [20, 19]), false, version);
  for (const version of ['', 'twenty', '20', '20.x', '20.19rc']) assert.equal(isAtLeast(version, [20, 19]), undefined);
});

test('when a process began: behind a name that may hold anything', () => {
  const fields = ['S', ...Array.from({ length: 18 }, () => '0'), '12345', '0'].join(' ');
  assert.equal(processStartMs(`77 (a ) b (c) ${fields}`, 'cpu 1\nbtime 1000\n'), 1000_000 + 123_450);
  assert.equal(processStartMs('', 'btime 1000\n'), undefined);
  assert.equal(processStartMs(`77 (x) ${fields}`, 'cpu\n'), undefined);
  assert.equal(processStartMs('77 (x) S 1', 'btime 1000\n'), undefined);
});
