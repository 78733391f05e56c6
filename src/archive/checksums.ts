/**
 * SHA256SUMS: the file format of coreutils' sha256sum, so that `sha256sum -c SHA256SUMS` verifies a backup. Pure.
 *
 * A line is 64 hex digits, a space, a space or `*`, and the file's name. Where the name holds a backslash, a line feed
 * or a carriage return, these are written `\\`, `\n` and `\r`, and the line begins with a backslash
 * (https://www.gnu.org/software/coreutils/manual/html_node/md5sum-invocation.html).
 */

/** File name → SHA-256 in lower-case hex. */
export type Checksums = ReadonlyMap<string, string>;

const LINE = /^(\\?)([0-9a-fA-F]{64}) [ *]([^]+)$/;
const ESCAPES: Readonly<Record<string, string>> = { '\\\\': '\\', '\\n': '\n', '\\r': '\r' };

export function formatChecksums(checksums: Checksums): string {
  let text = '';
  for (const [name, sha256] of checksums) {
    const escaped = name.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('\r', '\\r');
    text += `${escaped === name ? '' : '\\'}${sha256}  ${escaped}\n`;
  }
  return text;
}

/** Undefined where any line is not one of sha256sum's, a name stands twice, or the last line is cut off. */
export function parseChecksums(text: string): Checksums | undefined {
  if (!text.endsWith('\n')) return undefined;
  const checksums = new Map<string, string>();
  for (const line of text.slice(0, -1).split('\n')) {
    const match = LINE.exec(line);
    if (match === null) return undefined;
    const [, mark, sha256 = '', written = ''] = match;
    const name = mark === '' ? written : unescape(written);
    if (name === undefined || checksums.has(name)) return undefined;
    checksums.set(name, sha256.toLowerCase());
  }
  return checksums;
}

function unescape(written: string): string | undefined {
  if (!/^(?:[^\\]|\\[\\nr])*$/.test(written)) return undefined;
  return written.replace(/\\[\\nr]/g, (escape) => ESCAPES[escape] ?? escape);
}
