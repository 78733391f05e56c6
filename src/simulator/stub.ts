/**
 * Espressif's flasher stub, by its source: espressif/esp-flasher-stub src/command_handler.c and commands.h. Payload lengths
 * are checked exactly; a fault in work done after the response shows in the response to the next command.
 */

import { OPCODE } from './chips/model.ts';
import { in24Bits } from './flash-24-bits.ts';
import { SECTOR_BYTES } from './flash.ts';
import type { FlashArray } from './flash.ts';
import { createFlashWriter } from './flash-writer.ts';
import type { FlashWriter } from './flash-writer.ts';
import { checksumOf, digestMs, eraseMs, parseRequest, responseOf, securityInfoOf, spoiled, wordAt } from './loader.ts';
import type { Loader, LoaderContext, Request } from './loader.ts';
import { type BuiltReader, handlerOf } from './reader/program.ts';
import { SimulatedReader } from './reader/reader.ts';
import type { Sender } from './reader/sender.ts';
import { StubRead } from './stub-read.ts';
import { StubUpload } from './stub-upload.ts';

/** commands.h, enum esp_response_code. */
const STATUS = {
  ok: 0x0000,
  badLength: 0xc000,
  badChecksum: 0xc100,
  invalidCommand: 0xc300,
  notInFlashMode: 0xc600,
  inflate: 0xc700,
  notEnough: 0xc800,
  tooMuch: 0xc900,
  notImplemented: 0xff00,
} as const;

const PAYLOAD_BYTES: Readonly<Record<number, readonly number[]>> = {
  [OPCODE.sync]: [36],
  [OPCODE.flashBegin]: [16, 20],
  [OPCODE.flashDeflBegin]: [16, 20],
  [OPCODE.flashEnd]: [4],
  [OPCODE.flashDeflEnd]: [4],
  [OPCODE.memBegin]: [16],
  [OPCODE.memEnd]: [8],
  [OPCODE.readReg]: [4],
  [OPCODE.spiAttach]: [4],
  [OPCODE.spiSetParams]: [24],
  [OPCODE.changeBaudRate]: [8],
  [OPCODE.flashMd5]: [16],
  [OPCODE.getSecurityInfo]: [0],
  [OPCODE.readFlash]: [16],
  [OPCODE.eraseRegion]: [8],
};

const SYNC_REPLIES = 8;
/** Largest packet of READ_FLASH. */
const MAX_PACKET_BYTES = 4096;

/** Frames that come in while the stub works: it has one buffer beside the one in hand. */
const WAITING_FRAMES = 2;

export interface StubOptions {
  /** The stub of before 2024: an acknowledgement of more than was sent ends a read; FLASH_END and RUN_USER_CODE leave. */
  readonly legacy: boolean;
  /** It knows 24 address bits only, and wraps above them as a ROM does. */
  readonly in24Bits: boolean;
  /** Status of commands that it does not know. */
  readonly unknownStatus: number;
}

export function createStub(context: LoaderContext, options: StubOptions): Loader {
  const stub = new Stub(context, options);
  context.send(Buffer.from('OHAI', 'latin1'));
  return stub;
}

type Outcome = number | { readonly value?: number; readonly body?: Buffer };

class Stub implements Loader {
  readonly #context: LoaderContext;
  readonly #flash: FlashArray;
  readonly #options: StubOptions;
  readonly #upload: StubUpload;
  #reader: SimulatedReader | undefined;
  /** The reader is sending. */
  #sender: Sender | null = null;
  #writer: FlashWriter | null = null;
  #read: StubRead | null = null;
  #late: number = STATUS.ok;
  #busy = false;
  readonly #waiting: Buffer[] = [];

  constructor(context: LoaderContext, options: StubOptions) {
    this.#context = context;
    this.#upload = new StubUpload(context.ram);
    this.#flash = options.in24Bits ? in24Bits(context.flash) : context.flash;
    this.#options = options;
    context.registers.flashAttached = true;
  }

