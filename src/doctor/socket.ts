/** The daemon's socket, through which commands work without rights of their own on ports and archive. */

import type { Facts } from './facts.ts';
import { joinGroup, logInAgain, restartService } from './remedies.ts';
import { type Finding, asRoot, byHand, note, ok, problem } from './types.ts';

/** What connecting to the socket ended with: `open`, or the system's code. */
export type SocketState = 'open' | (string & {});

export async function checkSocket(facts: Facts): Promise<Finding[]> {
  const { outside, socketPath } = facts;
  const connected = await outside.connect(socketPath);
  const there = connected.found ? undefined : await outside.stat(socketPath);
  const { person } = outside;
  const daemon = (await facts.groups()).find(({ name }) => name === 'espd');
  return judgeSocket({
    path: socketPath,
    state: connected.found ? 'open' : connected.code,
    isOther: there?.found === true && there.value.kind !== 'socket',
    serviceRuns: await facts.isRunning(),
    person: person.name,
    isMember: daemon?.members.includes(person.name) === true,
  });
}

export function judgeSocket(facts: {
  readonly path: string;
  readonly state: SocketState;
  /** Something else than a socket is in its place. */
  readonly isOther: boolean;
  readonly serviceRuns: boolean;
  readonly person: string;
  /** By the group database, whatever this session has. */
  readonly isMember: boolean;
}): Finding[] {
  const { path, state, isOther, serviceRuns, person, isMember } = facts;
  const id = 'socket';
  if (isOther) {
    const detail = 'The daemon does not start with it there. Look at it, and move it away:';
    const remedy = byHand(asRoot('mv', path, `${path}.away`));
    return [problem(id, `${path} is no socket: something else is in its place`, { detail, remedy })];
  }
  switch (state) {
    case 'open':
      return [ok(id, `The daemon answers at ${path}`)];
    case 'EACCES':
    case 'EPERM': {
      const detail = isMember ? 'You are in group espd: log in again, or for this shell:' : 'Group espd may:';
      const remedy = isMember ? logInAgain('espd') : joinGroup('espd', person);
      return [problem(id, `${person || 'This user'} may not speak to the daemon: ${path}`, { detail, remedy })];
    }
    case 'ENOENT':
    case 'ENOTDIR': {
      if (!serviceRuns) return [ok(id, 'No daemon is there to speak to: commands do all by themselves')];
      const detail = 'Commands do all by themselves. It may be of an older version, started before an update:';
      return [note(id, `The service runs without the socket ${path}`, { detail, remedy: restartService() })];
    }
    case 'ECONNREFUSED': {
      const title = `No daemon listens at ${path}: one was ended hard and left it`;
      return [
        note(id, title, { detail: 'The next start replaces it', remedy: byHand(asRoot('systemctl', 'start', 'espd')) }),
      ];
    }
    case 'timeout':
      return [problem(id, `The daemon does not answer at ${path}`, { remedy: restartService() })];
    default:
      return [problem(id, `The daemon cannot be reached at ${path} (${state})`)];
  }
}
