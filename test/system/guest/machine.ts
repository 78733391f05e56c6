/** The virtual machine: QEMU with one disk for Debian, one for espd, USB sockets to plug into, and the agent's wire. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, closeSync, readFileSync } from 'node:fs';
import { access, constants, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type Socket, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { AgentClient, type CommandResult } from './agent-client.ts';
import { execute } from './execute.ts';
import { cacheFolder, guestImage } from './image.ts';
import { buildPayload } from './payload.ts';
import { Qmp } from './qmp.ts';

/** USB sockets of the guest: the ports of its xHCI controller, one hub for all. */
export const SOCKETS = 12;
/** One more, for the serial bridge that QEMU itself models (`usb/qemu-serial.ts`). */
const OWN_SERIAL_PORT = SOCKETS + 1;
const OWN_SERIAL_CHARDEV = 'own-serial';

type Accelerator = 'kvm' | 'tcg';

export interface MachineOptions {
  readonly log: (line: string) => void;
  /** The guest's serial console is this terminal instead of a file. */
  readonly interactive?: boolean;
}

/** A stock kernel on working KVM is up in seconds; where KVM opens but does not run one, nothing ever comes. */
const BOOT_LIMIT_MS: Readonly<Record<Accelerator, number>> = { kvm: 40_000, tcg: 420_000 };
/** On a machine that does much else besides. */
const COMMAND_LIMIT_MS = 120_000;
/** In base64 less than the kernel's limit of one argument, 128 KiB; whole groups of 3. */
const PIECE_BYTES = 90_000;
const CONSOLE_TAIL_CHARACTERS = 4000;

export class Machine {
  readonly #folder: string;
  readonly #qemu: ChildProcess;
  readonly #agent: AgentClient;
  /** QEMU's control channel. */
  readonly qmp: Qmp;
  /** The first reason why the guest can be of no more use. */
  readonly #gone: Promise<never>;
  #stopping = false;