  frame(content: Buffer): void {
    if (this.#read !== null) {
      this.#read.frame(content);
      return;
    }
    if (this.#busy) {
      if (this.#waiting.length < WAITING_FRAMES) this.#waiting.push(content);
      return;
    }
    const opcode = content[1] ?? 0;
    const request = parseRequest(content);
    if (request === null) {
      this.#respond(opcode, content[0] === 0 ? STATUS.badLength : STATUS.invalidCommand);
      return;
    }
    this.#context.note('stub', opcode, request.payload);
    this.#context.faults.command(opcode);
    if (!this.#context.runs(this)) return;
    if (this.#late !== STATUS.ok) {
      const late = this.#late;
      this.#late = STATUS.ok;
      this.#respond(opcode, late);
      return;
    }
    const lengths = PAYLOAD_BYTES[opcode];
    if (lengths !== undefined && !lengths.includes(request.payload.length)) {
      this.#respond(opcode, STATUS.badLength);
      return;
    }
    const command = this.#commands[opcode];
    if (command === undefined) this.#foreign(request);
    else command(request);
  }

  raw(data: Buffer): boolean {
    this.#sender?.take(data);
    return this.#sender !== null;
  }

  /** A command for a program that was loaded beside the stub. */
  #foreign({ opcode, payload }: Request): void {
    const context = this.#context;
    const handler = handlerOf(context.ram, context.model.family, opcode, context.builtReader());
    if (handler === 'none') this.#respond(opcode, this.#options.unknownStatus);
    else if (handler === 'damaged') this.#respond(opcode, STATUS.badChecksum);
    else if (handler === 'rubbish') context.hang();
    else this.#toReader(handler, opcode, payload);
  }

  #toReader(built: BuiltReader, opcode: number, payload: Buffer): void {
    if (this.#reader?.built !== built)
      this.#reader = new SimulatedReader(this.#context, in24Bits(this.#context.flash), built);
    const outcome = this.#reader.command(opcode, payload, () => (this.#sender = null));
    if (typeof outcome === 'number') {
      this.#respond(opcode, outcome);
      return;
    }
    const { value, body, follow } = outcome;
    this.#respond(opcode, { value, body }, () => {
      if (follow === undefined) return;
      this.#sender = follow();
      this.#sender.start();
    });
  }

  readonly #commands: Readonly<Record<number, (request: Request) => void>> = {
    [OPCODE.sync]: () => this.#sync(),
    [OPCODE.readReg]: ({ opcode, payload }) =>
      this.#respond(opcode, { value: this.#context.registers.read(wordAt(payload, 0)) }),
    [OPCODE.writeReg]: ({ opcode, payload }) => this.#respond(opcode, this.#writeRegisters(payload)),
    [OPCODE.memBegin]: (request) => this.#memBegin(request),
    [OPCODE.memData]: ({ opcode, payload }) => this.#respond(opcode, this.#memData(payload)),
    [OPCODE.memEnd]: (request) => this.#memEnd(request),
    [OPCODE.spiAttach]: ({ opcode }) => this.#respond(opcode),
    [OPCODE.spiSetParams]: ({ opcode }) => this.#respond(opcode),
    [OPCODE.changeBaudRate]: (request) => this.#changeBaudRate(request),
    [OPCODE.flashMd5]: (request) => this.#md5(request),
    [OPCODE.getSecurityInfo]: ({ opcode }) => this.#respond(opcode, this.#securityInfo()),
    [OPCODE.readFlash]: (request) => this.#readFlash(request),
    [OPCODE.eraseFlash]: ({ opcode }) => this.#eraseFlash(opcode),
    [OPCODE.eraseRegion]: (request) => this.#eraseRegion(request),
    [OPCODE.flashBegin]: (request) => this.#begin(request, false),
    [OPCODE.flashDeflBegin]: (request) => this.#begin(request, true),
    [OPCODE.flashData]: (request) => this.#flashData(request, false),
    [OPCODE.flashDeflData]: (request) => this.#flashData(request, true),
    [OPCODE.flashEnd]: (request) => this.#flashEnd(request),
    [OPCODE.flashDeflEnd]: (request) => this.#flashEnd(request),
    // The current stub takes this without a word and stays.
    [OPCODE.runUserCode]: () => this.#leaveIfLegacy(),
  };

  #sync(): void {
    for (let reply = 0; reply < SYNC_REPLIES; reply++) this.#respond(OPCODE.sync);
  }

  #writeRegisters(payload: Buffer): number {
    if (payload.length === 0 || payload.length % 16 !== 0) return STATUS.notEnough;
    for (let word = 0; word < payload.length / 4; word += 4) {
      this.#context.registers.write(wordAt(payload, word), wordAt(payload, word + 1), wordAt(payload, word + 2));
    }
    return STATUS.ok;
  }

  #memData(payload: Buffer): number {
    if (payload.length < 16) return STATUS.notEnough;
    if (wordAt(payload, 0) !== payload.length - 16) return STATUS.tooMuch;
    return this.#upload.data(payload.subarray(16)) ? STATUS.ok : STATUS.tooMuch;
  }

  #memBegin({ opcode, payload }: Request): void {
    this.#upload.begin(wordAt(payload, 0), wordAt(payload, 3));
    this.#respond(opcode);
  }

  #memEnd({ opcode, payload }: Request): void {
    this.#respond(opcode);
    if (wordAt(payload, 0) !== 0) return;
    if (this.#upload.complete(wordAt(payload, 1))) this.#context.startStub();
    else this.#context.hang();
  }

  #changeBaudRate({ opcode, payload }: Request): void {
    this.#respond(opcode);
    this.#context.setBaudRate(wordAt(payload, 0));
  }

  #securityInfo(): Outcome {
    return this.#context.model.securityInfoBytes === 0
      ? STATUS.notImplemented
      : { body: securityInfoOf(this.#context) };
  }

  #md5({ opcode, payload }: Request): void {
    const [address, length] = [wordAt(payload, 0), wordAt(payload, 1)];
    const { speeds, faults } = this.#context;
    this.#afterWork(digestMs(speeds, length), () => {
      const digest = this.#flash.md5(address, length);
      const wrong = faults.active('wrong-digest');
      this.#respond(opcode, { body: wrong !== undefined && wrong.of !== 'read' ? spoiled(digest) : digest });
    });
  }

  #readFlash({ opcode, payload }: Request): void {
    const [address, length, packetBytes] = [wordAt(payload, 0), wordAt(payload, 1), wordAt(payload, 2)];
    if (packetBytes > MAX_PACKET_BYTES) {
      this.#respond(opcode);
      this.#late = STATUS.badLength;
      return;
    }
    const { legacy } = this.#options;
    const read = new StubRead(this.#context, this.#flash, { address, length, packetBytes, legacy }, () => {
      this.#read = null;
    });
    this.#read = read;
    this.#respond(opcode, STATUS.ok, () => read.start());
  }

  #eraseFlash(opcode: number): void {
    const { flash, speeds } = this.#context;
    flash.eraseChip();
    this.#afterWork(eraseMs(speeds, 0, flash.sizeBytes), () => this.#respond(opcode));
  }

  #eraseRegion({ opcode, payload }: Request): void {
    const [address, length] = [wordAt(payload, 0), wordAt(payload, 1)];
    if (address % SECTOR_BYTES !== 0 || length % SECTOR_BYTES !== 0) {
      this.#respond(opcode, STATUS.badLength);
      return;
    }
    this.#flash.erase(address, length);
    this.#afterWork(eraseMs(this.#context.speeds, address, length), () => this.#respond(opcode));
  }

  #begin({ opcode, payload }: Request, compressed: boolean): void {
    this.#writer = createFlashWriter(this.#context, this.#flash, {
      sizeBytes: wordAt(payload, 0),
      blockBytes: wordAt(payload, 2),
      address: wordAt(payload, 3),
      compressed,
      eraseAtOnce: false,
    });
    this.#respond(opcode);
  }

  /** Responds first, writes then: the host sends the next block meanwhile. */
  #flashData({ opcode, payload, checksum }: Request, compressed: boolean): void {
    const writer = this.#writer;
    const problem = this.#dataProblem(payload, checksum, compressed);
    this.#respond(opcode, problem);
    if (problem !== STATUS.ok || writer === null) return;
    const written = writer.write(payload.subarray(16), wordAt(payload, 1));
    this.#late = written.problem === null ? STATUS.ok : STATUS.inflate;
    this.#afterWork(written.workMs, () => undefined);
  }

  #dataProblem(payload: Buffer, checksum: number, compressed: boolean): number {
    if (payload.length < 16) return compressed ? STATUS.badLength : STATUS.notEnough;
    if (this.#writer === null) return STATUS.notInFlashMode;
    if (compressed && this.#writer.remaining === 0) return STATUS.tooMuch;
    if (wordAt(payload, 0) !== payload.length - 16) return STATUS.tooMuch;
    return checksumOf(payload.subarray(16)) === checksum ? STATUS.ok : STATUS.badChecksum;
  }

  #flashEnd({ opcode, payload }: Request): void {
    const writer = this.#writer;
    if (writer === null || writer.remaining !== 0) {
      this.#respond(opcode, writer === null ? STATUS.notInFlashMode : STATUS.badLength);
      return;
    }
    this.#writer = null;
    this.#respond(opcode);
    // The current stub does not reboot, whatever is asked (command_handler.c: "TODO: Implement reboot").
    if (wordAt(payload, 0) === 0) this.#leaveIfLegacy();
  }

  #leaveIfLegacy(): void {
    if (this.#options.legacy) this.#context.runApp();
  }

  #afterWork(delayMs: number, work: () => void): void {
    this.#busy = true;
    this.#context.after(delayMs, () => {
      this.#busy = false;
      work();
      // Each may begin work of its own; the others then wait again, in order.
      for (const next of this.#waiting.splice(0)) this.frame(next);
    });
  }

  #respond(opcode: number, outcome: Outcome = STATUS.ok, sent?: () => void): void {
    const { value = 0, body = Buffer.alloc(0) } = typeof outcome === 'number' ? {} : outcome;
    const status = Buffer.alloc(2);
    status.writeUInt16BE(typeof outcome === 'number' ? outcome : STATUS.ok);
    this.#context.send(responseOf(opcode, value, body, status), sent);
  }
}
