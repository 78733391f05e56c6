/**
 * The bootloader in the chip's ROM. Behaviour that no document tells was seen on the ROMs of an ESP32 and an ESP32-C3
 * (test/traces): what it does not know it answers with the last opcode that it did, eight times after SYNC, and the
 * value field of a response keeps what the last READ_REG or SYNC put there. Flash is reached with 24 address bits
 * (`flash-24-bits.ts`), whatever size SPI_SET_PARAMS has told.
 */

import { OPCODE } from './chips/model.ts';
import { in24Bits } from './flash-24-bits.ts';
import type { FlashArray } from './flash.ts';
import type { FlashWriter } from './flash-writer.ts';
import { createFlashWriter } from './flash-writer.ts';
import { StubUpload } from './stub-upload.ts';
import { checksumOf, digestMs, parseRequest, readMs, responseOf, securityInfoOf, spoiled, wordAt } from './loader.ts';
import type { Loader, LoaderContext, Request } from './loader.ts';

const SYNC_VALUE = 0x20120707;
const SYNC_REPLIES = 8;
const READ_BLOCK_BYTES = 64;

/** Reasons of the ROM (Serial Protocol, "ROM Loader Errors"). */
const REASON = { invalid: 0x05, failed: 0x06, checksum: 0x07, readLength: 0x0a, read: 0x09, inflate: 0x0b } as const;

/** Refused in secure download mode (seen on the C3; Serial Protocol, "Supported by ROM in secure download mode"). */
const REFUSED_IN_SECURE_DOWNLOAD: ReadonlySet<number> = new Set([
  OPCODE.readReg,
  OPCODE.writeReg,
  OPCODE.memBegin,
  OPCODE.memData,
  OPCODE.memEnd,
  OPCODE.readFlashSlow,
  OPCODE.flashMd5,
]);

/** Payload lengths that a command must have at least; the ROM reads on into what the buffer held before. */
const PAYLOAD_BYTES: Readonly<Record<number, number>> = {
  [OPCODE.flashBegin]: 16,
  [OPCODE.flashData]: 16,
  [OPCODE.flashEnd]: 4,
  [OPCODE.memBegin]: 16,
  [OPCODE.memEnd]: 8,
  [OPCODE.memData]: 16,
  [OPCODE.sync]: 36,
  [OPCODE.writeReg]: 16,
  [OPCODE.spiSetParams]: 24,
  [OPCODE.spiAttach]: 4,
  [OPCODE.readFlashSlow]: 8,
  [OPCODE.changeBaudRate]: 8,
  [OPCODE.flashDeflBegin]: 16,
  [OPCODE.flashDeflData]: 16,
  [OPCODE.flashDeflEnd]: 4,
  [OPCODE.flashMd5]: 16,
};

/** Where the flash ends for the ROM until SPI_SET_PARAMS says otherwise. */
const DEFAULT_FLASH_BYTES = 4 * 1024 * 1024;

export function createRom(context: LoaderContext): Loader {
  return new Rom(context);
}

class Rom implements Loader {
  readonly #context: LoaderContext;
  readonly #flash: FlashArray;
  readonly #upload: StubUpload;
  #writer: FlashWriter | null = null;
  #flashBytes = DEFAULT_FLASH_BYTES;
  #value = 0;
  /** What an unknown command is answered with: the last valid one, as often as that one was. */
  #last = { opcode: 0, replies: 1 };
  readonly #waiting: Buffer[] = [];
  #busy = false;

  constructor(context: LoaderContext) {
    this.#context = context;
    this.#upload = new StubUpload(context.ram);
    this.#flash = in24Bits(context.flash);
  }

