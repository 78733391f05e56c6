/** The config: valid, and nobody's to change but those who may; the folders that it names. */

import { EspdError } from '../errors.ts';
import { listFolder } from '../serial/folder-ports.ts';
import type { Facts } from './facts.ts';
import type { FileFacts } from './outside.ts';
import { type Finding, asRoot, asUser, byHand, note, ok, problem, safely } from './types.ts';

const OTHERS_WRITE = 0o022;

export async function checkConfig(facts: Facts): Promise<Finding[]> {
  const { loaded, outside } = facts;
  if (loaded instanceof EspdError) return [judgeFault(loaded)];
  const { path, config } = loaded;
  if (path === null) return [ok('config', 'There is no config file: the defaults are in force')];
  const findings = [ok('config', `The config is valid: ${path}`)];
  const file = await outside.stat(path);
  if (file.found) findings.push(...judgeMode(path, file.value, outside.person.uid));
  for (const folder of config.watch.folders) {
    const content = await listFolder({ sysRoot: '/sys', devRoot: '/dev' }, folder).catch((error: unknown) => ({
      mistakes: [`The watched folder ${folder} cannot be read: ${String(error)}`],
    }));
    findings.push(...content.mistakes.map((mistake) => note('config-folders', mistake)));
  }
  return findings;
}

/** The message names file, line and column of each fault. */
export function judgeFault(error: EspdError): Finding {
  const isFault = error.code === 'config-invalid';
  const title = isFault ? 'The config has a fault: the daemon does not start with it' : 'The config cannot be read';
  const [file] = /^[^:\n]+(?=:\d+:\d+: )/.exec(error.message) ?? [];
  return problem('config', title, {
    detail: error.message,
    ...(file === undefined ? {} : { remedy: byHand(editor(file)) }),
  });
}

function editor(file: string) {
  return file.startsWith('/etc/') ? asRoot('nano', file) : asUser('nano', file);
}

export function judgeMode(path: string, file: Pick<FileFacts, 'mode' | 'uid'>, uid: number | null): Finding[] {
  if (uid === null || (file.mode & OTHERS_WRITE) === 0) return [];
  const who = (file.mode & 0o002) !== 0 ? 'Every user' : 'The group of the file';
  const mode = file.mode.toString(8).padStart(4, '0');
  const chmod = file.uid === uid ? asUser : asRoot;
  return [
    problem('config-mode', `${who} may change the config: ${path} has mode ${mode}`, {
      detail: 'It says which ports are touched, and where backups go',
      remedy: safely(chmod('chmod', 'go-w', path)),
    }),
  ];
}
