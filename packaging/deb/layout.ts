/** Files of the checkout as the package has them: the same, with the paths of a Debian package. Pure. */

/** Where the program is. */
export const PROGRAM = 'usr/lib/espd';
export const CONFIG = 'etc/espd/config.yaml';

/** The unit, with the program in /usr/bin. @throws Error where it is not what this was written for */
export function packagedUnit(unit: string): string {
  const ours = 'ExecStart=/usr/local/bin/espd ';
  // Its remarks speak of sections, too.
  const start = unit.indexOf('\n[Unit]\n');
  if (start === -1 || !unit.includes(`\n${ours}`)) throw new Error(`the unit has no line ${ours}`);
  return `# The espd service. Change it with \`systemctl edit espd\`, which no upgrade overwrites: install.md in
# /usr/share/doc/espd has examples.

${unit.slice(start + 1).replace(ours, 'ExecStart=/usr/bin/espd ')}`;
}

/** Only the archive's folder: dpkg itself looks after /etc/espd and the config. */
export function packagedTmpfiles(tmpfiles: string): string {
  const archive = tmpfiles.split('\n').filter((line) => /^d \/var\/lib\/espd /.test(line));
  if (archive.length !== 1) throw new Error('tmpfiles.d has no line of its own for /var/lib/espd');
  return `# The archive's folder, before the service first starts. See tmpfiles.d(5).\n${archive.join('\n')}\n`;
}

/** An editor that knows YAML finds the schema beside the program. */
export function packagedConfig(config: string): string {
  return config.replace('$schema=./schema/', `$schema=/${PROGRAM}/schema/`);
}

/** The entry: the node of Debian's package, whatever else is first in somebody's PATH. */
export function packagedMain(main: string): string {
  if (!main.startsWith('#!/usr/bin/env node\n')) throw new Error('main.js does not begin with #!/usr/bin/env node');
  return main.replace('#!/usr/bin/env node\n', '#!/usr/bin/node\n');
}

/** Whether a file below node_modules is needed to run espd on Linux with Debian's C library. */
export function isNeeded(path: string, cpu: string): boolean {
  const name = path.slice(path.lastIndexOf('/') + 1);
  if (/(?:^|\/)(?:\.bin|\.github|node-addon-api)\//.test(path)) return false;
  if (/^(?:koffi\/(?:vendor|doc)|@serialport\/bindings-cpp\/src)\//.test(path)) return false;
  // Declarations that mqtt depends on, and what it has for browsers: nothing of them runs.
  if (path.startsWith('@types/')) return false;
  if (path.startsWith('mqtt/dist/')) return false;
  if (isLicense(name)) return true;
  if (/^\.|^README$|\.(?:md|map|ts|mts|cts|gyp|gypi|flow|markdown|tsbuildinfo|yml)$/.test(name)) return false;
  if (!path.endsWith('.node')) return !/\.(?:c|cc|cpp|h|hh|hpp|inc|S|asm|lib|dll|dylib|exe|sh|ps1|bat|txt)$/.test(name);
  return !path.includes('musl') && path.includes(cpu === 'x64' ? 'linux-x64' : 'linux-arm64');
}

export function isLicense(name: string): boolean {
  return /^(?:licen[cs]e|copying)(?:[.-].*)?$/i.test(name);
}
