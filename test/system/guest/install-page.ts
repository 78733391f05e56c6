/** The commands of docs/install.md, run in the guest as they stand there. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

const PAGE = join(import.meta.dirname, '../../../docs/install.md');

/**
 * For what the guest has not: sudo (it is root) and a network for npm. The payload disk holds what `npm install
 * --global` would have put below /usr/local, and building and packing was done on the host.
 */
const STAND_INS = `
set -eu
sudo() { "$@"; }
npm() {
  case "$1" in
    install) cp -a --no-preserve=ownership /opt/payload/local/. /usr/local/ ;;
    uninstall) rm -r /usr/local/lib/node_modules/espd /usr/local/bin/espd ;;
  esac
}
`;

/** The page's block of shell commands that has `command` in it. @throws Error when there is not exactly one */
export async function installScript(command: string): Promise<string> {
  const page = await readFile(PAGE, 'utf8');
  const blocks = [...page.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block = '']) => block);
  const [block, ...others] = blocks.filter((text) => text.includes(command));
  if (block === undefined || others.length > 0) throw new Error(`not one block of docs/install.md has: ${command}`);
  return STAND_INS + block;
}
