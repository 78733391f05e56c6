/** The archive's folder: there, readable, writable, closed to others, owned by one user. Nothing is written to it. */

import { dirname, join } from 'node:path';
import { modeBits } from '../config/schema.ts';
import { SYSTEM_ARCHIVE_PATH } from '../config/loader.ts';
import { EspdError } from '../errors.ts';
import { macToFolder } from '../mac.ts';
import type { Facts, ServiceUser } from './facts.ts';
import type { FileFacts } from './outside.ts';
import { type Finding, asRoot, asUser, byHand, cannotCheck, note, ok, problem, safely, some, told } from './types.ts';

/** Boards whose folders are looked at for their owner. */
const MAX_BOARDS = 500;

export async function checkArchive(facts: Facts): Promise<Finding[]> {
  const { loaded, archive, outside } = facts;
  if (loaded instanceof EspdError || archive === null) {
    return [cannotCheck('archive', 'The archive', 'the config, which says where it is, has a fault')];
  }
  const { root } = archive;
  const service = (await facts.isServiceConfig()) ? await facts.serviceUser() : undefined;
  const folder = await outside.stat(root);
  if (!folder.found) {
    if (folder.code === 'ENOENT') return [missing(root, service, await isOwnPlace(facts, root))];
    return [unseen(root, folder.code, await isSystemArchive(facts, root))];
  }
  if (folder.value.kind !== 'folder') return [problem('archive', `The archive is no folder: ${root}`)];
  const mayRead = await outside.access(root, 'read');
  if (!mayRead.found) return [unseen(root, mayRead.code, await isSystemArchive(facts, root))];
  const allowed = modeBits(loaded.config.archive.directoryMode);
  return [
    ...(await checkWritable(facts, root)),
    ...judgeMode(root, folder.value, allowed, outside.person.uid),
    ...(await checkOwners(facts, root, folder.value, service)),
  ];
}

/** The service's archive, which is closed to every other user on purpose. */
async function isSystemArchive(facts: Facts, root: string): Promise<boolean> {
  return (await facts.isInstalled()) && (root === SYSTEM_ARCHIVE_PATH || (await facts.isServiceConfig()));
}

/** Below a folder that this user may write to. */
async function isOwnPlace({ outside }: Facts, root: string): Promise<boolean> {
  for (let folder = dirname(root); ; folder = dirname(folder)) {
    const access = await outside.access(folder, 'write-enter');
    if (access.found) return true;
    if (access.code !== 'ENOENT' || folder === dirname(folder)) return false;
  }
}

/** Elsewhere than at the usual places its disk may just not be mounted: a folder made then would hide that. */
export function missing(root: string, service: Pick<ServiceUser, 'name'> | undefined, isOwnPlace: boolean): Finding {
  const isUsual = root === SYSTEM_ARCHIVE_PATH || /^\/(?:home\/[^/]+|root)\/\.local\/share\/espd$/.test(root);
  const owner = service === undefined ? [] : ['-o', service.name, '-g', service.name];
  const make = (isOwnPlace && service === undefined ? asUser : asRoot)('install', '-d', '-m', '700', ...owner, root);
  const title = `There is no archive yet: ${root}`;
  if (isUsual) return note('archive', title, { detail: 'The first backup makes it', remedy: safely(make) });
  return note('archive', title, {
    detail: 'If it is on a disk of its own: is that mounted? Else:',
    remedy: byHand(make),
  });
}

/** @param ofService closed to others as it should be */
export function unseen(root: string, code: string, ofService: boolean): Finding {
  if (code !== 'EACCES' && code !== 'EPERM') return problem('archive', `The archive cannot be read (${code}): ${root}`);
  const remedy = told('sudo -u espd espd doctor');
  const title = `This user may not read the archive: ${root}`;
  if (ofService) return note('archive', title, { detail: 'It is for the service alone. To check it as well:', remedy });
  return problem('archive', title, { detail: 'Run espd as the user that owns it, or name another archive' });
}

async function checkWritable({ outside }: Facts, root: string): Promise<Finding[]> {
  const access = await outside.access(root, 'write-enter');
  if (access.found) return [ok('archive', `The archive can be read and written: ${root}`)];
  if (access.code === 'EROFS') {
    return [
      problem('archive', `The archive is on a read-only file system: ${root}`, {
        detail: '"dmesg" says why, if it was not mounted so',
      }),
    ];
  }
  const detail = 'This user may only read it: backups are made by its owner';
  return [problem('archive', `The archive cannot be written (${access.code}): ${root}`, { detail })];
}

export function judgeMode(
  root: string,
  folder: Pick<FileFacts, 'mode' | 'uid'>,
  allowed: number,
  uid: number | null,
): Finding[] {
  const tooMuch = folder.mode & 0o777 & ~allowed;
  // Windows has no such modes.
  if (uid === null || tooMuch === 0) return [];
  const mode = (folder.mode & 0o777).toString(8).padStart(4, '0');
  const title = `Others may look into the archive: ${root} has mode ${mode}`;
  const chmod = folder.uid === uid ? asUser : asRoot;
  const remedy = safely(chmod('chmod', allowed.toString(8).padStart(4, '0'), root));
  return [problem('archive-mode', title, { detail: 'Flash holds Wi-Fi passwords and keys', remedy })];
}

/** What `sudo espd backup` writes belongs to root, and the service cannot read it. */
async function checkOwners(
  facts: Facts,
  root: string,
  folder: Pick<FileFacts, 'uid'>,
  service: ServiceUser | undefined,
): Promise<Finding[]> {
  const backups = await facts.backups();
  const owners = new Map<string, number>();
  for (const mac of (backups?.macs ?? []).slice(0, MAX_BOARDS)) {
    const board = await facts.outside.stat(join(root, macToFolder(mac)));
    if (board.found) owners.set(mac, board.value.uid);
  }
  return judgeOwners(root, folder.uid, owners, service);
}

export function judgeOwners(
  root: string,
  rootUid: number,
  owners: ReadonlyMap<string, number>,
  service: Pick<ServiceUser, 'name' | 'uid'> | undefined,
): Finding[] {
  const rightUid = service?.uid ?? rootUid;
  const wrong = [...owners].filter(([, uid]) => uid !== rightUid).map(([name]) => name);
  const isRootWrong = rootUid !== rightUid;
  if (wrong.length === 0 && !isRootWrong) return [];
  const name = service?.name ?? String(rightUid);
  const what = isRootWrong ? root : `${some(wrong)} in ${root}`;
  return [
    problem('archive-owner', `Not all of the archive belongs to user ${name}: ${what}`, {
      detail: 'Plain "sudo espd ..." wrote it? Its owner cannot read that. Use "sudo -u espd espd ..."',
      remedy: byHand(asRoot('chown', '-R', service === undefined ? name : `${name}:${name}`, root)),
    }),
  ];
}
