/**
 * `npm run bench:page [BOARDS]`: the page with a large fleet beside the same page with 50 boards, in a real browser, with
 * the built daemon behind it. `-- --write` puts the figures into BENCHMARKS.md. Either is measured in turn, and the least
 * of some runs counts: what else the machine does spoils both alike, so their ratio is what can be compared. Linux only.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { boardMac, fillArchive } from '../test/support/fill-archive.ts';
import { startChromium } from '../test/web/chromium.ts';
import { openSession, servePage } from '../test/web/page-server.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const MAIN = join(ROOT, 'dist', 'main.js');
const FEW = 50;
const BACKUPS = 5;
/** The least of so many counts. */
const TRIES = 5;
const FRAMES = 300;
/** Of the table in a frame: about six rows, as a quick turn of the wheel. */
const STEP_PX = 400;
const FRAME_MS = 1000 / 60;

const [many = 2000] = process.argv
  .slice(2)
  .filter((word) => /^\d+$/.test(word))
  .map(Number);
const lines: string[] = [];

function say(what: string, text: string): void {
  lines.push(`${what}: ${text}`);
  process.stdout.write(`${what}: ${text}\n`);
}

const ms = (value: number) => `${value.toFixed(0)} ms`;
const least = (values: readonly number[]) => Math.min(...values);

/** A daemon with an archive, and the page of `espd web` before it. */
class Station {
  readonly url: string;
  readonly folder: string;
  readonly session: { readonly name: string; readonly value: string };
  readonly close: () => Promise<void>;

  private constructor(parts: Pick<Station, 'url' | 'folder' | 'session' | 'close'>) {
    ({ url: this.url, folder: this.folder, session: this.session, close: this.close } = parts);
  }

  static async open(folder: string, boards: number): Promise<Station> {
    await mkdir(join(folder, 'ports'), { recursive: true });
    fillArchive(join(folder, 'archive'), boards, BACKUPS);
    const config = [
      `archive: { path: ${JSON.stringify(join(folder, 'archive'))}, statePath: ${JSON.stringify(join(folder, 'state'))} }`,
      `watch: { folders: [${JSON.stringify(join(folder, 'ports'))}], deny: [{ path: '/dev/*' }] }`,
      'log: { format: json }',
    ];
    await writeFile(join(folder, 'config.yaml'), `${config.join('\n')}\n`);
    const child = spawn(process.execPath, [MAIN, 'daemon', '--config', join(folder, 'config.yaml')], {
      env: { ...process.env, RUNTIME_DIRECTORY: folder },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const log = createInterface({ input: child.stderr });
    await new Promise<void>((resolve, reject) => {
      log.on('line', (line) => line.includes('Watching for boards') && resolve());
      child.once('exit', () => reject(new Error('the daemon has ended')));
    });
    const server = await servePage(join(folder, 'espd.sock'));
    const close = async () => {
      await server.close();
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    };
    return new Station({ url: server.url, folder, session: await openSession(server), close });
  }

  /** How long an answer of the API takes, and how long it is. */
  async ask(path: string, headers: Readonly<Record<string, string>> = {}) {
    const startMs = performance.now();
    return new Promise<{ ms: number; text: string; tag: string }>((resolve, reject) => {
      request({ socketPath: join(this.folder, 'espd.sock'), path, headers }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (piece: string) => (text += piece));
        response.once('error', reject);
        response.once('end', () =>
          resolve({ ms: performance.now() - startMs, text, tag: response.headers.etag ?? '' }),
        );
      })
        .once('error', reject)
        .end();
    });
  }

  /** Waits for the board at its only port. */
  async until(state: 'working' | 'done'): Promise<void> {
    while (!(await this.ask('/v1/ports')).text.includes(`"state":"${state}"`)) await sleep(50);
  }
}

/** What is watched in the browser: long tasks, and when the first row was there. */
const PROBE = `
  window.longTasks = [];
  new PerformanceObserver((list) => longTasks.push(...list.getEntries().map((entry) => entry.duration)))
    .observe({ type: 'longtask', buffered: true });
  window.firstRow = new Promise((resolve) => {
    const look = () => {
      if (document.querySelector('.board-row:not(.head)') === null) requestAnimationFrame(look);
      else requestAnimationFrame(() => resolve(performance.now()));
    };
    requestAnimationFrame(look);
  });
`;

