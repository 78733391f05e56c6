/** The power is cut after any call to the file system, with what was not fsynced lost, torn or in another order. */

import assert from 'node:assert/strict';
import * as nodeFs from 'node:fs/promises';
import { readdir, rm } from 'node:fs/promises';
import type { Stats } from 'node:fs';
import { join, relative } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { ArchiveOptions } from '../../src/archive/archive.ts';
import type { FileSystem } from '../../src/archive/disk.ts';
import { isBackupId } from '../../src/archive/ids.ts';
import { KEEP_EVERYTHING, NO_RULES } from '../../src/archive/retention/policy.ts';
import type { Archive } from '../../src/archive/types.ts';
import { BLOCK_BYTES } from '../../src/flash.ts';
import { type Mac, macToFolder, parseMac } from '../../src/mac.ts';
import { type DiskState, PowerCut, materialize } from './power-cut.ts';
import { MAC, OTHER_MAC, T0, archiveAt, backUp, content, image, sha256, temporaryFolder } from './support.ts';

const SIZE = 700;
const id = (day: number) => `2026-10-0${day}T10-00-00Z`;
const at = (day: number) => `2026-10-0${day}T10:00:00.000Z`;

type Tell = (...fact: string[]) => void;
type Work = (archive: Archive, tell: Tell) => Promise<void>;

interface Scenario {
  readonly what: string;
  /** What one process does, on a disk that has all of {@link prepared}. */
  readonly work: Work;
  /** It is killed before each of its changes in turn, and another process does this before the power is cut. */
  readonly then?: Work;
  readonly compression?: 'gzip';
  /** Images share blocks with earlier ones. */
  readonly reflinks?: true;
  /** Before all that, on the disk as well. */
  readonly before?: (archive: Archive) => Promise<unknown>;
  /** Runs when a removal has just taken a backup's name. */
  readonly meanwhile?: Work;
  /** The index of boards is made and used, and must be in states of either kind: of use, and of none. */
  readonly isIndexed?: true;
}

const pinned = { pinned: true, note: 'works' };

/** Pins, and looks after that whether the backup is there, as the command does. */
const pin =
  (day: number): Work =>
  async (archive, tell) => {
    await archive.marks.pin(MAC, id(day), pinned);
    if ((await archive.backupIds(MAC)).includes(id(day))) tell('pinned', MAC, id(day));
  };

/** In the order in which they are given; the first stands for none. */
const LABELS = ['', 'kitchen', 'attic', 'cellar'];

const label =
  (...texts: string[]): Work =>
  async (archive, tell) => {
    for (const text of texts) {
      await archive.marks.describe(MAC, { label: text });
      tell('label', MAC, text);
    }
  };

/** Between two looks at all boards, each of which may write the index. */
const amidLists =
  (work: Work): Work =>
  async (archive, tell) => {
    await archive.overview();
    await work(archive, tell);
    await archive.overview();
  };

/** @param last so many of the newest stay, and what is never removed */
const pruneTo =
  (last: number): Work =>
  async (archive, tell) => {
    const plan = await archive.retention.plan({ ...KEEP_EVERYTHING, rules: { ...NO_RULES, last } });
    const { removed } = await archive.retention.remove(plan);
    for (const each of removed) tell('gone', each.mac, each.id);
  };
const prune = pruneTo(1);

const commit: Work = async (archive, tell) => {
  tell('there', MAC, (await backUp(archive, image(SIZE, 9), T0)).id);
};

/** Two blocks, of which one differs by a byte. */
const twoBlocks = (byte: number) => Buffer.concat([image(BLOCK_BYTES, 20), Buffer.alloc(SIZE, byte)]);
const large = (archive: Archive) => backUp(archive, twoBlocks(1), at(6));
const commitShared: Work = async (archive, tell) => {
  tell('there', MAC, (await backUp(archive, twoBlocks(2), T0)).id);
};

