/** Command processes for the API's jobs: there is no terminal, and plan, question and document are told. */

import { CommandProcess, type CommandProcessOptions } from './command-process.ts';
import type { StartCommand } from './command-jobs.ts';

/** The command is one of the daemon's own making: it gets no files of anybody. */
export function commandStarter(options: Omit<CommandProcessOptions, 'onMessage' | 'onProgress'>): StartCommand {
  return (args, listener) => {
    const process = new CommandProcess({
      ...options,
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
            const text = 'A job of the API has no files';
            const error = { code: 'usage', message: text, hint: '' } as const;
            await process.send({ type: 'file-reply', id: message.id, error });
            return;
          }
          default:
            // Texts are for people; the document says the same.
            return;
        }
      },
    });
    const stream = { isTTY: false, columns: null, rows: null };
    const terminal = { stdout: stream, stderr: stream, canAsk: true };
    void process.send({ type: 'begin', args: [...args], cwd: '/', terminal, env: {}, report: true });
    return {
      ended: process.ended,
      answer: (id, text) => void process.send({ type: 'answer', id, text }),
      interrupt: () => process.interrupt(),
    };
  };
}
