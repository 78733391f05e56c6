/** A simulated board on a link in memory and a clock that costs nothing: what every test of `esp/` works on. */

import { afterEach } from 'node:test';
import { Board } from '../../src/esp/board.ts';
import type { BoardOptions } from '../../src/esp/board.ts';
import type { EspContext } from '../../src/esp/loader.ts';
import { EspdError } from '../../src/errors.ts';
import { silentLogger } from '../../src/log.ts';
import type { Link, LinkCapabilities } from '../../src/serial/link.ts';
import { VirtualClock, createBoard, demoImage, memoryLink } from '../../src/simulator/index.ts';
import type { Family, BoardOptions as SimulatorOptions, SimulatedBoard } from '../../src/simulator/index.ts';

export const KIB = 1024;
export const MIB = 1024 * KIB;

/** A bridge as on most boards: CP2102. */
export const BRIDGE = {
  vendorId: '10c4',
  productId: 'ea60',
  serialNumber: '0001',
  manufacturer: 'Silicon Labs',
  product: 'CP2102 USB to UART Bridge Controller',
  location: '1-1:1.0',
};
export const USB_SERIAL_JTAG = { ...BRIDGE, vendorId: '303a', productId: '1001', manufacturer: 'Espressif' };
export const USB_OTG = { ...BRIDGE, vendorId: '303a', productId: '0002', manufacturer: 'Espressif' };

/** Raw TCP: bytes, and nothing else. */
export const NO_LINES: LinkCapabilities = { controlLines: false, baudRate: false };

export interface Bench {
  readonly board: SimulatedBoard;
  readonly clock: VirtualClock;
  readonly link: Link;
  readonly context: EspContext;
  readonly abort: AbortController;
  /** {@link Board.connect} on this link. */
  readonly connect: (options?: Partial<BoardOptions>) => Promise<Board>;
  /** Lets time pass, e.g. for the app to start. */
  readonly pass: (durationMs: number) => Promise<void>;
}

export interface BenchOptions extends Partial<Omit<SimulatorOptions, 'clock'>> {
  /** Of the bridge. */
  readonly maxBaudRate?: number;
  readonly capabilities?: LinkCapabilities;
  /** Puts something between the board's link and the code under test. */
  readonly through?: ((link: Link, clock: VirtualClock) => Link) | undefined;
}

const clocks: VirtualClock[] = [];
/** An app that talks for ever would keep the process alive for ever. */
afterEach(() => {
  for (const clock of clocks.splice(0)) clock.clear();
});

const images = new Map<string, Buffer>();

/** A flash as boards have it, made once for each kind of board. */
function imageFor(family: Family, sizeBytes: number): Buffer {
  const key = `${family}/${sizeBytes}`;
  const image = images.get(key) ?? demoImage({ family, sizeBytes, appBytes: 64 * KIB });
  images.set(key, image);
  return image;
}

/** A board that runs its app (a C3 with 1 MiB unless said otherwise), and a link to it. */
export function bench(options: BenchOptions = {}): Bench {
  const { capabilities, maxBaudRate, through = (link: Link) => link, ...wanted } = options;
  const family = wanted.family ?? 'esp32c3';
  const flashSizeBytes = wanted.flashSizeBytes ?? MIB;
  const clock = new VirtualClock();
  clocks.push(clock);
  const content = wanted.content ?? imageFor(family, flashSizeBytes);
  const board = createBoard({ ...wanted, family, flashSizeBytes, content, clock });
  const linkOptions = { clock, ...(capabilities && { capabilities }), ...(maxBaudRate && { maxBaudRate }) };
  const link = through(memoryLink(board, linkOptions), clock);
  const abort = new AbortController();
  const context: EspContext = { clock, log: silentLogger, signal: abort.signal };
  return {
    board,
    clock,
    link,
    context,
    abort,
    connect: (connectOptions = {}) =>
      Board.connect(link, context, { reset: 'auto', attempts: 7, baudRate: 921600, usb: null, ...connectOptions }),
    pass: (durationMs) => new Promise((resolve) => clock.schedule(durationMs, resolve)),
  };
}

/** A link between: methods of `changes` stand in for those of `link`. */
export function overlay(link: Link, changes: Partial<Link>): Link {
  return new Proxy(link, {
    get(target, name): unknown {
      const member: unknown = Reflect.get(changes, name) ?? Reflect.get(target, name);
      return typeof member === 'function' ? (member.bind(target) as unknown) : member;
    },
  });
}

/** A bridge that cannot do the rate of an ESP8266's boot log. */
export function withoutBootLogRate(link: Link): Link {
  const setBaudRate = (baudRate: number) =>
    baudRate === 74880 ? Promise.reject(new EspdError('port-failed', 'no such rate')) : link.setBaudRate(baudRate);
  return overlay(link, { setBaudRate });
}

/** A region as the sink of {@link Board.read} gets it; later bytes of the same place replace earlier ones. */
export async function readRegion(board: Board, offset: number, sizeBytes: number): Promise<Buffer> {
  const region = Buffer.alloc(sizeBytes, 0x5a);
  let highest = offset;
  await board.read(offset, sizeBytes, (at, bytes) => {
    if (at < offset || at + bytes.length > offset + sizeBytes) throw new RangeError(`${bytes.length} bytes at ${at}`);
    bytes.copy(region, at - offset);
    highest = Math.max(highest, at + bytes.length);
  });
  if (highest !== offset + sizeBytes) throw new RangeError(`only up to ${highest}`);
  return region;
}

/** Presses BOOT and RESET as a person does, so that the board is in download mode. */
export async function enterDownloadByHand({ board, pass }: Bench): Promise<void> {
  board.pressBoot(true);
  board.pressReset(10);
  await pass(100);
  board.pressBoot(false);
}
