/**
 * What a disk may hold after the power was cut: a model of the calls that POSIX gives a promise about.
 *
 * Until fsync(2) of a file its bytes may be missing, all or some, with or without the length that they gave it. Until fsync
 * of a folder the names that were made, taken away or changed in it may be as before, each on its own; rename(2) is whole
 * or has not been. What concerns different files and folders may come to the disk in any order. File systems in use
 * promise more, each something else; see A. Rebello et al., "Can Applications Recover from fsync Failures?" (USENIX ATC
 * 2020), and T. S. Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014), whose model of abstract
 * persistence this follows.
 */

import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import * as nodeFs from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import type { FileSystem } from '../../src/archive/disk.ts';
import { systemError } from './support.ts';

/** Above every process id of Linux (proc_sys_kernel(5): pid_max is at most 2^22). */
const DEAD_PID = 4_194_305;

type Step =
  | { readonly kind: 'make'; readonly folder: number; readonly name: string; readonly node: number }
  | { readonly kind: 'drop'; readonly folder: number; readonly name: string }
  | { readonly kind: 'rename'; readonly folder: number; readonly name: string; readonly to: string }
  | { readonly kind: 'write'; readonly node: number; readonly offset: number; readonly bytes: Buffer }
  | { readonly kind: 'resize'; readonly node: number; readonly size: number };

/** What becomes of a step that no fsync has covered. */
type Fate = 'kept' | 'lost' | 'zeros' | 'half';

type Entry =
  | { readonly kind: 'step'; readonly step: Step }
  /** All steps of this node that come before `upTo` are on the disk. */
  | { readonly kind: 'sync'; readonly node: number; readonly upTo: number }
  | { readonly kind: 'told'; readonly fact: string };

type Node = Map<string, number> | Buffer;

/** One of the things that a disk may hold. */
export interface DiskState {
  /** Folders end in `/`. */
  readonly files: ReadonlyMap<string, Buffer | null>;
  /** What had been told before the power was cut. */
  readonly told: readonly string[];
  /** For messages. */
  readonly where: string;
}

export class PowerCut {
  readonly #first = new Map<number, Node>();
  readonly #entries: Entry[] = [];
  readonly #root: string;
  /** As the running system sees it. */
  readonly #nodes = new Map<number, Node>();
  #count = 0;
  #callsLeft: number;
  #calls = 0;

  private constructor(root: string, callsLeft: number) {
    this.#root = root;
    this.#callsLeft = callsLeft;
  }

