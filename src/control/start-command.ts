/** Commands that jobs of the API are: processes as those of sessions, with nobody at a terminal. */

import type { Clock } from '../clock.ts';
import { EspdError, toEspdError } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { StartCommand } from './command-jobs.ts';
import { CommandProcess, type PortKeeper, type RelayCommand } from './command-process.ts';
import type { Begin } from './contract/session-messages.ts';

export interface CommandStarterParts {
  readonly command: RelayCommand;
  readonly ports: PortKeeper;
  readonly clock: Clock;
  readonly log: Logger;
}

const NO_STREAM = { isTTY: false, columns: null, rows: null };

/** Starts one process for each job. Questions go to whoever confirms the job; there are no files. */
export function commandStarter(parts: CommandStarterParts): StartCommand {
  return (args, listener) => {
    let error: EspdError | undefined;
    const running = new CommandProcess({
      ...parts,
      onProgress: (progress) => listener.onProgress(progress),
      onMessage: async ({ message }) => {
        switch (message.type) {
          case 'plan':
            listener.onPlan(message.plan);
            return;
          case 'result':
            listener.onResult(message.document);
            return;
          case 'ask':
            listener.onAsk(message.id, message.question);
            return;
          case 'file': {
            const refusal = new EspdError('usage', 'A job of the API has no files');
            await running.send({ type: 'file-reply', id: message.id, error: refusal.toJSON() });
            return;
          }
          default:
        }
      },
    });
    const begin: Begin = {
      type: 'begin',
      args: [...args],
      cwd: '/',
      terminal: { stdout: NO_STREAM, stderr: NO_STREAM, canAsk: true },
      env: {},
      report: true,
    };
    running.send(begin).catch((failure: unknown) => {
      error = toEspdError(failure);
      running.interrupt();
    });
    return {
      ended: running.ended.then(({ status, error: fault }) => ({ status, error: fault ?? error })),
      answer: (id, text) => void running.send({ type: 'answer', id, text }),
      interrupt: () => running.interrupt(),
    };
  };
}
