/** The server of the page, as `espd web` has it, in front of a daemon's socket. */

import { systemClock } from '../../src/clock.ts';
import { PAGE_FOLDER } from '../../src/cli/web/page-folder.ts';
import { socketBackend } from '../../src/front/backend.ts';
import { Front } from '../../src/front/front.ts';
import { LinkGate } from '../../src/front/gate.ts';
import { StaticFiles } from '../../src/front/static-files.ts';
import { silentLogger } from '../../src/log.ts';

export interface PageServer {
  /** Of the page, with a slash at its end. */
  readonly url: string;
  /** Opens the page once. */
  readonly link: string;
  close(): Promise<void>;
}

export async function servePage(socketPath: string): Promise<PageServer> {
  const gate = new LinkGate();
  const front = new Front({
    ...{ clock: systemClock, log: silentLogger, gate, names: [] },
    backend: socketBackend(socketPath),
    files: await StaticFiles.read(PAGE_FOLDER),
  });
  const { port } = await front.listen('127.0.0.1', 0);
  const url = `http://127.0.0.1:${port}/`;
  return { url, link: `${url}?token=${gate.token}`, close: () => front.close() };
}

/** The link is good for one browser; its session is what further pages of a test share. */
export async function openSession({ link }: PageServer): Promise<{ readonly name: string; readonly value: string }> {
  const response = await fetch(link, { redirect: 'manual' });
  const [cookie = ''] = response.headers.getSetCookie();
  const [pair = ''] = cookie.split(';', 1);
  const end = pair.indexOf('=');
  return { name: pair.slice(0, end), value: pair.slice(end + 1) };
}
