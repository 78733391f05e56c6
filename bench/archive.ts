/**
 * `npm run bench:archive [BOARDS BACKUPS]`: what a large archive costs, in real time, beside an empty one. `-- --write`
 * puts the figures into BENCHMARKS.md. The machine's other load spoils real time; processor time, which stands beside it,
 * it spoils less. Linux only: it reads /proc.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { openArchive } from '../src/archive/archive.ts';
import { systemClock } from '../src/clock.ts';
import { silentLogger } from '../src/log.ts';
import { content } from '../test/archive/support.ts';
import { boardMac, fillArchive } from '../test/support/fill-archive.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const MAIN = join(ROOT, 'dist', 'main.js');
/** What the daemon does after its start is done by then. */
const SETTLING_MS = 10_000;
/** The best of so many counts. */
const TRIES = 3;

const [boards = 2000, backups = 20] = process.argv
  .slice(2)
  .filter((word) => /^\d+$/.test(word))
  .map(Number);
const lines: string[] = [];
const OPTIONS = { log: silentLogger, clock: systemClock, compression: 'none', createdBy: 'espd bench' } as const;
const BACKUP_BYTES = 64 * 1024;
const MANY = { boards: 10_000, backups: 2 };
const LONG = 1000;

function say(what: string, text: string): void {
  lines.push(`${what}: ${text}`);
  process.stdout.write(`${what}: ${text}\n`);
}

