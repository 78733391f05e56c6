/** What was noted of the files of an archive: one that has gone back is found, and nothing else is taken for that. */

import assert from 'node:assert/strict';
import { appendFile, mkdir, readFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, describe, test } from 'node:test';
import { compact } from '../../../src/archive/elsewhere/compaction.ts';
import { macToFolder } from '../../../src/mac.ts';
import { HeldFiles } from '../../../src/replication/journal/held-files.ts';
import { diskOf, goneOf, logAt, noted } from '../../archive/elsewhere/compaction-support.ts';
import { FOLDER, MAC, OTHER_MAC, temporaryFolder } from '../../archive/support.ts';

const OTHER_FOLDER = macToFolder(OTHER_MAC);
const NAME = 'held.lines';

async function archive(t: TestContext, { takesNothing = false } = {}) {
  const root = await temporaryFolder(t);
  const cached = new Map<string, Buffer>();
  let writes = 0;
  const cache = {
    read: (name: string) => Promise.resolve(cached.get(name)),
    write(name: string, bytes: Uint8Array | string) {
      writes++;
      if (!takesNothing) cached.set(name, Buffer.from(bytes as Uint8Array));
      return Promise.resolve();
    },
  };
  for (const folder of [FOLDER, OTHER_FOLDER]) {
    await mkdir(join(root, folder));
    await writeFile(join(root, folder, 'elsewhere.jsonl'), `${'{"a":1}\n'.repeat(200)}{"last":"${folder}"}\n`);
  }
  await writeFile(join(root, FOLDER, 'labels.jsonl'), '{"label":"kitchen"}\n');
  return {
    root,
    cached,
    file: (name: string, folder = FOLDER) => join(root, folder, name),
    writes: () => writes,
    /** Of a process that begins. */
    held: () => new HeldFiles({ root, cache, name: NAME }),
  };
}

const ALL = [MAC, OTHER_MAC];

describe('files of an archive', () => {
  test('that grew, were touched, or are new have not gone back; what is as it was is not written again', async (t) => {
    const { held, file, writes } = await archive(t);
    assert.equal(await held().areThere(ALL), true);
    assert.equal(writes(), 1);
    assert.equal(await held().areThere(ALL), true);
    await held().note(ALL);
    assert.equal(writes(), 1, 'nothing is new');
    await appendFile(file('labels.jsonl'), '{"label":"hall"}\n');
    await writeFile(file('pins.jsonl'), '{}\n');
    await writeFile(file('elsewhere.jsonl'), await readFile(file('elsewhere.jsonl')));
    assert.equal(await held().areThere(ALL), true);
    assert.equal(writes(), 2);
    await truncate(file('pins.jsonl'), 0);
    assert.equal(await held().areThere(ALL), false, 'what was new is noted since');
  });

  const BACK: Record<string, (root: string) => Promise<unknown>> = {
    'is shorter': (root) => truncate(join(root, FOLDER, 'elsewhere.jsonl'), 1000),
    'is empty': (root) => truncate(join(root, FOLDER, 'labels.jsonl'), 0),
    'is missing': (root) => rm(join(root, FOLDER, 'labels.jsonl')),
    'is missing with its board': (root) => rm(join(root, FOLDER), { recursive: true }),
    'is another one of this length': (root) => writeFile(join(root, FOLDER, 'labels.jsonl'), '{"label":"KITCHEN"}\n'),
    'went back and has grown again': async (root) => {
      const path = join(root, FOLDER, 'elsewhere.jsonl');
      await truncate(path, 800);
      await appendFile(path, '{"later":"than that"}\n'.repeat(100));
    },
    'is a link': async (root) => {
      const path = join(root, FOLDER, 'labels.jsonl');
      await rename(path, join(root, 'elsewhere'));
      await symlink(join(root, 'elsewhere'), path);
    },
  };
  for (const [what, goBack] of Object.entries(BACK)) {
    test(`one that ${what}: found, also after news of that board, until it is forgotten`, async (t) => {
      const { root, held } = await archive(t);
      await held().areThere(ALL);
      await goBack(root);
      await held().note([MAC]);
      assert.equal(await held().areThere(ALL), false);
      assert.equal(await held().areThere([]), false, 'also where the board is not listed any more');
      const now = held();
      await now.forget();
      await now.note(ALL);
      assert.equal(await held().areThere(ALL), true);
    });
  }

  test('elsewhere.jsonl that was made shorter has not gone back, also when it has grown again; an older one in its place has', async (t) => {
    const { root, held, file } = await archive(t);
    const log = logAt(root);
    const path = file('elsewhere.jsonl');
    let older = '';
    for (let day = 0; day < 70; day++) {
      if (day === 60) older = await readFile(path, 'utf8');
      await log.add(noted(day));
      if (day >= 2) await log.add(goneOf(day - 2));
    }
    const padding = `${JSON.stringify({ padding: 'x'.repeat(600_000) })}\n`;
    const grown = padding + (await readFile(path, 'utf8'));
    await writeFile(path, grown);
    assert.equal(await held().areThere(ALL), true);

    assert.equal(await compact(diskOf(), join(root, FOLDER), MAC), true);
    assert.ok((await readFile(path)).length < grown.length);
    assert.equal(await held().areThere(ALL), true, 'it says all that it said');
    await writeFile(path, grown);
    await held().areThere(ALL);
    await compact(diskOf(), join(root, FOLDER), MAC);
    for (let day = 70; day < 90; day++) await log.add(noted(day));
    assert.equal(await held().areThere(ALL), true, 'and more');

    await writeFile(path, padding + older);
    assert.equal(await held().areThere(ALL), false, 'an older one');
    await compact(diskOf(), join(root, FOLDER), MAC);
    assert.equal(await held().areThere(ALL), false, 'an older one that was made shorter');
    await appendFile(path, '{"later":"than that"}\n'.repeat(60_000));
    assert.equal(await held().areThere(ALL), false, 'an older one that has grown again');
  });

  test('news of one board leave what is noted of others as it is, unread', async (t) => {
    const { held, cached, file } = await archive(t);
    await held().areThere(ALL);
    const lines = String(cached.get(NAME)).split('\n');
    const other = lines.findIndex((line) => line.startsWith(OTHER_FOLDER));
    lines[other] = `${OTHER_FOLDER} what a later espd has noted`;
    cached.set(NAME, Buffer.from(lines.join('\n')));
    await appendFile(file('labels.jsonl'), '{"label":"hall"}\n');
    await held().note([MAC]);
    assert.ok(String(cached.get(NAME)).split('\n').includes(lines[other]));
    assert.equal(await held().areThere(ALL), true, 'what cannot be understood is not there');
  });

  test('notes that are none cost nothing but what was noted', async (t) => {
    for (const text of ['', '\n\n', '{}', ' ', FOLDER, `${FOLDER} {"labels.jsonl":[-1]}\n`, '\0'.repeat(100)]) {
      const { held, cached, file } = await archive(t);
      cached.set(NAME, Buffer.from(text));
      assert.equal(await held().areThere(ALL), true);
      await truncate(file('labels.jsonl'), 0);
      assert.equal(await held().areThere(ALL), false, JSON.stringify(text));
    }
  });

  test('where nothing can be cached, what was forgotten is not found again for ever', async (t) => {
    const { held } = await archive(t, { takesNothing: true });
    const one = held();
    await one.forget();
    await one.note(ALL);
    assert.equal(await one.areThere(ALL), true);
    assert.equal(await held().areThere(ALL), true);
  });
});
