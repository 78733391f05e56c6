/** The texts that dpkg and Debian's policy want of a package. Pure. */

/** Debian's names of what npm calls `cpu`. */
export const ARCHITECTURES = { amd64: 'x64', arm64: 'arm64' } as const;
export type Architecture = keyof typeof ARCHITECTURES;

export const MAINTAINER = 'espd contributors <espd@localhost>';

export interface ControlFacts {
  readonly version: string;
  readonly architecture: Architecture;
  /** `>=20.19`, of `engines` in package.json. */
  readonly nodeRange: string;
  /** The newest version of the C library that a native module asks for: `2.28`. */
  readonly glibc: string;
  /** KiB of all files. */
  readonly installedKib: number;
  readonly maintainer: string;
}

export function controlFile(facts: ControlFacts): string {
  const node = /^>=(\d+(?:\.\d+)*)$/.exec(facts.nodeRange)?.[1];
  if (node === undefined) throw new Error(`engines.node is ${facts.nodeRange}, which is no ">=VERSION"`);
  const depends = [
    `nodejs (>= ${node})`,
    `libc6 (>= ${facts.glibc})`,
    ...['libgcc-s1', 'libstdc++6'],
    // The service's user, and the archive's folder; on systems without systemd the same programs by themselves.
    ...[
      'systemd | systemd-standalone-sysusers | systemd-sysusers',
      'systemd | systemd-standalone-tmpfiles | systemd-tmpfiles',
    ],
  ];
  return `${[
    'Package: espd',
    `Version: ${facts.version}`,
    `Architecture: ${facts.architecture}`,
    `Maintainer: ${facts.maintainer}`,
    `Installed-Size: ${facts.installedKib}`,
    `Depends: ${depends.join(', ')}`,
    'Recommends: systemd, udev',
    'Section: utils',
    'Priority: optional',
    'Description: fleet backup daemon for ESP8266 and ESP32 boards',
    ' When a board is plugged in, espd reads its whole flash and keeps it in an',
    ' archive of dated images, one folder for each board. "espd restore" puts an',
    ' image back, and has the chip hash its flash before the board is reset.',
    ' .',
    ' This package installs the service, its udev rules, the commands, their man',
    ' pages and completions for bash, zsh and fish.',
  ].join('\n')}\n`;
}

/**
 * The version of the package. A commit that is no release sorts behind that release, and commits among them by their time.
 * @param commit undefined for the commit of the release itself
 */
export function debianVersion(
  release: string,
  commit: { date: Date; id: string; isDirty: boolean } | undefined,
): string {
  if (!/^\d+\.\d+\.\d+$/.test(release)) throw new Error(`the version ${release} has no form that dpkg would sort`);
  if (commit === undefined) return release;
  const time = commit.date
    .toISOString()
    .replaceAll(/[-:]|\.\d+Z$/g, '')
    .replace('T', '.');
  return `${release}+git${time}.${commit.id.slice(0, 8)}${commit.isDirty ? '.dirty' : ''}`;
}

export function changelog(version: string, maintainer: string, date: Date): string {
  const rfc5322 = date.toUTCString().replace('GMT', '+0000');
  return `espd (${version}) unstable; urgency=medium

  * What changed for users is in /usr/share/doc/espd/CHANGELOG.md.gz.

 -- ${maintainer}  ${rfc5322}
`;
}

/** A module that comes along, with what its license asks to be passed on. */
export interface ModuleFacts {
  /** Path below the package's root: `usr/lib/espd/node_modules/zod`. */
  readonly path: string;
  /** SPDX expression of its package.json. */
  readonly license: string;
  /** Text of its license file; undefined where it has none. */
  readonly text: string | undefined;
  readonly author: string | undefined;
}

/** Debian's machine-readable copyright file, https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/ */
export function copyrightFile(own: { license: string; text: string }, modules: readonly ModuleFacts[]): string {
  const header = 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: espd\n';
  return [
    header,
    paragraph('*', own.license, own.text, undefined),
    ...modules.map(({ path, license, text, author }) => paragraph(`${path}/*`, license, text, author)),
  ].join('\n');
}

function paragraph(files: string, license: string, text: string | undefined, author: string | undefined): string {
  const holders = (text ?? '').split('\n').filter((line) => /^\s*(?:\/\/ )?copyright\s.*\d{4}/i.test(line));
  const holder = holders.map((line) => line.trim().replace(/^(?:\/\/ )?copyright\s*/i, ''));
  const copyright = holder.length > 0 ? holder : [author ?? `its authors, see its package.json`];
  return [
    `Files: ${files}`,
    `Copyright: ${copyright.join('\n ')}`,
    `License: ${license.replaceAll(/[()]/g, '').replaceAll(' OR ', ' or ').replaceAll(' AND ', ' and ')}`,
    ...licenseLines(license, text),
    '',
  ].join('\n');
}

function licenseLines(license: string, text: string | undefined): string[] {
  if (license === 'Apache-2.0') {
    return [' On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.'];
  }
  if (text === undefined) return [' The package comes without a text of its license.'];
  return text
    .trimEnd()
    .split('\n')
    .map((line) => (line.trim() === '' ? ' .' : ` ${line.trimEnd()}`));
}
