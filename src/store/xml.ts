/**
 * The little XML of S3's answers: elements and text, without attributes, comments or entities of its own. A library for
 * all of XML has six dependencies. Pure, and never throws: what is no such XML has no elements.
 */

export interface XmlElement {
  readonly name: string;
  /** Of an element without children; else empty. */
  readonly text: string;
  readonly children: readonly XmlElement[];
}

/** No answer of S3 is nested deeper than four. */
const MAX_DEPTH = 16;
const TOKEN = /<\?[^>]*\?>|<(\/?)([A-Za-z][\w:.-]*)(?:\s[^<>]*?)?(\/?)>|([^<]+)/y;

/** The outermost element; undefined for what is not well-formed, or has something else in it. */
export function parseXml(text: string): XmlElement | undefined {
  interface Open {
    readonly name: string;
    text: string;
    readonly children: XmlElement[];
  }
  const top: Open = { name: '', text: '', children: [] };
  const open = [top];
  TOKEN.lastIndex = text.startsWith('\ufeff') ? 1 : 0;
  while (TOKEN.lastIndex < text.length) {
    const match = TOKEN.exec(text);
    if (match === null) return undefined;
    const [, closes, name, isEmpty, content] = match as (string | undefined)[];
    const current = open.at(-1);
    if (current === undefined) return undefined;
    if (content !== undefined) {
      current.text += content;
    } else if (name === undefined) {
      continue;
    } else if (closes === '/') {
      if (open.length === 1 || current.name !== name) return undefined;
      open.pop();
      open.at(-1)?.children.push(closed(current));
    } else if (isEmpty === '/') {
      current.children.push({ name, text: '', children: [] });
    } else {
      if (open.length > MAX_DEPTH) return undefined;
      open.push({ name, text: '', children: [] });
    }
  }
  if (open.length !== 1 || top.children.length !== 1 || top.text.trim() !== '') return undefined;
  return top.children[0];
}

function closed({ name, text, children }: XmlElement): XmlElement {
  return { name, text: children.length > 0 ? '' : decoded(text), children };
}

/** Text of the first child with this name; empty where there is none. */
export function textOf(element: XmlElement | undefined, name: string): string {
  return element?.children.find((child) => child.name === name)?.text ?? '';
}

export function childrenOf(element: XmlElement | undefined, name: string): readonly XmlElement[] {
  return element?.children.filter((child) => child.name === name) ?? [];
}

const NAMED: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

function decoded(text: string): string {
  return text.replace(/&(#x[0-9a-fA-F]{1,6}|#\d{1,7}|[a-z]{2,4});/g, (whole, name: string) => {
    if (!name.startsWith('#')) return NAMED[name] ?? whole;
    const code = name.startsWith('#x') ? Number.parseInt(name.slice(2), 16) : Number(name.slice(1));
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });
}

export function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
}
