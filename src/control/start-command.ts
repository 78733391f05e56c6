/** Commands that jobs and readings of the API are: processes as those of sessions, with nobody at a terminal. */

import type { Clock } from '../clock.ts';
import { EspdError, toEspdError } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { StartCommand } from './command-jobs.ts';
import { CommandProcess, type PortKeeper, type RelayCommand } from './command-process.ts';
import type { Begin, FromCommand, MarkMessage, ProgressMessage } from './contract/session-messages.ts';
import type { StartReading } from './readings.ts';

export interface CommandStarterParts {
  readonly command: RelayCommand;
  readonly ports: PortKeeper;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onMark?: (mark: MarkMessage) => void;
}

const NO_STREAM = { isTTY: false, columns: null, rows: null };

/** Starts one process for each job. Questions go to whoever confirms the job; there are no files. */
export function commandStarter(parts: CommandStarterParts): StartCommand {
  return (args, listener) => {
    const { running, ended } = startedFor(parts, begin(args, { canAsk: true, report: true }), {
      onProgress: (progress) => listener.onProgress(progress),
      onMessage: (message) => {
        switch (message.type) {
          case 'plan':
            listener.onPlan(message.plan);
            break;
          case 'result':
            listener.onResult(message.document);
            break;
          case 'event':
            listener.onEvent(message.event);
            break;
          case 'ask':
            listener.onAsk(message.id, message.question);
            break;
          default:
        }
        return Promise.resolve();
      },
    });
    return {
      ended,
      answer: (id, text) => void running.send({ type: 'answer', id, text }),
      interrupt: () => running.interrupt(),
    };
  };
}

/** Starts one process for each reading: only what it writes is wanted, and nobody is asked. */
export function readingStarter(parts: CommandStarterParts): StartReading {
  return (args, onOutput) => {
    let document: unknown = null;
    // With --json the document is the output.
    const report = !args.includes('--json');
    const { running, ended } = startedFor(parts, begin(args, { canAsk: false, report }), {
      onMessage: (message) => {
        if (message.type === 'result') document = message.document;
        if (message.type !== 'output' || message.stream !== 'stdout') return Promise.resolve();
        const { data, base64 = '' } = message;
        return onOutput(data === undefined ? Buffer.from(base64, 'base64') : Buffer.from(data, 'utf8'));
      },
    });
    return { ended: ended.then((end) => ({ ...end, document })), interrupt: () => running.interrupt() };
  };
}

function begin(args: readonly string[], { canAsk, report }: { canAsk: boolean; report: boolean }): Begin {
  return {
    ...{ type: 'begin', args: [...args], cwd: '/', env: {}, report },
    terminal: { stdout: NO_STREAM, stderr: NO_STREAM, canAsk },
  };
}

interface Ears {
  readonly onMessage: (message: FromCommand) => Promise<void>;
  readonly onProgress?: (progress: ProgressMessage) => void;
}

function startedFor(parts: CommandStarterParts, first: Begin, { onMessage, onProgress }: Ears) {
  let error: EspdError | undefined;
  const running = new CommandProcess({
    ...parts,
    ...(onProgress === undefined ? {} : { onProgress }),
    onMessage: async ({ message }) => {
      if (message.type !== 'file') return onMessage(message);
      const refusal = new EspdError('usage', 'The API has no files');
      await running.send({ type: 'file-reply', id: message.id, error: refusal.toJSON() });
    },
  });
  running.send(first).catch((failure: unknown) => {
    error = toEspdError(failure);
    running.interrupt();
  });
  const ended = running.ended.then(({ status, error: fault }) => ({ status, error: fault ?? error }));
  return { running, ended };
}
