/** From what a scan found to a name: what counts as proven, and what contradicts itself. */

import type { AppDescription } from '../descriptions.ts';
import { RECOGNIZERS, type Recognizer, type VersionSource } from './recognizers.ts';
import type { Findings } from './scan.ts';

export interface KnownFirmware {
  readonly name: string;
  /** Null where the firmware is certain but its version is not. */
  readonly version: string | null;
}

/**
 * The one firmware whose signs are there, or null: for none, and for several of which none explains the others' signs.
 *
 * @param description of the app, where it has one
 */
export function recognize(findings: Findings, description: AppDescription | null): KnownFirmware | null {
  const proven = RECOGNIZERS.filter((recognizer) => isProven(recognizer, findings));
  const explained = new Set(proven.flatMap(({ alsoBears = [] }) => alsoBears));
  const [firmware, ...others] = proven.filter(({ name }) => !explained.has(name));
  if (firmware === undefined || others.length > 0) return null;
  return { name: firmware.name, version: versionOf(firmware, findings, description) };
}

function isProven({ signs, versions }: Recognizer, findings: Findings): boolean {
  const has = (mark: string) => findings.marks.has(mark);
  return (
    signs.some(({ marks, wanted }) => marks.filter(has).length >= wanted) ||
    versions.some(
      (source) =>
        source.from === 'text' &&
        source.proves !== undefined &&
        (findings.versionsOf(source.mark)?.length ?? 0) > 0 &&
        source.proves.every(has),
    )
  );
}

function versionOf(firmware: Recognizer, findings: Findings, description: AppDescription | null): string | null {
  for (const source of firmware.versions) {
    const answers = answersOf(source, findings, description);
    if (answers === null || answers.length > 1) return null;
    const [answer] = answers;
    if (answer !== undefined) return answer;
  }
  return null;
}

/** Distinct; null where the source cannot be trusted to have been read in full. */
function answersOf(
  source: VersionSource,
  findings: Findings,
  description: AppDescription | null,
): readonly string[] | null {
  switch (source.from) {
    case 'text':
      return findings.versionsOf(source.mark);
    case 'standalone': {
      if (findings.standalone === null) return [];
      const texts = findings.standalone.filter((text) => text !== description?.idfVersion);
      return [...new Set(texts.flatMap((text) => source.form.exec(text)?.[1] ?? []))];
    }
    case 'description': {
      const { project, version } = description ?? { project: null, version: null };
      const fits = project !== null && source.project.test(project) && version !== null && source.form.test(version);
      return fits ? [version] : [];
    }
  }
}
