/**
 * `npm run bench:archive [BOARDS BACKUPS]`: what a large archive costs, in real time, beside an empty one. `-- --write`
 * puts the figures into BENCHMARKS.md. The machine's other load spoils them: its processor time stands beside.
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

function say(what: string, text: string): void {
  lines.push(`${what}: ${text}`);
  process.stdout.write(`${what}: ${text}\n`);
}

const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`;

/** Milliseconds of a whole command, from its start to its end. */
async function command(...args: string[]): Promise<number> {
  const startMs = performance.now();
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'ignore', 'inherit'] });
  const [status] = (await once(child, 'exit')) as [number];
  if (status !== 0) throw new Error(`espd ${args.join(' ')}: status ${status}`);
  return performance.now() - startMs;
}

async function best(work: () => Promise<number>): Promise<number> {
  const taken: number[] = [];
  for (let count = 0; count < TRIES; count++) taken.push(await work());
  return Math.min(...taken);
}

async function listing(full: string, empty: string): Promise<void> {
  const start = await best(() => command('--archive', empty, 'list'));
  const beyond = (ms: number) => `${seconds(ms)}, ${seconds(ms - start)} beyond the same of an empty archive`;
  const cold = async () => {
    await rm(join(full, 'cache'), { recursive: true, force: true });
    return command('--archive', full, 'list');
  };
  say('list, without an index', beyond(await best(cold)));
  say('list, with an index', beyond(await best(() => command('--archive', full, 'list'))));
  say(
    `show of one board, ${backups} backups`,
    beyond(await best(() => command('--archive', full, 'show', boardMac(7)))),
  );
  await rm(join(full, 'cache'), { recursive: true, force: true });
}

/** What a plug-in waits for. */
async function plugIn(root: string): Promise<void> {
  const options = { log: silentLogger, clock: systemClock, compression: 'none', createdBy: 'espd bench' } as const;
  const timed = async (work: () => Promise<unknown>) => {
    const startMs = performance.now();
    await work();
    return performance.now() - startMs;
  };
  const once_ = async (archive: ReturnType<typeof openArchive>) => (await archive.candidates(boardMac(7))).close();
  const first = openArchive(root, options);
  const made = await timed(() => once_(first));
  const command_ = await best(() => timed(() => once_(openArchive(root, options))));
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
  await listing(full, empty);
  await plugIn(full);
  const [without, with_] = [await daemon(empty, folder), await daemon(full, folder)];
  say('daemon ready', `${seconds(with_.readyMs)}, with an empty archive ${seconds(without.readyMs)}`);
  say(
    'daemon resident',
    `${with_.residentMb.toFixed(0)} MB, with an empty archive ${without.residentMb.toFixed(0)} MB`,
  );
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
