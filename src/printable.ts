/**
 * Texts of devices, archives and networks are hostile: before one reaches a terminal, a log or a status line, every
 * character that could steer it is replaced here.
 */

/** Unicode C* (control, format, surrogate, private and unassigned: also bidi overrides), line and paragraph separators. */
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/gu;
const MAX_CHARACTERS = 200;

/** Each unprintable character replaced by `by`; the length of the text is not bounded. */
export function replaceUnprintable(text: string, by: string | ((character: string) => string)): string {
  return typeof by === 'string' ? text.replace(UNPRINTABLE, () => by) : text.replace(UNPRINTABLE, by);
}

/** Unprintable characters as `\u{1b}`; texts longer than 200 UTF-16 units are cut and end in `...`. */
export function printable(text: string): string {
  const cut = text.length > MAX_CHARACTERS ? `${text.slice(0, MAX_CHARACTERS)}...` : text;
  return replaceUnprintable(cut, escapeOf);
}

/** `\u{1b}`: the code point in lower-case hex. */
export function escapeOf(character: string): string {
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
}
