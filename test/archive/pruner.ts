/**
 * A process that prunes an archive again and again until it is killed: `pruner.ts FULL ROOT`. It keeps the last two
 * backups of each board, and fills up from FULL what is gone. Says `ready`, then `gone MAC ID` and `back MAC ID`, a line each.
 */

import { link, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { KEEP_EVERYTHING, NO_RULES } from '../../src/archive/retention/policy.ts';
import { macFromFolder } from '../../src/mac.ts';
import { archiveAt } from './support.ts';

const [full = '', root = ''] = process.argv.slice(2);
const archive = archiveAt(root);
const policy = { ...KEEP_EVERYTHING, rules: { ...NO_RULES, last: 2 } };
const say = (line: string) => process.stdout.write(`${line}\n`);

/** The files of a backup never change, so links to them do; a rename makes it whole at once, as a commit does. */
async function fillUp(): Promise<void> {
  for (const board of await readdir(full)) {
    const mac = macFromFolder(board);
    if (mac === undefined) continue;
    const there = await readdir(join(root, board));
    for (const id of (await readdir(join(full, board))).filter((each) => !there.includes(each))) {
      if (id.endsWith('.jsonl')) continue;
      const making = join(root, `making-${process.pid}`);
      await mkdir(making);
      for (const file of await readdir(join(full, board, id)))
        await link(join(full, board, id, file), join(making, file));
      say(`back ${mac} ${id}`);
      await rename(making, join(root, board, id));
    }
  }
}

say('ready');
for (;;) {
  for (const name of await readdir(root))
    if (name.startsWith('making-')) await rm(join(root, name), { recursive: true });
  await archive.retention.remove({ decisions: [] }); // what the one before was about
  await fillUp();
  const onRemoved = ({ mac, id }: { mac: string; id: string }) => void say(`gone ${mac} ${id}`);
  await archive.retention.remove(await archive.retention.plan(policy), { onRemoved });
}