  frame(content: Buffer): void {
    if (this.#busy) {
      this.#waiting.push(content);
      return;
    }
    const request = parseRequest(content);
    if (request === null) {
      this.#refuse();
      return;
    }
    this.#context.note('rom', request.opcode, request.payload);
    this.#context.faults.command(request.opcode);
    if (!this.#context.runs(this)) return;
    this.#carryOut(request);
  }

  #carryOut(request: Request): void {
    const { opcode, payload } = request;
    const { model, identity } = this.#context;
    if (!model.romOpcodes.has(opcode) || (identity.secureDownload && REFUSED_IN_SECURE_DOWNLOAD.has(opcode))) {
      this.#refuse();
      return;
    }
    if (opcode === OPCODE.readReg && payload.length < 4) {
      this.#context.hang(); // seen with 2 bytes: silence until the reset
      return;
    }
    if (payload.length < (PAYLOAD_BYTES[opcode] ?? 0)) {
      this.#refuse();
      return;
    }
    this.#last = { opcode, replies: opcode === OPCODE.sync ? SYNC_REPLIES : 1 };
    this.#commands[opcode]?.(request);
  }

  readonly #commands: Readonly<Record<number, (request: Request) => void>> = {
    [OPCODE.sync]: ({ payload }) => this.#sync(payload),
    [OPCODE.readReg]: ({ payload }) => this.#readRegister(wordAt(payload, 0)),
    [OPCODE.writeReg]: ({ payload }) => this.#writeRegister(payload),
    [OPCODE.memBegin]: ({ payload }) => this.#memBegin(wordAt(payload, 0), wordAt(payload, 3)),
    [OPCODE.memData]: (request) => this.#memData(request),
    [OPCODE.memEnd]: ({ payload }) => this.#memEnd(wordAt(payload, 0), wordAt(payload, 1)),
    [OPCODE.spiAttach]: () => this.#spiAttach(),
    [OPCODE.spiSetParams]: ({ payload }) => this.#spiSetParams(wordAt(payload, 1)),
    [OPCODE.readFlashSlow]: ({ payload }) => this.#readFlash(wordAt(payload, 0), wordAt(payload, 1)),
    [OPCODE.flashMd5]: ({ payload }) => this.#digest(wordAt(payload, 0), wordAt(payload, 1)),
    [OPCODE.changeBaudRate]: ({ payload }) => this.#changeBaudRate(wordAt(payload, 0)),
    [OPCODE.getSecurityInfo]: () => this.#answer(securityInfoOf(this.#context)),
    [OPCODE.flashBegin]: ({ payload }) => this.#flashBegin(payload, false),
    [OPCODE.flashDeflBegin]: ({ payload }) => this.#flashBegin(payload, true),
    [OPCODE.flashData]: (request) => this.#flashData(request),
    [OPCODE.flashDeflData]: (request) => this.#flashData(request),
    [OPCODE.flashEnd]: ({ payload }) => this.#flashEnd(wordAt(payload, 0)),
    [OPCODE.flashDeflEnd]: ({ payload }) => this.#flashEnd(wordAt(payload, 0)),
  };

  #sync(payload: Buffer): void {
    if (payload.readUInt32LE(0) !== SYNC_VALUE) {
      this.#fail(REASON.invalid);
      return;
    }
    this.#value = SYNC_VALUE;
    for (let reply = 0; reply < SYNC_REPLIES; reply++) this.#answer();
  }

  #readRegister(address: number): void {
    this.#value = this.#context.registers.read(address);
    this.#answer();
  }

  #writeRegister(payload: Buffer): void {
    this.#context.registers.write(wordAt(payload, 0), wordAt(payload, 1), wordAt(payload, 2));
    this.#answer();
  }

  #memBegin(sizeBytes: number, address: number): void {
    this.#upload.begin(sizeBytes, address);
    this.#answer();
  }

  #memData({ payload, checksum }: Request): void {
    const data = payload.subarray(16);
    if (data.length !== wordAt(payload, 0)) this.#fail(REASON.invalid);
    else if (checksumOf(data) !== checksum) this.#fail(REASON.checksum);
    else if (!this.#upload.data(data)) this.#fail(REASON.failed);
    else this.#answer();
  }

  #spiAttach(): void {
    this.#context.registers.flashAttached = true;
    this.#answer();
  }

  #spiSetParams(sizeBytes: number): void {
    this.#flashBytes = sizeBytes;
    this.#answer();
  }

  #changeBaudRate(baudRate: number): void {
    this.#answer();
    const { model, identity } = this.#context;
    const assumed = model.romAssumesCrystalMHz ?? identity.crystalMHz;
    this.#context.setBaudRate((baudRate * identity.crystalMHz) / assumed);
  }

  #memEnd(noEntry: number, entry: number): void {
    this.#answer();
    if (noEntry !== 0) return;
    const uploaded = this.#upload.complete(entry);
    // Half a program, or a jump beside it: the CPU runs into rubbish.
    if (!uploaded || this.#context.faults.active('no-stub') !== undefined) this.#context.hang();
    else this.#context.startStub();
  }

  #readFlash(address: number, length: number): void {
    const { registers, speeds } = this.#context;
    if (length > READ_BLOCK_BYTES) {
      this.#fail(REASON.readLength);
      return;
    }
    if (!registers.flashAttached || address + length > this.#flashBytes) {
      this.#fail(REASON.read);
      return;
    }
    this.#afterWork(readMs(speeds, length), () => this.#answer(this.#flash.read(address, READ_BLOCK_BYTES)));
  }

  #digest(address: number, length: number): void {
    const { registers, speeds, faults } = this.#context;
    if (!registers.flashAttached || address + length > this.#flashBytes) {
      this.#fail(REASON.failed);
      return;
    }
    this.#afterWork(digestMs(speeds, length), () => {
      const digest = this.#flash.md5(address, length);
      const wrong = faults.active('wrong-digest');
      const sent = wrong !== undefined && wrong.of !== 'read' ? spoiled(digest) : digest;
      this.#answer(Buffer.from(sent.toString('hex'), 'latin1'));
    });
  }

  #flashBegin(payload: Buffer, compressed: boolean): void {
    const { registers, model } = this.#context;
    if (model.beginHasEncryptWord && payload.length < 20) {
      this.#fail(REASON.invalid);
      return;
    }
    // The ESP8266 has no SPI_ATTACH: FLASH_BEGIN attaches.
    if (model.family === 'esp8266') registers.flashAttached = true;
    if (!registers.flashAttached) {
      this.#fail(REASON.failed);
      return;
    }
    this.#writer = createFlashWriter(this.#context, this.#flash, {
      sizeBytes: wordAt(payload, 0),
      blockBytes: wordAt(payload, 2),
      address: wordAt(payload, 3),
      compressed,
      eraseAtOnce: true,
    });
    this.#afterWork(this.#writer.eraseAll(), () => this.#answer());
  }

  #flashData({ payload, checksum }: Request): void {
    const writer = this.#writer;
    const data = payload.subarray(16);
    if (writer === null || data.length !== wordAt(payload, 0)) {
      this.#fail(REASON.invalid);
      return;
    }
    if (checksumOf(data) !== checksum) {
      this.#fail(REASON.checksum);
      return;
    }
    const written = writer.write(data, wordAt(payload, 1));
    if (written.problem !== null) {
      this.#fail(REASON.inflate);
      return;
    }
    this.#afterWork(written.workMs, () => this.#answer());
  }

  #flashEnd(stay: number): void {
    this.#writer = null;
    this.#answer();
    if (stay === 0) this.#context.runApp();
  }

  /** Carries on after `delayMs`; requests that come in meanwhile wait in the UART. */
  #afterWork(delayMs: number, work: () => void): void {
    this.#busy = true;
    this.#context.after(delayMs, () => {
      this.#busy = false;
      work();
      // Each may begin work of its own; the others then wait again, in order.
      for (const next of this.#waiting.splice(0)) this.frame(next);
    });
  }

  #answer(body: Uint8Array = Buffer.alloc(0)): void {
    this.#send(body, 0);
  }

  #fail(reason: number): void {
    this.#send(Buffer.alloc(0), reason);
  }

  #send(body: Uint8Array, reason: number): void {
    const status = Buffer.alloc(this.#context.model.romStatusBytes);
    if (reason !== 0) status.set([1, reason]);
    this.#context.send(responseOf(this.#last.opcode, this.#value, body, status));
  }

  #refuse(): void {
    for (let reply = 0; reply < this.#last.replies; reply++) this.#fail(REASON.invalid);
  }
}