const begin: Work = async (archive) => (await archive.begin(MAC, SIZE)).discard();

const importTo =
  (mac: Mac): Work =>
  async (archive, tell) => {
    const bytes = image(SIZE, 8);
    const draft = await archive.begin(mac, SIZE);
    await draft.write(0, bytes);
    const { flash, ...others } = content(bytes, '2020-01-02T03:04:05.000Z', mac);
    const { id: made } = await draft.commit({
      ...others,
      reason: 'imported',
      flash: { ...flash, manufacturer: null, device: null },
      security: null,
      efuses: {},
      confirmed: null,
      source: { port: null, file: 'old.bin', usb: null, host: 'bench' },
      transfer: null,
    });
    tell('there', mac, made);
  };

const NEW_MAC = parseMac('24:0a:c4:00:01:03')!;

const SCENARIOS: readonly Scenario[] = [
  { what: 'backup', work: commit },
  { what: 'backup, compressed', work: commit, compression: 'gzip' },
  { what: 'backup that shares blocks with another', work: commitShared, before: large, reflinks: true },
  { what: 'import at a date before all others', work: importTo(MAC) },
  { what: 'import, compressed', work: importTo(MAC), compression: 'gzip' },
  { what: 'import of a board that is new', work: importTo(NEW_MAC) },
  { what: 'pin', work: pin(3) },
  { what: 'label, and another one', work: label('kitchen', 'attic') },
  { what: 'prune', work: prune },
  { what: 'prune, and a pin in the moment of the removal', work: prune, meanwhile: pin(3) },
  { what: 'pin killed, pin', work: pin(3), then: pin(4) },
  { what: 'prune killed, prune', work: prune, then: prune },
  { what: 'prune killed, a backup begins', work: prune, then: begin },
  { what: 'import killed, prune', work: importTo(MAC), then: pruneTo(2) },
  { what: 'label killed, label', work: label('kitchen', 'attic'), then: label('cellar') },
  { what: 'index, and a label', work: amidLists(label('kitchen')), isIndexed: true },
  { what: 'index, and a backup', work: amidLists(commit), isIndexed: true },
];

/** Nothing that the checks write needs to be on the disk. */
const hasty: FileSystem = {
  ...nodeFs,
  open: async (...args: Parameters<typeof nodeFs.open>) => {
    const handle = await nodeFs.open(...args);
    handle.sync = () => Promise.resolve();
    return handle;
  },
};
const unsynced = (root: string, options: Partial<ArchiveOptions> = {}) => archiveAt(root, { fs: hasty, ...options });

/** Five backups of a board, of which the second is pinned, and one of another. */
async function prepared(root: string): Promise<void> {
  const archive = unsynced(root);
  for (let day = 1; day <= 5; day++) await backUp(archive, image(SIZE, day), at(day));
  await backUp(archive, image(SIZE, 11), at(1), OTHER_MAC);
  await archive.marks.pin(MAC, id(2), pinned);
  await archive.overview();
}

const PREPARED: readonly (readonly [Mac, number])[] = [
  ...[1, 2, 3, 4, 5].map((day) => [MAC, day] as const),
  [OTHER_MAC, 1],
];
const MUST_STAY: readonly (readonly [Mac, number])[] = [...[1, 2, 5].map((day) => [MAC, day] as const), [OTHER_MAC, 1]];

const idsOf = (archive: Archive, mac: Mac) => archive.backupIds(mac).catch(() => [] as string[]);

