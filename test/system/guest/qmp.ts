/** QEMU's own control channel: JSON, one object a line (docs/interop/qmp-spec of QEMU). */

import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';

interface Message {
  readonly id?: number;
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
  readonly event?: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

interface Waiting {
  readonly wants: (message: Message) => boolean;
  readonly done: (message: Message) => void;
  readonly failed: (reason: string) => void;
}

const ANSWER_LIMIT_MS = 60_000;

export class Qmp {
  readonly #socket: Socket;
  readonly #waiting = new Set<Waiting>();
  #nextId = 1;
  #closed = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('error', () => undefined);
    // Where KVM opens but runs no guest, QEMU ends after it has taken the connection and before it answers.
    socket.once('close', () => {
      this.#closed = true;
      for (const waiting of [...this.#waiting]) waiting.failed('has closed its control channel');
    });
    const lines = createInterface({ input: socket });
    lines.on('error', () => undefined);
    lines.on('line', (line) => {
      const message = JSON.parse(line) as Message;
      for (const waiting of [...this.#waiting]) if (waiting.wants(message)) waiting.done(message);
    });
  }

  /** @param socket connected, nothing read yet */
  static async open(socket: Socket): Promise<Qmp> {
    const qmp = new Qmp(socket);
    await qmp.execute('qmp_capabilities');
    return qmp;
  }

  /** @throws Error with QEMU's reason when it refuses, or does not answer */
  async execute(command: string, args: Readonly<Record<string, unknown>> = {}): Promise<void> {
    const id = this.#nextId++;
    const answer = this.#next(command, (message) => message.id === id);
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    const { error } = await answer;
    if (error !== undefined) throw new Error(`QEMU refuses ${command}: ${error.desc}`);
  }

  /** Takes a device away that `device_add` brought; when it resolves, QEMU has forgotten it. */
  async removeDevice(device: string): Promise<void> {
    const gone = this.#next(
      `the end of ${device}`,
      ({ event, data }) => event === 'DEVICE_DELETED' && data?.['device'] === device,
    );
    gone.catch(() => undefined);
    await this.execute('device_del', { id: device });
    await gone;
  }

  #next(what: string, wants: Waiting['wants']): Promise<Message> {
    return new Promise((resolve, reject) => {
      const end = () => {
        clearTimeout(timer);
        this.#waiting.delete(waiting);
      };
      const waiting: Waiting = {
        wants,
        done: (message) => {
          end();
          resolve(message);
        },
        failed: (reason) => {
          end();
          reject(new Error(`QEMU ${reason}: ${what}`));
        },
      };
      const timer = setTimeout(() => waiting.failed('does not answer'), ANSWER_LIMIT_MS);
      this.#waiting.add(waiting);
      if (this.#closed) waiting.failed('has closed its control channel');
    });
  }
}
