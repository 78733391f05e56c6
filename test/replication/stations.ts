/** Four stations as processes of their own, killed at random moments: in the end they and the bucket agree to the byte. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash, randomInt } from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { ObjectStore } from '../../src/store/types.ts';
import { FOLDER, MAC, temporaryFolder } from '../archive/support.ts';
import { bundle } from '../support/bundle.ts';
import { image, never, station } from './support.ts';

const STATIONS = 4;
const MIB = 1024 * 1024;

interface Killed {
  /** How often each station is killed. */
  readonly kills: number;
  readonly endpoint: () => string;
  readonly store: () => ObjectStore;
  /** The bucket has other things besides. */
  readonly prefix: string;
  /** Credentials; default: those of `writer`. */
  readonly env?: Readonly<Record<string, string>>;
}

export function describeStations({ kills, endpoint, store, prefix, env }: Killed): void {
  test(`four stations with one MAC, each killed ${kills} times`, async (t: TestContext) => {
    const [program = ''] = await bundle(await temporaryFolder(t), 'test/replication/station.ts');
    const stations = await Promise.all(
      Array.from({ length: STATIONS }, () => station(t, endpoint(), { prefix }, { env })),
    );
    await Promise.all(
      stations.map(async (each, who) => {
        // Two in one second with all the others, and one in parts.
        await each.keep(image(300_000, who + 1));
        await each.keep(image(200_000, who + 11));
        await each.keep(image(6 * MIB, who + 21), { createdAt: `2026-11-24T10:00:0${who}.000Z` });
        await each.archive.marks.describe(MAC, { note: `of station ${who}` });
      }),
    );
    const start = (folder: string, root: string) =>
      spawn(
        process.execPath,
        [
          program,
          JSON.stringify({
            ...{ archivePath: root, statePath: join(folder, 'state'), bandwidth: 12 * MIB, env },
            store: { endpoint: endpoint(), bucket: 'boards', prefix, encryption: 'none' },
          }),
        ],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
    await Promise.all(
      stations.map(async ({ folder, archive }) => {
        for (let count = 0; count <= kills; count++) {
          const child = start(folder, archive.root);
          const ended = new Promise<string>((resolve) => {
            let said = '';
            child.stdout.on('data', (text: Buffer) => {
              said += text.toString();
              if (said.includes('started') && count < kills)
                void delay(randomInt(400)).then(() => child.kill('SIGKILL'));
            });
            child.once('close', () => resolve(said));
          });
          const said = await ended;
          if (count === kills) assert.match(said, /done/);
        }
      }),
    );

    const objects = new Map<string, string>();
    for (let from: string | null = null; ;) {
      const page = await store().list({ prefix: `${prefix}/`, from });
      for (const { key } of page.objects) objects.set(key.slice(prefix.length + 1), key);
      from = page.next;
      if (from === null) break;
    }
    const bytesOf = async (name: string) => {
      const key = objects.get(name);
      const facts = key === undefined ? undefined : await store().head(key);
      if (key === undefined || facts === undefined) return undefined;
      const parts: Buffer[] = [];
      for (let offset = 0; offset < facts.sizeBytes; offset += 4 * MIB) {
        const length = Math.min(4 * MIB, facts.sizeBytes - offset);
        parts.push((await store().get(key, { range: { offset, length } }))?.bytes ?? Buffer.alloc(0));
      }
      return Buffer.concat(parts);
    };
    const homes = ['', ...new Set([...objects.keys()].flatMap((name) => /^stations\/[^/]+\//.exec(name) ?? []))];
    let complete = 0;
    for (const { archive } of stations) {
      for (const id of await readdir(join(archive.root, FOLDER))) {
        if (!/^2026-/.test(id)) continue;
        const files = await readdir(join(archive.root, FOLDER, id));
        const found = await Promise.all(
          homes.map(async (home) => {
            for (const file of files) {
              const local = await readFile(join(archive.root, FOLDER, id, file));
              if ((await bytesOf(`${home}${FOLDER}/${id}/${file}`))?.equals(local) !== true) return false;
            }
            return true;
          }),
        );
        assert.equal(found.filter(Boolean).length, 1, `${id} is there once`);
        complete++;
      }
    }
    assert.equal(complete, STATIONS * 3);
    const sums = [...objects.keys()].filter((name) => name.endsWith('/SHA256SUMS'));
    assert.equal(sums.length, complete, 'and nothing else counts as a backup');
    for (const name of sums) {
      for (const [, digest, file] of (await bytesOf(name))?.toString().matchAll(/^(\w{64}) {2}(.*)$/gm) ?? []) {
        const bytes = await bytesOf(name.replace('SHA256SUMS', file ?? ''));
        assert.equal(
          createHash('sha256')
            .update(bytes ?? '')
            .digest('hex'),
          digest,
        );
      }
    }

    // What each of them says was cut off at random, too: in the end all know the same.
    for (const each of stations) await each.write();
    for (const each of stations) assert.deepEqual((await each.look(true)).troubles, []);
    const known = await Promise.all(
      stations.map(async ({ archive }) => ({
        about: await archive.marks.about(MAC),
        stored: (await archive.elsewhere.of(MAC)).map(({ folder, manifestSha256 }) => `${folder} ${manifestSha256}`),
      })),
    );
    assert.equal(new Set(known[0]?.stored).size, complete);
    for (const each of known) assert.deepEqual(each, known[0]);
    for (const each of stations) {
      const folder = `journal/${await each.fleet.state.station()}/`;
      const page = await store().list({ prefix: `${prefix}/${folder}` });
      const numbers = page.objects.map(({ key }) => Number(/(\d+)\.jsonl$/.exec(key)?.[1]));
      assert.deepEqual(
        numbers,
        numbers.map((_, index) => index + 1),
        'without gaps',
      );
      assert.ok(numbers.length > 0);
    }
    // A look without any memory of the journals finds the same by the folders.
    const blank = await station(t, endpoint(), { prefix }, { env });
    await blank.archive.checkWritable();
    const found = await blank.journal.scan(await blank.fleet.open(never), { signal: never });
    assert.deepEqual([found.found.length, found.unreadable, found.lost, found.foreign], [complete, [], [], 0]);
    assert.equal((await blank.archive.elsewhere.of(MAC)).length, complete);
  });
}
