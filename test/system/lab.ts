/** The workbench of the system tests: a guest with espd installed as a service, and boards to plug into it. */

import { setTimeout as delay } from 'node:timers/promises';
import { createBoard, demoImage } from '../../src/simulator/index.ts';
import type { BoardOptions, SimulatedBoard } from '../../src/simulator/index.ts';
import type { CommandResult } from './guest/agent-client.ts';
import { Machine, type MachineOptions } from './guest/machine.ts';
import { installScript } from './guest/install-page.ts';
import { PluggedBoard, PluggedDevice, type PlugOptions, type Witness } from './usb/plug.ts';
import { QemuSerial } from './usb/qemu-serial.ts';

export const ARCHIVE = '/var/lib/espd';
const MIB = 1024 * 1024;
/** The guest runs some ten times slower than its host. */
const OUTCOME_TIMEOUT_MS = 300_000;

export class Lab {
  readonly guest: Machine;
  readonly journal: Journal;
  readonly #plugged = new Set<{ unplug(): void | Promise<void> }>();

  private constructor(guest: Machine) {
    this.guest = guest;
    this.journal = new Journal(guest);
  }

  /** Boots a guest and installs espd in it. */
  static async open(options: MachineOptions): Promise<Lab> {
    const guest = await Machine.boot(options);
    try {
      const lab = new Lab(guest);
      const started = lab.journal.next(/Watching for boards/);
      await guest.check(await installScript('npm install --global'), 300_000);
      await started;
      options.log('espd is installed and runs');
      return lab;
    } catch (error) {
      await guest.stop();
      throw error;
    }
  }

  async close(): Promise<void> {
    this.journal.close();
    await this.unplugAll().catch(() => undefined);
    await this.guest.stop();
  }

  /** Plugs a board into a USB socket (1 to `SOCKETS`). */
  async plug(socket: number, board: SimulatedBoard, options: PlugOptions): Promise<PluggedBoard> {
    const plugged = await PluggedBoard.plug(this.guest.socketPath(socket), board, options);
    this.#plugged.add(plugged);
    return plugged;
  }

  /** Plugs in something that is no board. */
  async plugGadget(socket: number, witness: Witness, options: PlugOptions): Promise<PluggedDevice> {
    const plugged = await PluggedDevice.plug(this.guest.socketPath(socket), witness, options);
    this.#plugged.add(plugged);
    return plugged;
  }

  /** Plugs a board in behind the bridge that QEMU itself models. */
  async plugByHand(board: SimulatedBoard): Promise<QemuSerial> {
    const plugged = await QemuSerial.plug(this.guest, board);
    this.#plugged.add(plugged);
    return plugged;
  }

  /** Pulls everything out, and waits until the kernel has noticed. */
  async clear(): Promise<void> {
    await this.unplugAll();
    await this.until('no tty is there', 'test -z "$(ls /dev | grep -E "^tty(USB|ACM)")"');
  }