/** Whatever is there has its name rightly, and nothing that must be there is missing. */
async function assertWhole(archive: Archive, told: readonly string[], stage: string): Promise<void> {
  const { damaged, unreadable } = await archive.verify({});
  assert.deepEqual([damaged, unreadable], [[], []], stage);
  for (const [mac, day] of MUST_STAY)
    assert.ok((await idsOf(archive, mac)).includes(id(day)), `${stage}: ${mac} ${day}`);
  for (const [mac, day] of PREPARED) {
    if ((await idsOf(archive, mac)).includes(id(day))) continue;
    const { removals } = await archive.marks.of(mac);
    assert.ok(
      removals.some((each) => each.id === id(day)),
      `${stage}: ${mac} ${day} is gone, and nothing tells why`,
    );
  }
  for (const fact of told) {
    const [kind = '', macText = '', what = ''] = fact.split(' ');
    const mac = parseMac(macText);
    if (mac === undefined) throw new Error(fact);
    const marks = await archive.marks.of(mac);
    if (kind === 'there') assert.ok((await idsOf(archive, mac)).includes(what), `${stage}: ${fact}`);
    if (kind === 'pinned')
      assert.ok(
        marks.pins.some((each) => each.id === what),
        `${stage}: ${fact}`,
      );
    // A later label may be there although nobody was told.
    if (kind === 'label')
      assert.ok(LABELS.indexOf(marks.about.label ?? '') >= LABELS.indexOf(what), `${stage}: ${fact}`);
  }
}

async function assertSurvives(state: DiskState, root: string, tally: Tally): Promise<void> {
  await materialize(state, root);
  const archive = unsynced(root);
  await assertWhole(archive, state.told, 'at once');
  for (const fact of state.told) {
    const [kind, mac, what = ''] = fact.split(' ');
    if (kind === 'gone') assert.ok(!(await idsOf(archive, mac as Mac)).includes(what), fact);
  }
  const before = await archive.overview();
  let read = 0;
  const watched = telling(hasty, root, (path) => (read += path.endsWith('/manifest.json') ? 1 : 0));
  const indexed = unsynced(root, { indexFrom: 0, fs: watched });
  assert.deepEqual((await indexed.overview()).boards, before.boards);
  tally[read === 0 ? 'indexed' : 'read']++;
  await rm(join(root, 'cache'), { recursive: true, force: true });
  assert.deepEqual((await unsynced(root).overview()).boards, before.boards);

  if (!Array.from(state.files.keys()).some((path) => /(draft|trash|partial)\./.test(path))) return;
  // The daemon is started again: what was left is cleared, and what somebody pinned is still there.
  const next = unsynced(root);
  await next.retention.remove({ decisions: [] });
  await assertWhole(next, state.told, 'after the next prune');
  const { macs } = await next.boards();
  for (const mac of macs) await (await next.begin(mac, 10)).discard();
  await assertWhole(next, state.told, 'after the next begin');
  for (const fact of state.told.filter((each) => each.startsWith('pinned'))) {
    const [, mac, what = ''] = fact.split(' ');
    assert.ok((await idsOf(next, mac as Mac)).includes(what), `${fact}, and it is gone`);
  }
  for (const mac of macs) {
    const others = (await readdir(join(root, macToFolder(mac)))).filter((name) => !isBackupId(name));
    for (const name of others) assert.ok(name.endsWith('.jsonl'), `${name} is left`);
  }
}

/** States of the disk by where the boards were taken from: from the index alone, or from some manifests at least. */
interface Tally {
  indexed: number;
  read: number;
}

/**
 * As `fs`, on a disk where files bear marks of their content: what is the same looks the same, though it was copied, and
 * all of it has been written long ago. So an index that was made before the power was cut can be of use after it.
 */
function telling(fs: FileSystem, root: string, onOpen: (path: string) => void = () => undefined): FileSystem {
  const number = (text: string) => parseInt(sha256(Buffer.from(text)).slice(0, 8), 16);
  const marked = async (path: string, stats: Stats): Promise<Stats> => {
    const content = stats.isDirectory() ? (await readdir(path)).sort().join('/') : sha256(await nodeFs.readFile(path));
    const time = /\/cache\/draft\.[^/]*$/.test(path) ? Date.now() : number(content);
    const size = stats.isDirectory() ? 0 : stats.size;
    return Object.assign(stats, { ino: number(relative(root, path)), mtimeMs: time, ctimeMs: time, size });
  };
  const open = async (path: string, ...rest: [number, number?]) => {
    onOpen(path);
    const handle = await fs.open(path, ...rest);
    const stat = handle.stat.bind(handle);
    handle.stat = (async () => marked(path, await stat())) as typeof handle.stat;
    return handle;
  };
  const lstat = async (path: string) => marked(path, await fs.lstat(path));
  return { ...fs, open: open as FileSystem['open'], lstat: lstat as FileSystem['lstat'] };
}

