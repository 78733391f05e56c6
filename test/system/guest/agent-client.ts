/** The host's end of the agent (`agent.mjs`): runs commands in the guest. */

import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';

export interface CommandResult {
  /** Exit status, or the name of the signal that ended it. */
  readonly status: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

interface Answer extends Partial<CommandResult> {
  readonly ready?: boolean;
  readonly id?: number;
  readonly line?: string;
}

interface Pending {
  readonly onLine?: (line: string) => void;
  readonly onEnd?: (result: CommandResult) => void;
}

/** How long the guest has beyond the limit of a command to say that the limit was reached. */
const GRACE_MS = 15_000;

export class AgentClient {
  readonly #socket: Socket;
  readonly #pending = new Map<number, Pending>();
  readonly #ready: Promise<void>;
  #nextId = 1;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#ready = new Promise((resolve) => {
      const lines = createInterface({ input: socket });
      // Its end is the guest's end, which the machine tells of.
      lines.on('error', () => undefined);
      lines.on('line', (text) => {
        // The guest's console and firmware may say something first.
        if (!text.startsWith('{')) return;
        const answer = JSON.parse(text) as Answer;
        if (answer.ready === true) resolve();
        else this.#onAnswer(answer);
      });
    });
  }

  /** Resolves when the guest has started so far that commands run. */
  get ready(): Promise<void> {
    return this.#ready;
  }

  /** Runs a shell command. @throws Error when the guest does not answer in time; a failing command is no error */
  run(command: string, timeoutMs: number): Promise<CommandResult> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(new Error(`the guest gave no answer to: ${command}`));
      }, timeoutMs + GRACE_MS);
      const onEnd = (result: CommandResult) => {
        clearTimeout(timer);
        resolve(result);
      };
      this.#pending.set(id, { onEnd });
      this.#send({ id, command, timeoutMs });
    });
  }

  /** Runs a command that never ends, such as `journalctl -f`. */
  follow(command: string, onLine: (line: string) => void): void {
    const id = this.#nextId++;
    this.#pending.set(id, { onLine });
    this.#send({ id, follow: command });
  }

  #onAnswer({ id = 0, line, status, stdout = '', stderr = '' }: Answer): void {
    const pending = this.#pending.get(id);
    if (line !== undefined) pending?.onLine?.(line);
    if (status === undefined) return;
    this.#pending.delete(id);
    pending?.onEnd?.({ status, stdout, stderr });
  }

  #send(message: object): void {
    this.#socket.write(`${JSON.stringify(message)}\n`);
  }
}