  async unplugAll(): Promise<void> {
    const all = [...this.#plugged];
    this.#plugged.clear();
    for (const plugged of all) await plugged.unplug();
  }

  /** Runs an espd command as the service's user, as docs/install.md says. */
  async espd(args: string): Promise<CommandResult> {
    return this.guest.run(`runuser -u espd -- espd ${args}`, 180_000);
  }

  /** SHA-256 of a backup's image, hashed by the guest's own tool out of the file. */
  async archivedSha256(mac: string, id: string): Promise<string> {
    const folder = `${ARCHIVE}/${mac.replaceAll(':', '-')}/${id}`;
    await this.guest.check(`cd ${folder} && sha256sum --check --quiet SHA256SUMS`);
    return (await this.guest.check(`sha256sum ${folder}/flash.bin`)).slice(0, 64);
  }

  /** Ids of a board's backups, oldest first. */
  async backupIds(mac: string): Promise<string[]> {
    const folder = `${ARCHIVE}/${mac.replaceAll(':', '-')}`;
    return (await this.guest.check(`ls ${folder} 2>/dev/null | grep -E '^[0-9]{4}-' || true`))
      .split('\n')
      .filter(Boolean);
  }

  /** Waits until a shell command succeeds. @throws Error when it does not in time */
  async until(what: string, command: string, timeoutMs = 180_000): Promise<void> {
    const end = Date.now() + timeoutMs;
    for (;;) {
      const { status, stdout, stderr } = await this.guest.run(command);
      if (status === 0) return;
      if (Date.now() > end) {
        throw new Error(`not within ${timeoutMs / 1000} s: ${what}\n${stdout}${stderr}\n${this.journal.tail()}`);
      }
      await delay(500);
    }
  }

  /** What a person would look at first when a test fails. */
  async report(): Promise<string> {
    const kernel = await this.guest.run('dmesg | tail -15').then(
      ({ stdout }) => stdout,
      (error: unknown) => String(error),
    );
    return `--- journal of espd\n${this.journal.tail()}\n--- kernel\n${kernel}`;
  }

  /** The service's process. */
  async mainPid(): Promise<number> {
    return Number(await this.guest.check('systemctl show --property=MainPID --value espd'));
  }

  /** Restarts the service, also with a new config: it remembers nothing then. */
  async restartDaemon(): Promise<void> {
    await this.#systemctl('restart');
  }

  async startDaemon(): Promise<void> {
    await this.#systemctl('start');
  }

  async #systemctl(verb: string): Promise<void> {
    const started = this.journal.next(/Watching for boards/);
    await this.guest.check(`systemctl ${verb} espd`, 180_000);
    await started;
  }
}

/** What espd's unit writes to the journal, from the first line on. */
export class Journal {
  readonly lines: string[] = [];
  readonly #listeners = new Set<(line: string) => void>();
  readonly #closed = new AbortController();

  constructor(guest: Machine) {
    const show = process.env['ESPD_TEST_JOURNAL'] === '1';
    guest.follow('journalctl --follow --lines=all --output=cat --unit=espd', (line) => {
      this.lines.push(line);
      if (show) process.stderr.write(`${new Date().toISOString()} ${line}\n`);
      for (const listener of [...this.#listeners]) listener(line);
    });
  }

  /** The next line, from now on, that fits. @throws Error with the last lines when none comes in time */
  next(pattern: RegExp, timeoutMs = OUTCOME_TIMEOUT_MS): Promise<string> {
    const found = new Promise<string>((resolve, reject) => {
      const end = () => {
        clearTimeout(timer);
        this.#closed.signal.removeEventListener('abort', end);
        this.#listeners.delete(listener);
      };
      const listener = (line: string) => {
        if (!pattern.test(line)) return;
        end();
        resolve(line);
      };
      const timer = setTimeout(() => {
        end();
        reject(new Error(`no ${String(pattern)} in the journal within ${timeoutMs / 1000} s:\n${this.tail()}`));
      }, timeoutMs);
      this.#closed.signal.addEventListener('abort', end);
      this.#listeners.add(listener);
    });
    // A test that failed before it came to wait for the line.
    found.catch(() => undefined);
    return found;
  }

  /** Lets nothing wait any longer. */
  close(): void {
    this.#closed.abort();
  }

  tail(count = 25): string {
    return this.lines.slice(-count).join('\n');
  }

  /** Lines since `mark` that fit. Take the mark with `lines.length`. */
  since(mark: number, pattern: RegExp): string[] {
    return this.lines.slice(mark).filter((line) => pattern.test(line));
  }
}

/** What a line of the journal says under `key=`. @throws Error when it does not */
export function field(line: string, key: string): string {
  const value = new RegExp(`(?:^| )${key}=("[^"]*"|\\S+)`).exec(line)?.[1];
  if (value === undefined) throw new Error(`no ${key} in: ${line}`);
  return value;
}

let seed = 0;

/** A board with a program in its flash, behind a wire with the latency of USB. No two have the same MAC or content. */
export function makeBoard(options: Pick<BoardOptions, 'family'> & Partial<BoardOptions>): SimulatedBoard {
  const content = demoImage({ family: options.family, sizeBytes: 2 * MIB, appBytes: 160 * 1024, seed: ++seed });
  return createBoard({
    content,
    flashSizeBytes: 2 * MIB,
    seed,
    line: { latencyMs: 1 },
    ...options,
  });
}
