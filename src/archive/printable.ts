/** Names and texts out of files, made fit for a terminal. */

const MAX_CHARACTERS = 200;

/** Control, formatting and unassigned characters as `\u{...}`; long texts cut. */
export function printable(text: string): string {
  const cut = text.length > MAX_CHARACTERS ? `${text.slice(0, MAX_CHARACTERS)}...` : text;
  return cut.replace(/\p{C}/gu, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`);
}
