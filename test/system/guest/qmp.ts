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
}

const ANSWER_LIMIT_MS = 60_000;

export class Qmp {
  readonly #socket: Socket;
  readonly #waiting = new Set<Waiting>();
  #nextId = 1;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('error', () => undefined);
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
      const timer = setTimeout(() => {
        this.#waiting.delete(waiting);
        reject(new Error(`QEMU does not answer: ${what}`));
      }, ANSWER_LIMIT_MS);
      timer.unref();
      const waiting: Waiting = {
        wants,
        done: (message) => {
          clearTimeout(timer);
          this.#waiting.delete(waiting);
          resolve(message);
        },
      };
      this.#waiting.add(waiting);
    });
  }
}
