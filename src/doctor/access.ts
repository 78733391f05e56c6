/** Who may open a file or device: as the kernel decides it, worked out for a user who is not the one that asks. Pure. */

import type { FileFacts } from './outside.ts';
import { type Acl, type Group } from './parse.ts';

const READ_WRITE = 6;

/**
 * Whether a user may read and write: the algorithm of acl(5), "Access check algorithm". Root may always.
 * @param acl null where there is none, or none could be read: then the permission bits decide
 */
export function mayUse(
  node: Pick<FileFacts, 'uid' | 'gid' | 'mode'>,
  acl: Acl | null,
  who: { readonly uid: number; readonly gids: readonly number[] },
): boolean {
  if (who.uid === 0) return true;
  const holds = (permissions: number) => (permissions & READ_WRITE) === READ_WRITE;
  if (who.uid === node.uid) return holds(node.mode >> 6);
  const mask = acl?.mask ?? 7;
  const named = acl?.users.get(who.uid);
  if (named !== undefined) return holds(named & mask);
  const ofGroups: number[] = [];
  // With an ACL the group bits of the mode are its mask.
  if (who.gids.includes(node.gid)) ofGroups.push(acl?.group ?? node.mode >> 3);
  for (const [gid, permissions] of acl?.groups ?? []) if (who.gids.includes(gid)) ofGroups.push(permissions);
  if (ofGroups.length > 0) return ofGroups.some((permissions) => holds(permissions & mask));
  return holds(node.mode);
}

/** How a user could get at a device through its group. */
export type WayIn =
  /** The group database says that the user is in, this session was begun before. */
  | { readonly kind: 'log-in-again'; readonly group: string }
  | { readonly kind: 'join'; readonly group: string }
  /** The device is for its owner alone, or belongs to root's group: no group helps. */
  | { readonly kind: 'rules' };

export function wayIn(
  node: Pick<FileFacts, 'gid' | 'mode'>,
  user: { readonly name: string; readonly gids: readonly number[] },
  groups: readonly Group[],
): WayIn {
  const group = groups.find(({ gid }) => gid === node.gid);
  const isOpen = ((node.mode >> 3) & READ_WRITE) === READ_WRITE;
  if (!isOpen || node.gid === 0 || group === undefined) return { kind: 'rules' };
  // In the group and still refused: something else is in the way.
  if (user.gids.includes(group.gid)) return { kind: 'rules' };
  return { kind: group.members.includes(user.name) ? 'log-in-again' : 'join', group: group.name };
}