  /**
   * What lies in `root` is on the disk.
   * @param calls the process is killed after so many that change something: no further one has an effect
   */
  static async of(root: string, calls = Infinity): Promise<PowerCut> {
    const model = new PowerCut(root, calls);
    await model.#load(root);
    for (const [id, node] of model.#nodes) model.#first.set(id, copyOf(node));
    return model;
  }

  get calls(): number {
    return this.#calls;
  }

  /** The process is gone, and so are the makers of its drafts; another one goes on, on the same machine. */
  async bury(): Promise<void> {
    this.#callsLeft = Infinity;
    for (const path of await nodeFs.readdir(this.#root, { recursive: true })) {
      if (nameOf(path) !== basename(path))
        await nodeFs.rename(join(this.#root, path), join(this.#root, dirname(path), nameOf(path)));
    }
  }

  /** What whoever called has been promised from now on. */
  tell(fact: string): void {
    if (this.#callsLeft > 0) this.#entries.push({ kind: 'told', fact });
  }

  async #load(path: string): Promise<number> {
    const id = this.#count++;
    if (!(await nodeFs.lstat(path)).isDirectory()) {
      this.#nodes.set(id, await nodeFs.readFile(path));
      return id;
    }
    const folder = new Map<string, number>();
    this.#nodes.set(id, folder);
    for (const name of await nodeFs.readdir(path)) folder.set(name, await this.#load(join(path, name)));
    return id;
  }

  /** Node's file system, whose changes are recorded. */
  fileSystem(): FileSystem {
    const changing =
      <Args extends [string, ...unknown[]]>(
        call: (...args: Args) => Promise<unknown>,
        record: (...args: Args) => void,
      ) =>
      async (...args: Args) => {
        this.#spend();
        const result = await call(...args);
        record(...args);
        return result;
      };
    const recorded = {
      mkdir: changing(
        (path: string, options: { mode: number }) => nodeFs.mkdir(path, options),
        (path) => this.#make(path, new Map()),
      ),
      unlink: changing(
        (path: string) => nodeFs.unlink(path),
        (path) => this.#drop(path),
      ),
      rmdir: changing(
        (path: string) => nodeFs.rmdir(path),
        (path) => this.#drop(path),
      ),
      rm: changing(
        (path: string, options: { recursive?: boolean; force?: boolean }) => nodeFs.rm(path, options),
        (path) => this.#drop(path),
      ),
      rename: changing(
        (from: string, to: string) => nodeFs.rename(from, to),
        (from, to) => {
          if (dirname(from) !== dirname(to)) {
            // Each of the two folders may come to the disk without the other.
            const [folder, node] = [this.#find(dirname(to)), this.#find(from)];
            this.#step({ kind: 'make', folder, name: nameOf(to), node });
            this.#drop(from);
            return;
          }
          this.#step({ kind: 'rename', folder: this.#find(dirname(from)), name: nameOf(from), to: nameOf(to) });
        },
      ),
      // As a file system that lets files share blocks: a new file, whose bytes are on the disk once it is fsynced.
      copyFile: async (from: string, to: string, flags: number) => {
        this.#spend();
        await nodeFs.copyFile(from, to, flags & constants.COPYFILE_EXCL);
        this.#make(to, Buffer.alloc(0));
        this.#step({ kind: 'write', node: this.#find(to), offset: 0, bytes: await nodeFs.readFile(to) });
      },
      open: async (path: string, flags: number, mode?: number) => {
        if (!isWithin(this.#root, path)) return nodeFs.open(path, flags, mode);
        const makes = (flags & constants.O_CREAT) !== 0 && !(await exists(path));
        if (makes) this.#spend();
        const handle = await nodeFs.open(path, flags, mode);
        if (makes) this.#make(path, Buffer.alloc(0));
        return this.#handle(handle, this.#find(path), (flags & constants.O_APPEND) !== 0);
      },
    };
    return { ...nodeFs, ...(recorded as unknown as Partial<FileSystem>) };
  }

  #handle(handle: nodeFs.FileHandle, node: number, appends: boolean): nodeFs.FileHandle {
    const recorded: Record<string, (...args: never[]) => Promise<unknown>> = {
      write: async (bytes: Uint8Array, from: number, length: number, position: number) => {
        this.#spend();
        const offset = appends ? this.#bytes(node).length : position;
        const result = await handle.write(bytes, from, length, position);
        const written = Buffer.from(bytes.subarray(from, from + result.bytesWritten));
        this.#step({ kind: 'write', node, offset, bytes: written });
        return result;
      },
      truncate: async (size: number) => {
        this.#spend();
        await handle.truncate(size);
        this.#step({ kind: 'resize', node, size });
      },
      sync: async () => {
        this.#spend();
        const upTo = this.#entries.length;
        this.#entries.push({ kind: 'sync', node, upTo });
        return Promise.resolve(); // the model's fsync takes no time
      },
    };
    return new Proxy(handle, {
      get(target, name) {
        const instead = recorded[String(name)];
        if (instead !== undefined) return instead;
        if (['appendFile', 'writeFile', 'writev', 'datasync', 'createWriteStream'].includes(String(name)))
          throw new Error(`${String(name)} has no model here`);
        const member: unknown = Reflect.get(target, name, target);
        return typeof member === 'function' ? (member.bind(target) as unknown) : member;
      },
    });
  }

  #spend(): void {
    if (this.#callsLeft <= 0) throw systemError('EIO');
    this.#callsLeft--;
    this.#calls++;
  }

  #make(path: string, node: Node): void {
    const id = this.#count++;
    this.#first.set(id, copyOf(node));
    this.#nodes.set(id, node);
    this.#step({ kind: 'make', folder: this.#find(dirname(path)), name: nameOf(path), node: id });
  }

  /** What lies in a folder goes first, a name each. */
  #drop(path: string): void {
    const folder = this.#find(dirname(path));
    const drop = (from: number, name: string) => {
      const id = (this.#nodes.get(from) as Map<string, number>).get(name);
      const node = id === undefined ? undefined : this.#nodes.get(id);
      if (id === undefined || node === undefined) return;
      if (node instanceof Map) for (const each of [...node.keys()]) drop(id, each);
      this.#step({ kind: 'drop', folder: from, name });
    };
    drop(folder, nameOf(path));
  }

  #step(step: Step): void {
    this.#entries.push({ kind: 'step', step });
    apply(this.#nodes, step, 'kept');
  }

  #find(path: string): number {
    let id = 0;
    for (const name of relative(this.#root, path)
      .split('/')
      .filter((each) => each !== '')) {
      const node = this.#nodes.get(id);
      const next = node instanceof Map ? node.get(nameOf(name)) : undefined;
      if (next === undefined) throw new Error(`${path} is not known to the model`);
      id = next;
    }
    return id;
  }

  #bytes(id: number): Buffer {
    const node = this.#nodes.get(id);
    if (!Buffer.isBuffer(node)) throw new Error(`node ${id} is no file`);
    return node;
  }

  /**
   * All that the disk may hold, however far the calls have come: each class of losses (all, nothing, names only, bytes
   * only, bytes torn, one step alone lost or kept, the steps of one folder lost or kept), and up to four unsynced steps
   * in every combination. What is the same is given once.
   * @param seen digests of those that were given before, also of other runs
   */
  *states(seen = new Set<string>()): Generator<DiskState> {
    for (let end = 0; end <= this.#entries.length; end++) {
      const told = this.#entries.slice(0, end).flatMap((entry) => (entry.kind === 'told' ? [entry.fact] : []));
      const pending = this.#pending(end);
      for (const [label, fateOf] of fates(pending.map(({ step }) => step))) {
        const chosen = new Map(pending.map(({ index }, at) => [index, fateOf(at)]));
        const files = this.#build(end, chosen);
        const key = keyOf(files, told);
        if (seen.has(key)) continue;
        seen.add(key);
        yield { files, told, where: `after entry ${end}, ${label}` };
      }
    }
  }

  #pending(end: number): { index: number; step: Step }[] {
    const synced = new Map<number, number>();
    for (const entry of this.#entries.slice(0, end))
      if (entry.kind === 'sync') synced.set(entry.node, Math.max(entry.upTo, synced.get(entry.node) ?? 0));
    return this.#entries.slice(0, end).flatMap((entry, index) => {
      if (entry.kind !== 'step') return [];
      return index < (synced.get(ownerOf(entry.step)) ?? 0) ? [] : [{ index, step: entry.step }];
    });
  }

  #build(end: number, fateOf: ReadonlyMap<number, Fate>): Map<string, Buffer | null> {
    const nodes = new Map(Array.from(this.#first, ([id, node]) => [id, copyOf(node)]));
    for (const [index, entry] of this.#entries.slice(0, end).entries())
      if (entry.kind === 'step') apply(nodes, entry.step, fateOf.get(index) ?? 'kept');
    const files = new Map<string, Buffer | null>();
    const walk = (id: number, path: string) => {
      const node = nodes.get(id);
      if (Buffer.isBuffer(node)) files.set(path, node);
      else if (node !== undefined) {
        if (path !== '') files.set(`${path}/`, null);
        for (const [name, child] of node) walk(child, path === '' ? name : `${path}/${name}`);
      }
    };
    walk(0, '');
    return files;
  }
}

/** Makes the files of a state below a folder that does not exist yet. */
export async function materialize({ files }: Pick<DiskState, 'files'>, root: string): Promise<void> {
  await nodeFs.mkdir(root, { mode: 0o700 });
  for (const [path, bytes] of files) {
    if (bytes === null) await nodeFs.mkdir(join(root, path), { mode: 0o700 });
    else await nodeFs.writeFile(join(root, path), bytes, { mode: 0o600 });
  }
}

function apply(nodes: Map<number, Node>, step: Step, fate: Fate): void {
  if (fate === 'lost') return;
  if (step.kind === 'write' || step.kind === 'resize') {
    const before = nodes.get(step.node);
    if (!Buffer.isBuffer(before)) return;
    if (step.kind === 'resize') {
      nodes.set(
        step.node,
        Buffer.concat([before.subarray(0, step.size), Buffer.alloc(Math.max(0, step.size - before.length))]),
      );
      return;
    }
    const bytes =
      fate === 'half'
        ? step.bytes.subarray(0, step.bytes.length >> 1)
        : fate === 'zeros'
          ? Buffer.alloc(step.bytes.length)
          : step.bytes;
    const after = Buffer.alloc(Math.max(before.length, step.offset + bytes.length));
    before.copy(after);
    bytes.copy(after, step.offset);
    nodes.set(step.node, after);
    return;
  }
  const folder = nodes.get(step.folder);
  if (!(folder instanceof Map)) return;
  if (step.kind === 'make') folder.set(step.name, step.node);
  else if (step.kind === 'drop') folder.delete(step.name);
  else {
    // Of a file whose earlier step was lost, there is nothing to rename.
    const node = folder.get(step.name);
    if (node === undefined) return;
    folder.delete(step.name);
    folder.set(step.to, node);
  }
}

const isOfNames = ({ kind }: Step) => kind === 'make' || kind === 'drop' || kind === 'rename';

function ownerOf(step: Step): number {
  return step.kind === 'write' || step.kind === 'resize' ? step.node : step.folder;
}

const MAX_COMBINED = 4;

function* fates(pending: readonly Step[]): Generator<[string, (at: number) => Fate]> {
  const bytesBecome = (fate: Fate) => (at: number) => (isOfNames(pending[at]!) ? 'kept' : fate);
  yield ['nothing lost', () => 'kept'];
  yield ['all lost', () => 'lost'];
  yield ['bytes lost', bytesBecome('lost')];
  yield ['bytes zero', bytesBecome('zeros')];
  yield ['bytes torn', bytesBecome('half')];
  yield ['names lost', (at) => (isOfNames(pending[at]!) ? 'lost' : 'kept')];
  for (const owner of new Set(pending.map(ownerOf))) {
    yield [`only node ${owner} lost`, (at) => (ownerOf(pending[at]!) === owner ? 'lost' : 'kept')];
    yield [`only node ${owner} kept`, (at) => (ownerOf(pending[at]!) === owner ? 'kept' : 'lost')];
  }
  for (const one of pending.keys()) {
    yield [`step ${one} lost`, (at) => (at === one ? 'lost' : 'kept')];
    yield [`step ${one} kept`, (at) => (at === one ? 'kept' : 'lost')];
  }
  if (pending.length > MAX_COMBINED) return;
  for (let set = 0; set < 2 ** pending.length; set++)
    yield [`steps ${set.toString(2)} lost`, (at) => ((set >> at) & 1 ? 'lost' : 'kept')];
}

function copyOf(node: Node): Node {
  return Buffer.isBuffer(node) ? node : new Map(node);
}

/** After the power cut the makers of all drafts are gone: their names say so. */
function nameOf(path: string): string {
  return basename(path).replace(/^(draft\..*)\.(\d+)(\.\d+\.[0-9a-f]{8})$/, `$1.${DEAD_PID}$3`);
}

/** The random digits in names make no other state of it, and neither do the times in lines. */
function keyOf(files: ReadonlyMap<string, Buffer | null>, told: readonly string[]): string {
  const hash = createHash('sha256');
  for (const fact of told) hash.update(`${fact}\n`);
  const lines = Array.from(files, ([path, bytes]) => {
    const text = bytes?.toString('latin1').replace(/"at":"[^"]*"/g, '');
    return `${path.replace(/(draft|trash|partial)\.[^/]*/, '$1')} ${text ?? ''}`;
  });
  for (const line of lines.sort()) hash.update(`${line.length} ${line}\n`);
  return hash.digest('hex');
}

function isWithin(root: string, path: string): boolean {
  return path === root || path.startsWith(`${root}/`);
}

function exists(path: string): Promise<boolean> {
  return nodeFs.lstat(path).then(
    () => true,
    () => false,
  );
}
