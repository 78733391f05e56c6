/** `espd contents`: what is in a backup: partitions, NVS keys, files. Secrets are never shown. */

import { contentsDocument } from '../documents/contents.ts';
import type { FilesInventory, NvsInventory } from '../firmware/inventory-types.ts';
import { meantBackup } from '../transfer/meant-backup.ts';
import type { CommandContext } from './context.ts';
import { fetchedFor } from './fleet/fetch.ts';
import { type Span, bold, dim, formatSize, plural, printable } from './text.ts';

export interface ContentsCommandOptions {
  /** Values of NVS keys are shown, but for secrets. */
  readonly reveal: boolean;
}

/** Of a value: more does not fit a line; `--json` has all of it. */
const SHOWN_CHARACTERS = 60;

/** @param which undefined = `latest` */
export async function contents(
  context: CommandContext,
  board: string,
  which: string | undefined,
  { reveal }: ContentsCommandOptions,
): Promise<undefined> {
  const { archive, out } = context;
  const mac = await archive.resolveBoard(board);
  const backup = await fetchedFor(context, () => meantBackup(archive, mac, which ?? 'latest'));
  out.status(`reading ${backup.id}`);
  const document = await contentsDocument(context, backup, { reveal }).finally(() => out.status(''));
  out.document(document);
  const { firmware, nvs, files, opaque, problems } = document;
  const named = firmware === null ? '' : printable(`  ${firmware.name} ${firmware.version ?? ''}`).trimEnd();
  out.line(bold(`${mac}  ${backup.id}`), `  ${formatSize(document.sizeBytes)}${named}`);
  if (opaque !== null) out.line('  Flash encryption is on: what was read is ciphertext, and nothing in it can be told');
  for (const partition of nvs) showNvs(context, partition, reveal);
  for (const partition of files) showFiles(context, partition);
  if (opaque === null && nvs.length + files.length === 0) out.line('  No partition holds keys or files');
  for (const problem of problems) out.note(`problem: ${problem}`);
  return undefined;
}

function showNvs(
  { out }: CommandContext,
  { partition, state, namespaces, more, problems }: NvsInventory,
  reveal: boolean,
) {
  const count = namespaces.reduce((sum, { keys }) => sum + keys.length, 0);
  const what = state === 'plain' ? plural(count + more, 'key') : (state ?? 'unreadable');
  out.line(`  ${partition}  `, dim(`NVS, ${what}`));
  for (const { name, keys } of namespaces) {
    out.line(`    ${printable(name)}`);
    const rows = keys.map(({ key, type, sizeBytes, secret, value }) => {
      const told = secret ? 'secret: never shown' : value === null ? '' : shortened(value);
      return [
        `  ${printable(key)}`,
        type,
        sizeBytes === null ? '' : plural(sizeBytes, 'byte'),
        ...(reveal || secret ? [told] : ['']),
      ];
    });
    out.table(rows, '    ');
  }
  if (more > 0) out.line(`    and ${plural(more, 'key')} more`);
  for (const problem of problems) out.note(`    problem: ${problem}`);
}

function showFiles({ out }: CommandContext, { partition, kind, entries, more, problems }: FilesInventory): void {
  const count = entries.filter(({ isFolder }) => !isFolder).length + more;
  const what: Span = dim(kind === null ? 'no file system that espd can read' : `${kind}, ${plural(count, 'file')}`);
  out.line(`  ${partition}  `, what);
  const rows = entries.map(({ path, isFolder, sizeBytes }) =>
    isFolder ? [printable(`${path}/`), ''] : [printable(path), formatSize(sizeBytes)],
  );
  out.table(rows, '    ');
  if (more > 0) out.line(`    and ${more} more`);
  for (const problem of problems) out.note(`    problem: ${problem}`);
}

function shortened(value: string): string {
  const text = printable(value);
  return text.length <= SHOWN_CHARACTERS ? text : `${text.slice(0, SHOWN_CHARACTERS - 1)}…`;
}