/** As `fs`, with `meanwhile` run once when a backup has lost its name. */
function withMeanwhile(fs: FileSystem, meanwhile: () => Promise<void>, when: 'before' | 'after'): FileSystem {
  let done = false;
  return {
    ...fs,
    rename: async (from, to) => {
      const isTaken = !done && String(from).endsWith(id(3)) && String(to).includes('/draft.');
      done ||= isTaken;
      if (isTaken && when === 'before') await meanwhile();
      await fs.rename(from, to);
      if (isTaken && when === 'after') await meanwhile();
    },
  };
}

async function run(scenario: Scenario, root: string, killedAfter: number, when: 'before' | 'after'): Promise<PowerCut> {
  const model = await PowerCut.of(root, killedAfter);
  const tell: Tell = (...fact) => model.tell(fact.join(' '));
  const { compression = 'none', reflinks = false, meanwhile } = scenario;
  const plain = model.fileSystem();
  const other = archiveAt(root, { fs: plain });
  const fs = meanwhile === undefined ? plain : withMeanwhile(plain, () => meanwhile(other, tell), when);
  const options = scenario.isIndexed ? { fs: telling(fs, root), indexFrom: 0 } : { fs };
  const work = scenario.work(archiveAt(root, { ...options, compression, reflinks }), tell);
  if (killedAfter === Infinity) await work;
  else await work.catch(() => undefined);
  if (scenario.then === undefined || killedAfter === Infinity) return model;
  await model.bury();
  await scenario.then(archiveAt(root, { fs: model.fileSystem(), compression }), tell);
  return model;
}

async function everyState(
  t: TestContext,
  scenario: Scenario,
  tally: Tally,
  when: 'before' | 'after' = 'after',
): Promise<number> {
  const folder = await temporaryFolder(t);
  const base = join(folder, 'base');
  await prepared(base);
  await scenario.before?.(unsynced(base));
  const known = new Set<string>();
  let states = 0;
  let round = 0;
  const examine = async (killedAfter: number) => {
    const root = join(folder, `round-${round++}`);
    await nodeFs.cp(base, root, { recursive: true });
    const model = await run(scenario, root, killedAfter, when);
    for (const state of model.states(known)) {
      const place = join(folder, `state-${states++}`);
      try {
        await assertSurvives(state, place, tally);
      } catch (error) {
        const killed = killedAfter === Infinity ? '' : `killed after ${killedAfter} calls, `;
        throw new Error(`${killed}${state.where}: ${String(error)}`, { cause: error });
      }
      await rm(place, { recursive: true });
    }
    await rm(root, { recursive: true });
    return model.calls;
  };
  const calls = await examine(Infinity);
  if (scenario.then === undefined) return states;
  for (let killedAfter = 1; killedAfter < calls; killedAfter++) await examine(killedAfter);
  return states;
}

for (const scenario of SCENARIOS) {
  test(`the power is cut: ${scenario.what}`, async (t) => {
    const tally = { indexed: 0, read: 0 };
    const states = await everyState(t, scenario, tally);
    const more = scenario.meanwhile === undefined ? 0 : await everyState(t, scenario, tally, 'before');
    assert.ok(states > 3, `${states} states`);
    if (scenario.isIndexed) assert.ok(tally.indexed > 0 && tally.read > 0, JSON.stringify(tally));
    t.diagnostic(`${states + more} states of the disk, ${tally.indexed} with an index of use`);
  });
}
