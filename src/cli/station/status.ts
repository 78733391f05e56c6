/** `espd status`: what a running daemon does, what its boards came to, and what needs somebody. */

import type { CommonOptions, Host } from '../host.ts';
import type { Output } from '../output.ts';
import { daemonOf } from './find-daemon.ts';
import { statusLines } from './status-lines.ts';
import { cut } from './words.ts';

export async function status(options: CommonOptions, host: Host, out: Output): Promise<undefined> {
  const client = await daemonOf(options, host);
  const document = await client.status(host.signal);
  out.document(document);
  // One line is the prompt's.
  for (const line of statusLines(document, { rows: out.rows - 1, columns: out.columns }))
    out.line(cut(line, out.columns));
  return undefined;
}
