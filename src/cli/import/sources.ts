/** What a person names on the command line of `import`, to the dumps that are meant by it. */

import { basename, join } from 'node:path';
import type { PersonFiles } from '../../client/files.ts';
import { EspdError } from '../../errors.ts';
import { macsInName } from '../../firmware/dump/file-name.ts';
import { printable } from '../../printable.ts';
import { toInputError } from './dump-file.ts';

/** One backup in the making: a file, or several that make one flash. */
export interface DumpSource {
  /** For people: the path, or the paths. */
  readonly name: string;
  readonly files: readonly {
    readonly path: string;
    /** Where it belongs in the flash, if a person has said so. */
    readonly offset: number | null;
  }[];
}

export interface SourceList {
  readonly dumps: readonly DumpSource[];
  /** Files of a folder that are not meant, each a sentence. */
  readonly passedOver: readonly string[];
}

/** What dumps are called. `.bin.gz` ends in `.gz`. */
const DUMP_NAME = /\.(?:bin|img|dump|dmp|rom|flash|hex|ihex|gz)$/i;
const PLACED = /^(0x[0-9a-f]{1,8}|\d{1,9})=(.+)$/is;

/**
 * Either all arguments are `OFFSET=FILE`, and make one flash; or each is a file, or a folder whose dumps are meant: of
 * those with a MAC in their name, or of all where the MAC was told. Folders in folders are left alone.
 *
 * @param macIsTold the files need not name a MAC
 * @throws EspdError `usage` where both forms are mixed, `input-unreadable` where a folder cannot be read
 */
export async function dumpSources(
  folders: Pick<PersonFiles, 'list'>,
  args: readonly string[],
  macIsTold: boolean,
): Promise<SourceList> {
  const placed = args.flatMap((arg) => {
    const match = PLACED.exec(arg);
    return match === null ? [] : [{ path: match[2] ?? '', offset: Number(match[1]) }];
  });
  if (placed.length === args.length) {
    return { dumps: [{ name: placed.map(({ path }) => printable(path)).join(', '), files: placed }], passedOver: [] };
  }
  if (placed.length > 0) {
    throw new EspdError('usage', 'Some files have an offset and some have none', {
      hint: 'Either every file is a whole flash, or all are parts of one: 0x1000=boot.bin 0x8000=table.bin',
    });
  }
  const dumps: DumpSource[] = [];
  const passedOver: string[] = [];
  for (const path of args) {
    const found = await filesIn(folders, path, macIsTold, passedOver);
    for (const file of found ?? [path]) {
      dumps.push({ name: printable(file), files: [{ path: file, offset: null }] });
    }
  }
  return { dumps, passedOver };
}

/** Sorted; undefined where `path` is no folder. */
async function filesIn(
  folders: Pick<PersonFiles, 'list'>,
  path: string,
  macIsTold: boolean,
  passedOver: string[],
): Promise<string[] | undefined> {
  let entries;
  try {
    entries = await folders.list(path);
  } catch (error) {
    // What it is instead, or why it cannot be read, is found when it is opened.
    if (error instanceof Error && 'code' in error && error.code === 'EACCES')
      throw toInputError(error, printable(path));
    return undefined;
  }
  const files: string[] = [];
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const name = printable(entry.name);
    if (entry.isFolder) passedOver.push(`${name} is a folder`);
    // Links, pipes and the like with the name of a dump are refused by name, when it is their turn.
    else if (!DUMP_NAME.test(entry.name)) passedOver.push(`${name} is not called like a dump`);
    else if (!macIsTold && macsInName(entry.name).length === 0) passedOver.push(`${name} has no MAC in its name`);
    else files.push(join(path, entry.name));
  }
  if (files.length === 0) {
    throw new EspdError('input-unreadable', `${printable(path)} holds no dump with a MAC in its name`, {
      hint: 'Call them by the MAC of their boards (500291c337a5.bin), or name one file with --mac',
    });
  }
  return files;
}

/** The part of a path in which people put MAC and date. */
export function nameOfFile(path: string): string {
  return basename(path);
}