/** Scrolls down, and up again from the end, a step a frame; resolves to the time between frames. */
const SCROLL = `new Promise((resolve) => {
  longTasks.length = 0;
  const frames = [];
  let before = performance.now();
  let step = ${STEP_PX};
  const onFrame = () => {
    const now = performance.now();
    frames.push(now - before);
    before = now;
    if (frames.length > ${FRAMES}) return resolve({ frames: frames.slice(1), longTasks: [...longTasks] });
    const bottom = document.documentElement.scrollHeight - innerHeight;
    if (scrollY + step > bottom || scrollY + step < 0) step = -step;
    scrollBy(0, step);
    requestAnimationFrame(onFrame);
  };
  requestAnimationFrame(onFrame);
})`;

/** From a letter typed to the frame in which its result stands. */
const SEARCH = (text: string) => `new Promise((resolve) => {
  const box = document.querySelector('input[type=search]');
  const startMs = performance.now();
  box.value = ${JSON.stringify(text)};
  box.dispatchEvent(new Event('input', { bubbles: true }));
  const look = () => {
    const rows = document.querySelectorAll('.board-row:not(.head)').length;
    if (rows === 1) requestAnimationFrame(() => resolve(performance.now() - startMs));
    else requestAnimationFrame(look);
  };
  look();
})`;

interface Scrolled {
  readonly medianMs: number;
  readonly slowMs: number;
  readonly longestMs: number;
  readonly dropped: number;
  readonly longTasks: number;
}

async function scrolled(page: Page): Promise<Scrolled> {
  const { frames, longTasks } = await page.evaluate<{ frames: number[]; longTasks: number[] }>(SCROLL);
  const sorted = frames.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  const dropped = frames.reduce((sum, each) => sum + Math.max(0, Math.round(each / FRAME_MS) - 1), 0);
  return { medianMs: at(0.5), slowMs: at(0.95), longestMs: at(1), dropped, longTasks: longTasks.length };
}

interface Seen {
  readonly firstMs: number;
  readonly elements: number;
  readonly scroll: Scrolled;
  readonly searchMs: number;
}

/** @param work is told when the first rows were there, since the address was opened */
async function withPage<T>(
  browser: Browser,
  station: Station,
  work: (page: Page, firstMs: number) => Promise<T>,
): Promise<T> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  try {
    await context.addCookies([{ url: station.url, ...station.session }]);
    const page = await context.newPage();
    await page.addInitScript(PROBE);
    await page.goto(`${station.url}#/boards?sort=mac`);
    const firstMs = await page.evaluate<number>('firstRow');
    await page.getByText('Live', { exact: true }).waitFor();
    return await work(page, firstMs);
  } finally {
    await context.close();
  }
}

function lookAt(browser: Browser, station: Station): Promise<Seen> {
  return withPage(browser, station, async (page, firstMs) => {
    const elements = await page.evaluate<number>(`document.querySelectorAll('*').length`);
    const scroll = await scrolled(page);
    const searchMs = await page.evaluate<number>(SEARCH(boardMac(FEW - 3).replaceAll(':', '')));
    return { firstMs, elements, scroll, searchMs };
  });
}

/** The run in which the fewest frames were lost: the others lost them to the rest of the machine. */
function best(runs: readonly Seen[]): Seen {
  const scroll = runs.map((run) => run.scroll).toSorted((a, b) => a.dropped - b.dropped || a.slowMs - b.slowMs)[0];
  if (scroll === undefined) throw new Error('nothing was run');
  return {
    ...{ scroll, elements: Math.max(...runs.map(({ elements }) => elements)) },
    firstMs: least(runs.map(({ firstMs }) => firstMs)),
    searchMs: least(runs.map(({ searchMs }) => searchMs)),
  };
}

function tell(what: string, few: Scrolled, all: Scrolled): void {
  const text = ({ medianMs, slowMs, longestMs, dropped, longTasks }: Scrolled) =>
    `${ms(medianMs)} a frame (95 % within ${ms(slowMs)}, all within ${ms(longestMs)}), ${dropped} dropped, ` +
    `${longTasks} tasks over 50 ms`;
  say(`${what}, ${many} boards`, text(all));
  say(`${what}, ${FEW} boards`, text(few));
}

/** A board in a process of its own, until it is ended. */
async function serveBoard(): Promise<{ readonly address: string; readonly end: () => void }> {
  const args = ['--import', './scripts/tsx.mjs', 'bench/boards.ts', '1', '4', '1150000'];
  const child = spawn(process.execPath, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] });
  for await (const address of createInterface({ input: child.stdout })) return { address, end: () => child.kill() };
  throw new Error('no board');
}

