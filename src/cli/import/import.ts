/** `espd import`: dumps that people already have, each as a backup of its board that no chip has confirmed. */

import { idFromDate, idToDate, placedId } from '../../archive/ids.ts';
import type { Backup, BoardHistory } from '../../archive/types.ts';
import { EspdError, hasCode, toEspdError } from '../../errors.ts';
import { type Mac, parseMac } from '../../mac.ts';
import { type ImportFacts, importImage, sameImage } from '../../transfer/import-image.ts';
import type { CommandContext } from '../context.ts';
import { dim, formatSize, plural, printable } from '../text.ts';
import { type Assembled, assembleDump } from './assemble.ts';
import { readDumpFile } from './dump-file.ts';
import { giveLabel, importLabel } from './import-label.ts';
import { type DumpSource, dumpSources, nameOfFile } from './sources.ts';
import { type DumpDate, dateOfDump, familyOfDump, macOfDump } from './told.ts';

export interface ImportCommandOptions {
  /** MAC or label of the board that all files are of. */
  readonly mac?: string;
  /** What the board is to be called. */
  readonly label?: string;
  /** When the flash was read. */
  readonly at?: Date;
  /** Family of the chip, where the image does not tell. */
  readonly chip?: string;
  /** Of the flash, in bytes, where the files are not all of it. */
  readonly size?: number;
  readonly dryRun: boolean;
}

/** The files of one dump, read, and the board that they are of. */
interface Dump {
  readonly source: DumpSource;
  readonly mac: Mac;
  readonly assembled: Assembled;
  readonly modifiedAt: Date;
}

interface Imported extends Dump {
  readonly id: string;
  readonly family: string;
  /** Null for a rehearsal. */
  readonly path: string | null;
  /** Null where the archive had the image already, as this backup. */
  readonly date: DumpDate | null;
}

interface Failure {
  readonly source: string;
  readonly error: EspdError;
}

/** The archive itself fails: so would every other file. */
const END_OF_ALL = ['archive-missing', 'archive-unwritable', 'disk-full', 'internal'] as const;

export async function importDumps(
  context: CommandContext,
  args: readonly string[],
  options: ImportCommandOptions,
): Promise<EspdError | undefined> {
  const { archive, files, out, signal } = context;
  const mac =
    options.mac === undefined ? undefined : (parseMac(options.mac) ?? (await archive.resolveBoard(options.mac)));
  const { dumps, passedOver } = await dumpSources(files, args, mac !== undefined);
  if (options.at !== undefined && dumps.length > 1) {
    throw new EspdError('usage', `--at is of one dump, and ${dumps.length} are named`, {
      hint: 'Import them one by one, or put the dates into their names: 500291c337a5_2024-01-02.bin',
    });
  }
  const label =
    options.label === undefined
      ? null
      : await importLabel(
          context,
          options.label,
          dumps.map((source) => macOfDump(source.name, namesOf(source), mac)),
        );
  if (!options.dryRun) await archive.checkWritable();
  const done: Imported[] = [];
  const failures: Failure[] = [];
  for (const [index, source] of dumps.entries()) {
    signal.throwIfAborted();
    out.status(`${index + 1} of ${dumps.length}: ${source.name}`);
    try {
      const one = await importOne(context, source, mac, options);
      out.status('');
      done.push(one);
      printOne(context, one, options.dryRun);
    } catch (error) {
      out.status('');
      if (signal.aborted) throw error;
      const failure = { source: source.name, error: toEspdError(error) };
      failures.push(failure);
      if (hasCode(failure.error, ...END_OF_ALL)) break;
    }
  }
  if (label !== null && done.length > 0) {
    if (!options.dryRun) await giveLabel(context, label);
    out.line(`${label.mac}  ${options.dryRun ? 'would be' : 'is'} "${printable(label.text)}"`);
  }
  const end = failures[0]?.error;
  for (const { source, error } of failures) {
    if (error === end && failures.length === 1) continue;
    out.note(`${error.message.includes(source) ? '' : `${source}: `}${error.message} (${error.code})`);
    if (error.hint !== '') out.note(`  ${error.hint}`);
  }
  for (const sentence of passedOver) out.note(dim(`passed over: ${sentence}`));
  const untried = dumps.length - done.length - failures.length;
  const error = overall(failures, dumps.length, untried);
  out.document({
    imported: done.map((one) => oneJson(one)),
    failed: failures.map(({ source, error: failed }) => ({ file: source, ...failed.toJSON() })),
    passedOver,
    dryRun: options.dryRun,
    ...(label === null ? {} : { label: done.length === 0 ? null : label.text }),
    ...(error === undefined ? {} : { error }),
  });
  return error;
}

/** The one error, or the code of the first one and how many there are. */
function overall(failures: readonly Failure[], of: number, untried: number): EspdError | undefined {
  const first = failures[0]?.error;
  if (first === undefined || of === 1) return first;
  const rest = untried === 0 ? '' : `, ${untried} not tried`;
  return new EspdError(first.code, `${failures.length} of ${of} dumps were not imported${rest}`, {
    hint: `The first: ${first.message}`,
    cause: first,
  });
}

