/** `npm run bench`: prints the table of all scenarios; `--write` puts it into BENCHMARKS.md. */

import { readFileSync, writeFileSync } from 'node:fs';
import { formatTable } from '../src/cli/text.ts';
import { type Line, type Result, compare, measure } from './scenarios.ts';

const LINES: Line[] = [115200, 921600, 2000000].flatMap((baudRate) =>
  [1, 8].map((latencyMs) => ({ baudRate, latencyMs })),
);

/** What the reader is measured at. */
const MARKS: Line[] = [
  { baudRate: 921600, latencyMs: 1 },
  { baudRate: 921600, latencyMs: 8 },
  { baudRate: 2_000_000, latencyMs: 8 },
  { baudRate: 3_000_000, latencyMs: 8 },
];

const HEADING = [
  'scenario',
  'baud',
  'latency',
  'wire bytes',
  'flash read',
  'written',
  'seconds',
  'reading',
  'of the line',
  'of line and chip',
];

function row({
  scenario,
  line,
  wireBytes,
  flashBytesRead,
  sectorsWritten,
  seconds,
  readingSeconds,
  lineShare,
  possibleShare,
}: Result): string[] {
  return [
    scenario,
    String(line.baudRate),
    `${line.latencyMs} ms`,
    String(wireBytes),
    String(flashBytesRead),
    `${sectorsWritten} sectors`,
    seconds.toFixed(2),
    readingSeconds.toFixed(2),
    ...[lineShare, possibleShare].map((share) => (share === null ? '-' : `${(share * 100).toFixed(1)} %`)),
  ];
}

const rows: string[][] = [];
for (const line of LINES) await measure(line, 'auto', (result) => rows.push(row(result)));
for (const line of MARKS) await compare(line, (result) => rows.push(row(result)));
const table = formatTable([HEADING, ...rows]);
process.stdout.write(`${table.join('\n')}\n`);

if (process.argv.includes('--write')) {
  const file = new URL('../BENCHMARKS.md', import.meta.url);
  const text = readFileSync(file, 'utf8');
  const begin = '<!-- begin of the table -->\n';
  const end = '<!-- end of the table -->';
  const head = text.slice(0, text.indexOf(begin) + begin.length);
  writeFileSync(file, `${head}\n\`\`\`\n${table.join('\n')}\n\`\`\`\n\n${text.slice(text.indexOf(end))}`);
}