/** Scrolls while a board is backed up, and counts what the page asks for because of it. */
async function withBoardAtWork(browser: Browser, station: Station) {
  const { address, end } = await serveBoard();
  try {
    return await withPage(browser, station, async (page) => {
      const asked: string[] = [];
      page.on('request', (asking) => {
        const { pathname, search } = new URL(asking.url());
        if (pathname.startsWith('/v1/boards')) asked.push(decodeURIComponent(pathname + search));
      });
      await symlink(address, join(station.folder, 'ports', 'board'));
      await station.until('working');
      const scroll = await scrolled(page);
      await station.until('done');
      // Longer than the page lets events settle.
      await sleep(3000);
      return { scroll, asked };
    });
  } finally {
    end();
  }
}

async function answers(station: Station): Promise<void> {
  const path = '/v1/boards';
  // An answer is good for two seconds for all who ask: each of these looks at the archive.
  const rested = () => sleep(2100);
  const alls: number[] = [];
  const unchanged: number[] = [];
  const ones: number[] = [];
  const { text, tag } = await station.ask(path);
  let oneBytes = 0;
  for (let count = 0; count < TRIES; count++) {
    await rested();
    alls.push((await station.ask(path)).ms);
    await rested();
    unchanged.push((await station.ask(path, { 'If-None-Match': tag })).ms);
    const one = await station.ask(`${path}?only=${boardMac(count)}`);
    ones.push(one.ms);
    oneBytes = one.text.length;
  }
  say('answer with all boards', `${ms(least(alls))}, ${(text.length / 1000).toFixed(0)} KB`);
  say('the same where the page has it (304)', `${ms(least(unchanged))}, 0 KB`);
  say('answer with one board, as after an event', `${ms(least(ones))}, ${(oneBytes / 1000).toFixed(1)} KB`);
}

const folder = await mkdtemp(join(tmpdir(), 'espd-bench-'));
const browser = await startChromium();
try {
  say('machine', `${cpus().length} cores, Chromium ${browser.version()}, load ${loadavg()[0]?.toFixed(1)} before`);
  const [few, all] = [await Station.open(join(folder, 'few'), FEW), await Station.open(join(folder, 'all'), many)];
  try {
    // The index of boards is made by the first look; a daemon that has run for a while has it.
    const first = await all.ask('/v1/boards');
    say('first answer with all boards, without an index', ms(first.ms));
    await answers(all);
    const runs: { few: Seen[]; all: Seen[] } = { few: [], all: [] };
    for (let count = 0; count < TRIES; count++) {
      runs.few.push(await lookAt(browser, few));
      runs.all.push(await lookAt(browser, all));
    }
    const [ofFew, ofAll] = [best(runs.few), best(runs.all)];
    say('elements in the document', `${ofAll.elements} with ${many} boards, ${ofFew.elements} with ${FEW}`);
    say(
      'from the address to the first rows',
      `${ms(ofAll.firstMs)} with ${many} boards, ${ms(ofFew.firstMs)} with ${FEW}`,
    );
    say('from a search to its result', `${ms(ofAll.searchMs)} with ${many} boards, ${ms(ofFew.searchMs)} with ${FEW}`);
    tell('scrolling', ofFew.scroll, ofAll.scroll);
    const [busyFew, busyAll] = [await withBoardAtWork(browser, few), await withBoardAtWork(browser, all)];
    tell('scrolling while a board is backed up', busyFew.scroll, busyAll.scroll);
    say('what the page asked for of the archive meanwhile', busyAll.asked.join(' ') || 'nothing');
  } finally {
    await few.close();
    await all.close();
  }
  say('load', `${loadavg()[0]?.toFixed(1)} after`);
} finally {
  await browser.close();
  await rm(folder, { recursive: true, force: true });
}

if (process.argv.includes('--write')) {
  const file = new URL('../BENCHMARKS.md', import.meta.url);
  const text = readFileSync(file, 'utf8');
  const begin = '<!-- begin of the page -->\n';
  const end = '<!-- end of the page -->';
  const head = text.slice(0, text.indexOf(begin) + begin.length);
  writeFileSync(file, `${head}\n\`\`\`\n${lines.join('\n')}\n\`\`\`\n\n${text.slice(text.indexOf(end))}`);
}
