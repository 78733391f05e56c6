/** README and docs as the tests of this folder read them: pages, anchors, links, and the espd commands in them. */

import { existsSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';

const ROOT = path.join(import.meta.dirname, '../..');

const DOCS = readdirSync(path.join(ROOT, 'docs')).filter((name) => name.endsWith('.md'));

/** The pages for people, by their path in the checkout. */
export const PAGES: readonly string[] = [
  'README.md',
  'ARCHITECTURE.md',
  'BENCHMARKS.md',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  'FORMAT.md',
  ...DOCS.map((name) => `docs/${name}`),
  'test/traces/README.md',
];

export const USER_PAGES: readonly string[] = PAGES.filter((page) => page === 'README.md' || page.startsWith('docs/'));

export function readPage(page: string): string {
  return readFileSync(path.join(ROOT, page), 'utf8');
}

/** The targets of all links outside code, as they stand there. */
export function linksOf(markdown: string): string[] {
  const text = withoutBlocks(markdown).replaceAll(/`[^`]*`/g, (code) => code.replaceAll(/[[\]()]/g, ' '));
  return [...text.matchAll(/\]\(\s*<?([^)\s>]+)>?[^)]*\)/g)].map(([, target = '']) => target);
}

/** The anchors that GitHub gives to the headings of a page. */
export function anchorsOf(markdown: string): Set<string> {
  const anchors = new Set<string>();
  for (const [, heading = ''] of withoutBlocks(markdown).matchAll(/^#{1,6} +(.*?) *#*$/gm)) {
    const shown = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1');
    const slug = shown
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\p{M}_ -]/gu, '')
      .replaceAll(' ', '-');
    let anchor = slug;
    for (let again = 1; anchors.has(anchor); again++) anchor = `${slug}-${again}`;
    anchors.add(anchor);
  }
  return anchors;
}

/** Why the link on `page` leads nowhere, or undefined. Links to other hosts are not followed. */
export function brokenLink(page: string, target: string): string | undefined {
  if (/^[a-z][a-z0-9+.-]*:/i.test(target)) return undefined;
  const [file = '', anchor] = target.split('#');
  const linked = file === '' ? page : path.posix.normalize(path.posix.join(path.posix.dirname(page), file));
  if (linked.startsWith('..') || !existsSync(path.join(ROOT, linked))) return `${page}: no file ${target}`;
  if (anchor === undefined) return undefined;
  if (!linked.endsWith('.md')) return `${page}: an anchor in a file without headings, ${target}`;
  return anchorsOf(readPage(linked)).has(anchor) ? undefined : `${page}: no heading ${target}`;
}

/** What is written as code: lines of blocks, and pieces between backticks. */
export function codeOf(markdown: string): string[] {
  const blocks = [...markdown.matchAll(/^```.*\n([^]*?)^```$/gm)].flatMap(([, block = '']) => block.split('\n'));
  const spans = [...withoutBlocks(markdown).matchAll(/`([^`]+)`/g)].map(([, code = '']) => code.replaceAll('\n', ' '));
  return [...blocks, ...spans];
}

/** A table's rows, one cell after the other, without its heading; every table of the page. */
export function rowsOf(markdown: string): string[][] {
  const cells = (line: string) =>
    line
      .replaceAll(/^\||\|$/g, '')
      .split(/(?<!\\)\|/)
      .map((cell) => cell.trim().replaceAll('\\|', '|'));
  const lines = withoutBlocks(markdown).split('\n');
  const isRule = (line: string | undefined) => /^\|[ :|-]+\|$/.test(line ?? '');
  return lines
    .filter((line, index) => line.startsWith('|') && !isRule(line) && !isRule(lines[index + 1]))
    .map((line) => cells(line.trim()));
}

function withoutBlocks(markdown: string): string {
  return markdown.replaceAll(/^```.*\n[^]*?^```$/gm, '');
}