  private constructor(folder: string, qemu: ChildProcess, agent: AgentClient, qmp: Qmp) {
    this.#folder = folder;
    this.#qemu = qemu;
    this.#agent = agent;
    this.qmp = qmp;
    this.#gone = new Promise((_resolve, reject) => {
      const onExit = () => {
        const status = qemu.signalCode ?? String(qemu.exitCode);
        if (!this.#stopping) reject(new Error(`QEMU ended with status ${status}\n${this.consoleTail()}`));
      };
      if (hasEnded(qemu)) onExit();
      else qemu.once('exit', onExit);
    });
    this.#gone.catch(() => undefined);
  }

  /** Boots a fresh guest. @throws Error with the end of the guest's console when it does not come up in time */
  static async boot(options: MachineOptions): Promise<Machine> {
    const image = await guestImage(options.log);
    const folder = await mkdtemp(join(tmpdir(), 'espd-guest-'));
    try {
      const payload = await buildPayload(folder);
      let failure: unknown;
      for (const accelerator of await accelerators()) {
        const disk = join(folder, 'disk.qcow2');
        await rm(disk, { force: true });
        await execute('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', image.disk, disk]);
        const args = qemuArguments({ ...image, disk, payload, folder, accelerator });
        try {
          const machine = await Machine.#start(folder, args, accelerator, options);
          await writeFile(acceleratorNote(), accelerator);
          return machine;
        } catch (error) {
          failure = error;
        }
      }
      throw failure;
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }

  static async #start(
    folder: string,
    args: readonly string[],
    accelerator: Accelerator,
    { log, interactive = false }: MachineOptions,
  ): Promise<Machine> {
    const started = Date.now();
    const output = openSync(join(folder, 'qemu.log'), 'w');
    const consoleDevice = interactive ? 'mon:stdio' : `file:${join(folder, 'console.log')}`;
    // setpriv: however this process ends, the guest ends with it.
    const command = ['--pdeathsig', 'SIGKILL', 'qemu-system-x86_64', ...args, '-serial', consoleDevice];
    const qemu = spawn('setpriv', command, {
      stdio: interactive ? ['inherit', 'inherit', output] : ['ignore', output, output],
    });
    closeSync(output);
    qemu.once('error', () => undefined);
    let machine: Machine | undefined;
    try {
      const agent = new AgentClient(await connectWhenThere(join(folder, 'agent.sock'), qemu));
      const qmp = await Qmp.open(await connectWhenThere(join(folder, 'qmp.sock'), qemu));
      machine = new Machine(folder, qemu, agent, qmp);
      await machine.#within(BOOT_LIMIT_MS[accelerator], agent.ready, `the guest did not start (${accelerator})`);
      log(`the guest runs (${accelerator}, ${((Date.now() - started) / 1000).toFixed(0)} s)`);
      return machine;
    } catch (error) {
      if (machine === undefined) await endProcess(qemu);
      else await machine.#end();
      throw error;
    }
  }

  /** Runs a shell command as root. @throws Error when the guest is gone, or silent beyond `timeoutMs` */
  async run(command: string, timeoutMs = COMMAND_LIMIT_MS): Promise<CommandResult> {
    return this.#alive(this.#agent.run(command, timeoutMs));
  }

  /** Like {@link run}. @returns stdout without the last newline. @throws Error also when the command fails */
  async check(command: string, timeoutMs?: number): Promise<string> {
    const { status, stdout, stderr } = await this.run(command, timeoutMs);
    if (status !== 0) throw new Error(`in the guest: ${command}\nended with ${status}\n${stdout}${stderr}`);
    return stdout.trimEnd();
  }

  /** Copies a file of this machine into the guest, in pieces that a command line takes. */
  async putFile(path: string, target: string): Promise<void> {
    const content = await readFile(path);
    await this.check(`: > ${target}`);
    for (let at = 0; at < content.length; at += PIECE_BYTES) {
      const piece = content.toString('base64', at, at + PIECE_BYTES);
      await this.check(`echo ${piece} | base64 -d >> ${target}`);
    }
  }

  follow(command: string, onLine: (line: string) => void): void {
    this.#agent.follow(command, onLine);
  }

  /** Where a device is plugged in: connecting is the plug-in, closing the connection is pulling it out. */
  socketPath(socket: number): string {
    return join(this.#folder, `usb${socket}.sock`);
  }

  /** Where QEMU's own serial bridge belongs, and the other end of its wire. */
  get ownSerial(): { readonly port: number; readonly chardev: string; readonly path: string } {
    return { port: OWN_SERIAL_PORT, chardev: OWN_SERIAL_CHARDEV, path: join(this.#folder, 'serial.sock') };
  }

  /** The last lines of the guest's console, for messages. */
  consoleTail(): string {
    const read = (name: string) => {
      try {
        return readFileSync(join(this.#folder, name), 'utf8').slice(-CONSOLE_TAIL_CHARACTERS);
      } catch {
        return '';
      }
    };
    return `--- QEMU\n${read('qemu.log')}\n--- console of the guest\n${read('console.log')}`;
  }

  /** When the guest has ended by itself (poweroff). */
  async ended(): Promise<void> {
    this.#stopping = true;
    if (!hasEnded(this.#qemu)) await once(this.#qemu, 'exit');
  }

  /** Ends the guest at once, and removes what it left. */
  async stop(): Promise<void> {
    await this.#end();
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #end(): Promise<void> {
    this.#stopping = true;
    await endProcess(this.#qemu);
  }

  async #alive<T>(work: Promise<T>): Promise<T> {
    try {
      return await Promise.race([work, this.#gone]);
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.consoleTail()}`, { cause: error });
    }
  }

  async #within<T>(limitMs: number, work: Promise<T>, message: string): Promise<T> {
    const timer = new AbortController();
    const late = delay(limitMs, undefined, { signal: timer.signal }).then(() => Promise.reject(new Error(message)));
    late.catch(() => undefined);
    try {
      return await this.#alive(Promise.race([work, late]));
    } finally {
      timer.abort();
    }
  }
}

interface Parts {
  readonly kernel: string;
  readonly initrd: string;
  readonly disk: string;
  readonly payload: string;
  readonly folder: string;
  readonly accelerator: Accelerator;
}

function qemuArguments({ kernel, initrd, disk, payload, folder, accelerator }: Parts): string[] {
  const sockets = Array.from({ length: SOCKETS }, (_, index) => index + 1).flatMap((socket) => [
    ...['-chardev', `socket,id=usb${socket},path=${join(folder, `usb${socket}.sock`)},server=on,wait=off`],
    ...['-device', `usb-redir,chardev=usb${socket},bus=xhci.0,port=${socket}`],
  ]);
  return [
    ...[
      '-accel',
      accelerator === 'kvm' ? 'kvm' : 'tcg,thread=multi',
      '-cpu',
      accelerator === 'kvm' ? 'host' : 'qemu64',
    ],
    ...['-M', 'pc', '-smp', '2', '-m', '1024', '-nodefaults', '-display', 'none', '-no-reboot'],
    ...['-kernel', kernel, '-initrd', initrd],
    ...['-append', 'console=ttyS0 root=/dev/vda rw net.ifnames=0 quiet mitigations=off'],
    ...['-drive', `if=virtio,file=${disk},format=qcow2,cache=unsafe`],
    ...['-drive', `if=virtio,file=${payload},format=raw,readonly=on`],
    ...['-device', 'virtio-rng-pci', '-device', 'virtio-serial-pci'],
    ...['-chardev', `socket,id=agent,path=${join(folder, 'agent.sock')},server=on,wait=off`],
    ...['-device', 'virtserialport,chardev=agent,name=test-agent'],
    ...['-qmp', `unix:${join(folder, 'qmp.sock')},server=on,wait=off`],
    ...['-chardev', `socket,id=${OWN_SERIAL_CHARDEV},path=${join(folder, 'serial.sock')},server=on,wait=off`],
    ...['-device', `qemu-xhci,id=xhci,p2=${OWN_SERIAL_PORT},p3=1`],
    ...sockets,
  ];
}

function hasEnded(process: ChildProcess): boolean {
  return process.exitCode !== null || process.signalCode !== null;
}

async function endProcess(process: ChildProcess): Promise<void> {
  // Without a pid it never started.
  if (hasEnded(process) || process.pid === undefined) return;
  process.kill('SIGKILL');
  await once(process, 'exit');
}

async function connectWhenThere(path: string, qemu: ChildProcess): Promise<Socket> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const socket = connect(path);
    try {
      await once(socket, 'connect');
      return socket;
    } catch {
      if (hasEnded(qemu)) break;
      await delay(100);
    }
  }
  throw new Error('QEMU does not start: see what `qemu-system-x86_64 -version` says');
}

/** What to try, in order. What worked here before is not tried again in vain. `ESPD_TEST_ACCEL` decides otherwise. */
async function accelerators(): Promise<Accelerator[]> {
  const wanted = process.env['ESPD_TEST_ACCEL'] ?? (await readFile(acceleratorNote(), 'utf8').catch(() => ''));
  if (wanted === 'kvm' || wanted === 'tcg') return [wanted];
  const hasKvm = await access('/dev/kvm', constants.R_OK | constants.W_OK).then(
    () => true,
    () => false,
  );
  return hasKvm ? ['kvm', 'tcg'] : ['tcg'];
}

function acceleratorNote(): string {
  return join(cacheFolder(), 'accelerator');
}
