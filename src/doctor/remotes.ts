/**
 * Ports of other machines that the config names: what the daemon has found when it last spoke to each. None is connected
 * to: its server would open its port, which raises DTR and RTS and may reset the board, and some serve one client only.
 */

import { EspdError, toEspdError } from '../errors.ts';
import { type Remote, remoteAddress } from '../serial/remotes.ts';
import type { Facts } from './facts.ts';
import type { StationPort } from './subject.ts';
import { type Finding, note, ok, problem, some, told } from './types.ts';

const ID = 'remotes';
const RESETS = 'The doctor connects to none, for that may reset its board. What resets it and tells:';

/** Nothing where the config names none. */
export async function checkRemotes({ loaded, stationPorts }: Facts): Promise<Finding[]> {
  const remotes = loaded instanceof EspdError ? [] : loaded.config.watch.remotes;
  const [first] = remotes;
  if (first === undefined) return [];
  try {
    const ports = await stationPorts();
    return remotes.map((remote) => judgeRemote(remote, ports));
  } catch (error) {
    const title = `Whether ${some(remotes.map(({ name }) => name))} can be reached only a daemon can say`;
    const detail = `${toEspdError(error).message}. ${RESETS}`;
    return [note(ID, title, { detail, remedy: told(`espd identify --port ${first.name}`) })];
  }
}

/** @param ports of the running daemon */
export function judgeRemote({ name, url }: Remote, ports: readonly StationPort[]): Finding {
  const address = remoteAddress(url);
  const port = ports.find((each) => each.port === address);
  const place = `${name} (${address})`;
  if (port === undefined) {
    const detail = 'Its config is another one, or has a fault since: its log says which';
    return note(ID, `The daemon does not know ${place}`, { detail });
  }
  const { state, error, mac, reason, retryAt } = port;
  if (state === 'failed' && error !== null) {
    const next = retryAt === null ? 'It is not tried again by itself' : `The next try is at ${retryAt}`;
    const detail = error.hint === '' ? next : `${error.hint}${/[.?!]$/.test(error.hint) ? '' : '.'} ${next}`;
    const remedy = retryAt === null ? told(`espd backup --port ${name}`) : undefined;
    // Whoever has it may have good reason.
    const say = error.code === 'port-busy' ? note : problem;
    return say(ID, `${name}: ${error.message}`, { detail, remedy });
  }
  if (state === 'left-alone') return note(ID, `${place} is left alone: ${reason ?? 'no reason was told'}`);
  if (retryAt !== null) return note(ID, `${place} is looked at later`, { detail: `The next try is at ${retryAt}` });
  if (mac !== null) return ok(ID, `${place} answers: its board is ${mac}`);
  return ok(ID, `${place}: ${state === 'idle' ? 'nobody has looked at it yet' : state}`);
}
