/** Which files of a file system came, changed or went. Pure; time is bounded whatever the file systems say. */

import type { FileEntry, FileSystemReading } from '../filesystems/filesystem.ts';
import { compareTexts, firstOf } from './nvs.ts';
import type { FileChange, FilesContent } from './types.ts';

/**
 * So many bytes of content are compared at most, of both sides together. Damaged file systems can name the same bytes in
 * thousands of files.
 */
const CONTENT_BUDGET_BYTES = 192 * 1024 * 1024;
/** So many files have their content read at most. */
const CONTENT_BUDGET_FILES = 8192;

/** @param before undefined = there is no file system */
export function compareFiles(
  before: FileSystemReading | undefined,
  after: FileSystemReading | undefined,
): FilesContent {
  const [old, now] = [byPath(before), byPath(after)];
  const lists = { added: [] as FileChange[], changed: [] as FileChange[], removed: [] as FileChange[] };
  const unknown: FileChange[] = [];
  let [bytesLeft, filesLeft] = [CONTENT_BUDGET_BYTES, CONTENT_BUDGET_FILES];
  const isSameContent = (path: string, sizeBytes: number): boolean | undefined => {
    bytesLeft -= 2 * sizeBytes;
    filesLeft--;
    if (bytesLeft < 0 || filesLeft < 0) return undefined;
    const one = before?.readFile(path).bytes ?? null;
    const other = one === null ? null : (after?.readFile(path).bytes ?? null);
    return one === null || other === null ? undefined : Buffer.from(one).equals(other);
  };

  for (const [path, entry] of now) {
    const earlier = old.get(path);
    const change = changeOf(earlier, entry);
    if (earlier === undefined) lists.added.push(change);
    else if (earlier.isFolder !== entry.isFolder) lists.changed.push(change);
    else if (!entry.isFolder && earlier.sizeBytes !== entry.sizeBytes) lists.changed.push(change);
    else if (!entry.isFolder) {
      const isSame = isSameContent(path, entry.sizeBytes);
      if (isSame === undefined) unknown.push(change);
      else if (!isSame) lists.changed.push(change);
    }
  }
  for (const [path, entry] of old) if (!now.has(path)) lists.removed.push(changeOf(entry, undefined));
  for (const list of [...Object.values(lists), unknown]) list.sort((a, b) => compareTexts(a.path, b.path));
  return { kind: 'files', fileSystem: { before: before?.kind ?? null, after: after?.kind ?? null }, ...lists, unknown };
}

/** What may be missing from a reading; a sentence fragment each. */
export function fileProblems(reading: FileSystemReading | undefined): string[] {
  if (reading === undefined || reading.problems.length === 0) return [];
  return [`its ${reading.kind} is damaged (${firstOf(reading.problems)}): files may be missing`];
}

function byPath(reading: FileSystemReading | undefined): Map<string, FileEntry> {
  return new Map((reading?.entries ?? []).map((entry) => [entry.path, entry]));
}

function changeOf(before: FileEntry | undefined, after: FileEntry | undefined): FileChange {
  return {
    path: (after ?? before)?.path ?? '',
    isFolder: (after ?? before)?.isFolder ?? false,
    sizeBytes: { before: before?.sizeBytes ?? null, after: after?.sizeBytes ?? null },
  };
}
