/**
 * Manual pages as data, and their text in roff with the macros of man(7). Pure.
 *
 * What stands in a text is printed as it is: no sign of it is a request or an escape of roff (groff_char(7), roff(7)).
 */

export type Inline = string | { readonly bold: string } | { readonly italic: string };

export type Block =
  | { readonly section: string }
  | { readonly subsection: string }
  | { readonly paragraph: readonly Inline[] }
  /** A term, and what it means, indented. */
  | { readonly term: readonly Inline[]; readonly meaning: readonly Inline[] }
  /** Lines that stay as they are. */
  | { readonly literal: readonly string[] };

export interface ManPage {
  /** `espd-backup`. */
  readonly name: string;
  /** 1 commands, 5 files, 8 the system. */
  readonly section: 1 | 5 | 8;
  /** One line without a full stop, for whatis(1). */
  readonly summary: string;
  readonly blocks: readonly Block[];
}

/** The file name of a page, below `man<section>/`. */
export function manFileName({ name, section }: ManPage): string {
  return `${name}.${section}`;
}

/** @param release stands at the bottom: `espd 0.1.0` */
export function renderManPage(page: ManPage, release: string): string {
  const title = [page.name.toUpperCase(), String(page.section), '', release, 'espd'].map(argument).join(' ');
  const blocks: Block[] = [{ section: 'NAME' }, { paragraph: [`${page.name} - ${page.summary}`] }, ...page.blocks];
  // whatis(1) wants one line "name \- summary" behind NAME.
  const lines = blocks.flatMap((block, index) => renderBlock(block, isHeading(blocks[index - 1])));
  return `${[`.TH ${title}`, '.nh', '.ad l', ...lines].join('\n')}\n`;
}

/** A paragraph begins behind it by itself: mandoc warns of one that is begun. */
function isHeading(block: Block | undefined): boolean {
  return block !== undefined && ('section' in block || 'subsection' in block);
}

function renderBlock(block: Block, isFirst: boolean): string[] {
  const paragraph = isFirst ? [] : ['.PP'];
  if ('section' in block) return [`.SH ${argument(block.section)}`];
  if ('subsection' in block) return [`.SS ${argument(block.subsection)}`];
  if ('paragraph' in block) return [...paragraph, ...renderText(block.paragraph)];
  if ('term' in block) return ['.TP', ...renderText(block.term), ...renderText(block.meaning)];
  return [...paragraph, '.RS 4', '.nf', ...block.literal.map((line) => protectedLine(escaped(line))), '.fi', '.RE'];
}

/** Lines of text; an empty one would be a request for a blank line. */
function renderText(parts: readonly Inline[]): string[] {
  const text = parts.map(renderInline).join('').trim();
  return text.split('\n').map((line) => protectedLine(line.trim()));
}

function renderInline(part: Inline): string {
  if (typeof part === 'string') return escaped(part);
  return 'bold' in part ? `\\fB${escaped(part.bold)}\\fR` : `\\fI${escaped(part.italic)}\\fR`;
}

/** Signs that roff takes for something, or prints as another one where they come bare. */
const SIGNS: Readonly<Record<string, string>> = {
  '\\': String.raw`\e`,
  '-': String.raw`\-`,
  '^': String.raw`\(ha`,
  '~': String.raw`\(ti`,
  '`': String.raw`\(ga`,
  "'": String.raw`\(aq`,
};

/** A text within a line. */
export function escaped(text: string): string {
  return text.replaceAll(/[\\\-^~`']/g, (sign) => SIGNS[sign] ?? sign);
}

/** A line that begins with a dot would be a request; a bare apostrophe is escaped already. */
function protectedLine(line: string): string {
  return line.startsWith('.') || line === '' ? `\\&${line}` : line;
}

/** An argument of a macro. */
function argument(text: string): string {
  return `"${escaped(text).replaceAll('"', String.raw`\(dq`).replaceAll('\n', ' ')}"`;
}
