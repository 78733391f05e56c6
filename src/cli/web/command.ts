/** Options and help of `espd web`. */

import { Argument, type Command, InvalidArgumentError } from 'commander';
import { EspdError } from '../../errors.ts';
import type { Host } from '../host.ts';
import type { LoneRunner } from '../station/commands.ts';

const HELP = `
espd web serves the page at 127.0.0.1 until Ctrl-C, and opens the browser where
there is one. The link that it prints opens the page once. All that the page
does is done with your rights: group espd, as for every command.

espd web set-password is for a page that the daemon itself serves (api.listen in
the config). The password is asked for, or read from stdin. As root it is set
for the service.`;

interface Options {
  readonly port?: number;
  readonly browser: boolean;
  readonly token: boolean;
  readonly remove: boolean;
}

export function addWeb(add: (name: string, description: string) => Command, runAlone: LoneRunner, host: Host): void {
  add('web', 'open the page of the daemon in a browser')
    .addArgument(new Argument('[what]', 'set-password: who may log in to a permanent page').choices(['set-password']))
    .option('--port <n>', 'serve it at this port of 127.0.0.1 (default: any that is free)', portArgument)
    .option('--no-browser', 'only print the link')
    .option('--token', 'with set-password: make a token for programs', false)
    .option('--remove', 'with set-password: nobody can log in any more', false)
    .addHelpText('after', HELP)
    .action((what: string | undefined, options: Options, command: Command) =>
      runAlone(command, async (out) => {
        const common = command.optsWithGlobals();
        if (what === undefined) {
          if (options.token || options.remove) throw misplaced('--token and --remove', 'espd web set-password --token');
          return (await import('./web.ts')).web(common, host, out, options);
        }
        if (options.port !== undefined) throw misplaced('--port', 'espd web --port 8266');
        return (await import('./set-password.ts')).setPassword(common, host, out, options, process.stdin);
      }),
    );
}

function misplaced(options: string, hint: string): EspdError {
  return new EspdError('usage', `${options} does not go together with that`, { hint });
}

function portArgument(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : NaN;
  if (port >= 0 && port <= 65_535) return port;
  throw new InvalidArgumentError('A port is a number from 1 to 65535; 0 is any that is free.');
}