const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`;

/** Of a whole command, from its start to its end. */
interface Cost {
  readonly wallMs: number;
  readonly cpuMs: number;
}

/** What ended children of this process took of the processor, to 10 ms (proc(5), cutime and cstime). */
function childrenCpuMs(): number {
  const fields = readFileSync('/proc/self/stat', 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[13]) + Number(fields[14])) * 10;
}

async function command(...args: string[]): Promise<Cost> {
  const [startMs, cpuMs] = [performance.now(), childrenCpuMs()];
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'ignore', 'inherit'] });
  const [status] = (await once(child, 'exit')) as [number];
  if (status !== 0) throw new Error(`espd ${args.join(' ')}: status ${status}`);
  return { wallMs: performance.now() - startMs, cpuMs: childrenCpuMs() - cpuMs };
}

async function best(work: () => Promise<number>): Promise<number> {
  const taken: number[] = [];
  for (let count = 0; count < TRIES; count++) taken.push(await work());
  return Math.min(...taken);
}

/** Each figure beyond what the same costs with an empty archive: in turn, the least of some runs of either. */
async function beyond(empty: string, args: readonly string[], prepare: () => Promise<void>): Promise<Cost> {
  const starts: Cost[] = [];
  const wholes: Cost[] = [];
  for (let count = 0; count < TRIES; count++) {
    starts.push(await command('--archive', empty, 'list'));
    await prepare();
    wholes.push(await command(...args));
  }
  const least = (costs: readonly Cost[], of: keyof Cost) => Math.min(...costs.map((cost) => cost[of]));
  const more = (of: keyof Cost) => least(wholes, of) - least(starts, of);
  return { wallMs: more('wallMs'), cpuMs: more('cpuMs') };
}

const costText = ({ wallMs, cpuMs }: Cost) => `${seconds(wallMs)}, ${seconds(cpuMs)} of a processor`;

async function listing(root: string, empty: string, what: string): Promise<void> {
  const list = ['--archive', root, 'list'];
  const forget = () => rm(join(root, 'cache'), { recursive: true, force: true });
  say(`list of ${what}, without an index`, costText(await beyond(empty, list, forget)));
  say(`list of ${what}, with an index`, costText(await beyond(empty, list, () => Promise.resolve())));
  await forget();
}

async function showing(root: string, empty: string, count: number): Promise<void> {
  const show = ['--archive', root, 'show', boardMac(0)];
  say(`show of a board with ${count} backups`, costText(await beyond(empty, show, () => Promise.resolve())));
}

/** What the archive takes of a backup whose flash has changed, from the first look to the commit. */
async function backup(root: string): Promise<number> {
  const archive = openArchive(root, OPTIONS);
  const mac = boardMac(0);
  const bytes = Buffer.alloc(BACKUP_BYTES);
  await archive.lookAround();
  return best(async () => {
    bytes[0] = (bytes[0] ?? 0) + 1;
    const startMs = performance.now();
    await archive.latest(mac);
    const draft = await archive.begin(mac, bytes.length);
    await (await archive.candidates(mac)).close();
    await draft.write(0, bytes);
    await draft.commit(content(bytes, systemClock.date().toISOString(), mac));
    return performance.now() - startMs;
  });
}

/** What a plug-in waits for. */
async function plugIn(root: string): Promise<void> {
  const timed = async (work: () => Promise<unknown>) => {
    const startMs = performance.now();
    await work();
    return performance.now() - startMs;
  };
  const once_ = async (archive: ReturnType<typeof openArchive>) => (await archive.candidates(boardMac(7))).close();
  const first = openArchive(root, OPTIONS);
  const made = await timed(() => once_(first));
  const command_ = await best(() => timed(() => once_(openArchive(root, OPTIONS))));
  await first.lookAround();
  const service = await best(() => timed(() => once_(first)));
  const ms = (value: number) => `${value.toFixed(0)} ms`;
  say(
    'candidates of a plug-in',
    `${ms(made)} where no index is, ${ms(command_)} in a command, ${ms(service)} in the service`,
  );
}

async function daemon(root: string, folder: string): Promise<{ readyMs: number; residentMb: number }> {
  const config = join(folder, 'config.yaml');
  const text = [
    `archive: { path: ${JSON.stringify(root)} }`,
    "watch: { deny: [{ path: '/dev/*' }] }",
    'log: { format: json }',
  ];
  await writeFile(config, `${text.join('\n')}\n`);
  const startMs = performance.now();
  const child: ChildProcess = spawn(process.execPath, [MAIN, 'daemon', '--config', config], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  if (child.stderr === null) throw new Error('no stderr');
  for await (const line of createInterface({ input: child.stderr })) if (line.includes('Watching for boards')) break;
  const readyMs = performance.now() - startMs;
  await sleep(SETTLING_MS);
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
  const residentMb = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  await ended;
  return { readyMs, residentMb };
}

const folder = await mkdtemp(join(tmpdir(), 'espd-bench-'));
try {
  const [full, empty] = [join(folder, 'full'), join(folder, 'empty')];
  await mkdir(empty);
  const startMs = performance.now();
  fillArchive(full, boards, backups);
  say('machine', `${cpus().length} cores, Node ${process.versions.node}, load ${loadavg()[0]?.toFixed(1)} before`);
  say('archive', `${boards} boards of ${backups} backups of 4 MB, made in ${seconds(performance.now() - startMs)}`);
  say('all figures of commands', 'beyond the same of an empty archive, of which the start of Node is the most');
  await listing(full, empty, `${boards} boards`);
  await showing(full, empty, backups);
  await plugIn(full);
  const [without, with_] = [await daemon(empty, folder), await daemon(full, folder)];
  say('daemon ready', `${seconds(with_.readyMs)}, with an empty archive ${seconds(without.readyMs)}`);
  say(
    'daemon resident',
    `${with_.residentMb.toFixed(0)} MB, with an empty archive ${without.residentMb.toFixed(0)} MB`,
  );
  const [many, long, short] = [join(folder, 'many'), join(folder, 'long'), join(folder, 'short')];
  fillArchive(many, MANY.boards, MANY.backups);
  await listing(many, empty, `${MANY.boards} boards of ${MANY.backups} backups`);
  fillArchive(long, 1, LONG);
  fillArchive(short, 1, backups);
  await showing(long, empty, LONG);
  const [longMs, shortMs, fullMs] = [await backup(long), await backup(short), await backup(full)];
  say(
    'archive work of one backup',
    `${longMs.toFixed(0)} ms of a board with ${LONG}, ${shortMs.toFixed(0)} ms of one with ${backups}, ` +
      `${fullMs.toFixed(0)} ms among ${boards} boards`,
  );
  say('load', `${loadavg()[0]?.toFixed(1)} after`);
} finally {
  await rm(folder, { recursive: true, force: true });
}

if (process.argv.includes('--write')) {
  const file = new URL('../BENCHMARKS.md', import.meta.url);
  const text = readFileSync(file, 'utf8');
  const begin = '<!-- begin of the archive -->\n';
  const end = '<!-- end of the archive -->';
  const head = text.slice(0, text.indexOf(begin) + begin.length);
  writeFileSync(file, `${head}\n\`\`\`\n${lines.join('\n')}\n\`\`\`\n\n${text.slice(text.indexOf(end))}`);
}