async function importOne(
  context: CommandContext,
  source: DumpSource,
  toldMac: Mac | undefined,
  options: ImportCommandOptions,
): Promise<Imported> {
  const { archive, signal } = context;
  const dump = await readDump(context, source, toldMac, options);
  const { mac, assembled } = dump;
  const there = await sameImage(archive, { mac, image: assembled.image }, signal);
  if (there !== undefined) {
    const { id, path, manifest } = there;
    return { ...dump, id, path, family: manifest.chip.family, date: null };
  }
  const history = await archive.history(mac);
  const { family, date } = understand(context, dump, history, options);
  if (options.dryRun) return { ...dump, id: idAt(history, date.at), path: null, family, date };
  const [onlyFile, second] = namesOf(source);
  const facts: ImportFacts = {
    mac,
    image: assembled.image,
    family,
    at: date.at,
    file: second === undefined ? (onlyFile ?? null) : null,
    sizeIsTold: options.size !== undefined,
  };
  const { id, path } = await importImage(archive, facts, signal);
  context.onMark({ type: 'backup-imported', mac: facts.mac, id });
  return { ...dump, id, path, family, date };
}

/** The id that an import would have. */
function idAt({ backups, marks }: BoardHistory, at: Date): string {
  const taken = [...backups, ...marks.removals].map(({ id }) => id);
  return placedId(taken, at);
}

/** Files are opened before their names are asked: that one is a pipe or a web page is news, that it lacks a MAC then is none. */
async function readDump(
  { files: personFiles, signal }: CommandContext,
  source: DumpSource,
  toldMac: Mac | undefined,
  { size }: ImportCommandOptions,
): Promise<Dump> {
  const files = [];
  for (const { path, offset } of source.files)
    files.push({ ...(await readDumpFile(personFiles, path, signal)), offset });
  const assembled = await assembleDump(source.name, files, size);
  const mac = macOfDump(source.name, namesOf(source), toldMac);
  const modifiedAt = new Date(Math.max(...files.map((file) => file.modifiedAt.getTime())));
  return { source, mac, assembled, modifiedAt };
}

function namesOf({ files }: DumpSource): string[] {
  return files.map(({ path }) => nameOfFile(path));
}

/** @throws EspdError for what is not known of the dump, or contradicts what is known of its board */
function understand(
  { clock }: CommandContext,
  { source, mac, assembled, modifiedAt }: Dump,
  history: BoardHistory,
  { at, chip, size }: ImportCommandOptions,
): { family: string; date: DumpDate } {
  const { name } = source;
  const newest = history.backups.at(-1);
  const known = newest?.manifest.chip.family;
  const family = familyOfDump({ name, mac, found: assembled.family, told: chip, known });
  refuseOtherSize(name, assembled.image.length, newest, size !== undefined);
  const date = dateOfDump({
    name,
    fileNames: namesOf(source),
    modifiedAt,
    told: at,
    now: clock.date(),
    newestOfChip: newestOfChip(history),
  });
  return { family, date };
}

/** When the newest backup was made that a chip has confirmed as it was made. */
function newestOfChip({ backups }: BoardHistory): Date | undefined {
  const newest = backups.findLast(({ manifest }) => manifest.confirmed !== null);
  return newest === undefined ? undefined : idToDate(newest.id);
}

/** A dump of a part of the flash has another size than the backups of the board. */
function refuseOtherSize(name: string, sizeBytes: number, newest: Backup | undefined, sizeIsTold: boolean): void {
  const known = newest?.manifest.flash.sizeBytes ?? sizeBytes;
  if (known === sizeBytes || sizeIsTold || newest === undefined) return;
  throw new EspdError(
    'other-size',
    `${name} has ${formatSize(sizeBytes)}, but backup ${newest.id} of ${newest.mac} has ${formatSize(known)}`,
    { hint: `Is it of this board, and all of its flash? If the flash was replaced: --size ${sizeBytes / 1024}K` },
  );
}

const DATE_FROM: Readonly<Record<DumpDate['from'], string>> = {
  told: 'as told',
  name: 'by its name',
  file: 'by its time stamp',
};

function printOne({ out }: CommandContext, one: Imported, isDryRun: boolean): void {
  const { mac, id, source, assembled, family, date, path } = one;
  const { image, filledBytes, remarks } = assembled;
  if (date === null) out.line(`${mac}  is in the archive already as ${id}: nothing added`);
  else if (isDryRun) out.line(`${mac}  would be imported as ${id}`);
  else out.line(`${mac}  imported as ${id}, confirmed by no chip`);
  const read = date === null ? '' : `, read on ${idFromDate(date.at).slice(0, 10)} ${DATE_FROM[date.from]}`;
  out.line(dim(`  ${source.name}: ${family}, ${formatSize(image.length)}${read}`));
  if (filledBytes !== null) {
    out.note(`  composed: ${plural(filledBytes, 'byte')} that no file holds are as in erased flash (ff)`);
  }
  for (const remark of remarks) out.note(`  ${remark}`);
  if (path !== null) out.line(dim(`  ${path}`));
}

function oneJson({ source, mac, id, path, assembled, family, date }: Imported): object {
  return {
    file: source.name,
    mac,
    id,
    path,
    chip: family,
    sizeBytes: assembled.image.length,
    at: date?.at.toISOString() ?? null,
    atFrom: date?.from ?? null,
    filledBytes: assembled.filledBytes,
    remarks: assembled.remarks,
    wasThere: date === null,
  };
}
