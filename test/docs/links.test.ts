/** README is short, every page is reached from it, and every link leads somewhere. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRequire } from 'node:module';
import { PAGES, anchorsOf, brokenLink, linksOf, readPage } from './pages.ts';

const MAX_README_LINES = 200;
const { files } = createRequire(import.meta.url)('../../package.json') as { files: string[] };

test(`README has at most ${MAX_README_LINES} lines`, () => {
  const lines = readPage('README.md').trimEnd().split('\n').length;
  assert.ok(lines <= MAX_README_LINES, `${lines} lines: what belongs to one task goes to a page of docs/`);
});

test('every relative link of every page leads to a file that is there, and to a heading in it', () => {
  const broken = PAGES.flatMap((page) => linksOf(readPage(page)).map((target) => brokenLink(page, target)));
  assert.deepEqual(
    broken.filter((problem) => problem !== undefined),
    [],
  );
});

test('README links to every page of docs', () => {
  const linked = new Set(linksOf(readPage('README.md')).map((target) => target.replace(/#.*/, '')));
  assert.deepEqual(
    PAGES.filter((page) => page.startsWith('docs/') && !linked.has(page)),
    [],
  );
});

test("README's table of pages has every page for users", () => {
  const table = readPage('README.md').split('## Read on')[1]?.split('## Limits')[0] ?? '';
  const linked = new Set(linksOf(table));
  const forDevelopers = ['docs/system-tests.md'];
  assert.deepEqual(
    PAGES.filter((page) => page.startsWith('docs/') && !linked.has(page) && !forDevelopers.includes(page)),
    [],
  );
});

test('the package holds README and every page that the pages for users link to', () => {
  const isPacked = (page: string) => files.some((file) => page === file || page.startsWith(`${file}/`));
  const pages = PAGES.filter((page) => !page.startsWith('test/'));
  assert.deepEqual(
    pages.filter((page) => !isPacked(page)),
    [],
  );
});

test('links and anchors are read as GitHub reads them', () => {
  const text = [
    '# A `code` heading, with (signs)!',
    '## Twice',
    '## Twice',
    '## [A link](docs/x.md) in it',
    '```sh',
    '# no heading [no](link.md)',
    '```',
    'See [one](a.md#b) and `[no](link.md)`,',
    '![a picture](p.png "title") and [`code`](c.md).',
  ].join('\n');
  assert.deepEqual([...anchorsOf(text)], ['a-code-heading-with-signs', 'twice', 'twice-1', 'a-link-in-it']);
  assert.deepEqual(linksOf(text), ['docs/x.md', 'a.md#b', 'p.png', 'c.md']);
  assert.equal(brokenLink('docs/errors.md', '../README.md#commands'), undefined);
  assert.equal(brokenLink('README.md', 'https://example.org/nothing'), undefined);
  assert.match(brokenLink('docs/errors.md', 'README.md') ?? '', /no file/);
  assert.match(brokenLink('README.md', 'docs/errors.md#nothing') ?? '', /no heading/);
  assert.match(brokenLink('README.md', '#nothing') ?? '', /no heading/);
  assert.match(brokenLink('README.md', '../README.md') ?? '', /no file/);
});
