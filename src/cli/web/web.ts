/** `espd web`: the page of the daemon in a browser, for whoever runs it, until Ctrl-C. */

import { systemClock, whenAborted } from '../../clock.ts';
import { createLogger } from '../../config/logger.ts';
import { socketBackend } from '../../front/backend.ts';
import { Front } from '../../front/front.ts';
import { LinkGate } from '../../front/gate.ts';
import { StaticFiles } from '../../front/static-files.ts';
import type { CommonOptions, Host } from '../host.ts';
import type { Output } from '../output.ts';
import { daemonOf } from '../station/find-daemon.ts';
import { canOpenBrowser, openBrowser } from './open-browser.ts';
import { PAGE_FOLDER } from './page-folder.ts';

export interface WebCommandOptions {
  /** 0 = any that is free. */
  readonly port?: number;
  /** False: `--no-browser`. */
  readonly browser: boolean;
}

const LOOPBACK = '127.0.0.1';

/** Ctrl-C is how it ends: that is no failure. */
export async function web(
  options: CommonOptions,
  host: Host,
  out: Output,
  { port = 0, browser }: WebCommandOptions,
): Promise<undefined> {
  const client = await daemonOf(options, host);
  // Whoever may not ask the daemon is told now, and not by a page that stays empty.
  await client.status(host.signal);
  const log = createLogger({
    ...{ level: options.logLevel ?? 'error', format: 'auto', color: options.color !== false },
    ...{ env: host.env, stream: out.stderrStream },
  });
  const gate = new LinkGate();
  const front = new Front({
    ...{ clock: systemClock, log, gate, names: [] },
    backend: socketBackend(client.path),
    files: await StaticFiles.read(PAGE_FOLDER),
  });
  try {
    const address = await front.listen(LOOPBACK, port);
    const url = `http://${LOOPBACK}:${address.port}/?token=${gate.token}`;
    out.document({ url, port: address.port });
    out.line(`The page of the daemon, for you alone: ${url}`);
    out.note('The link opens it once. Ctrl-C ends it');
    if (browser && !out.json && canOpenBrowser(host.env)) openBrowser(url, host.env);
    await whenAborted(host.signal);
  } finally {
    await front.close();
    await log.close();
  }
  return undefined;
}
