/**
 * The device's end of usbredir, which QEMU's `usb-redir` speaks: the network protocol by which a USB device elsewhere
 * is plugged into a guest. https://gitlab.freedesktop.org/spice/usbredir, docs/usb-redirection-protocol.md (0.7).
 */

import type { Socket } from 'node:net';
import { answerControl } from './descriptors.ts';
import { EMPTY, type Endpoint, type SerialSide, type UsbFunction } from './function.ts';

const TYPE = {
  hello: 0,
  deviceConnect: 1,
  interfaceInfo: 4,
  endpointInfo: 5,
  setConfiguration: 6,
  getConfiguration: 7,
  configurationStatus: 8,
  setAlternate: 9,
  getAlternate: 10,
  alternateStatus: 11,
  startInterrupt: 15,
  stopInterrupt: 16,
  interruptStatus: 17,
  cancelData: 21,
  control: 100,
  bulk: 101,
  interrupt: 103,
} as const;

const STATUS = { success: 0, cancelled: 1, stall: 4 } as const;
/** What both ends can do: device version in the connect packet, packet sizes of endpoints, long ids and lengths. */
const CAPABILITY = { connectVersion: 1 << 1, packetSizes: 1 << 4, ids64: 1 << 5, lengths32: 1 << 6 } as const;
const CAPABILITIES = Object.values(CAPABILITY).reduce((all, bit) => all | bit, 0);

const HELLO_BYTES = 64;
const BULK_HEADER_BYTES = 10;
const CONTROL_HEADER_BYTES = 10;
const FULL_SPEED = 1;
/** Direction bit of request types and endpoint addresses. */
const TO_HOST = 0x80;
/** Longer than the simulated EN takes to rise. */
const REQUEST_SPACING_MS = 3;
const ENDPOINT_TYPE = { control: 0, bulk: 2, interrupt: 3, none: 255 } as const;
const MAX_ENDPOINTS = 32;

interface WaitingRead {
  readonly id: bigint;
  readonly limitBytes: number;
}

/** Serves `device` on a connection to QEMU. Closing the socket pulls the device out. */
export class UsbRedirPeer {
  readonly #socket: Socket;
  readonly #device: UsbFunction;
  readonly #side: SerialSide;
  /** Transfers of the host that wait for bytes of the device; no bytes is no answer, as on a real bus. */
  readonly #reads: WaitingRead[] = [];
  #waiting: Buffer = EMPTY;
  #input: Buffer = EMPTY;
  #hasIds64 = false;
  #pausing = false;
  #configuration = 0;

  constructor(socket: Socket, device: UsbFunction, side: SerialSide) {
    this.#socket = socket;
    this.#device = device;
    this.#side = side;
    socket.setNoDelay(true);
    socket.on('data', (data) => this.#onData(data));
    socket.on('error', () => undefined);
    const hello = Buffer.alloc(HELLO_BYTES + 4);
    hello.write('espd system tests');
    hello.writeUInt32LE(CAPABILITIES, HELLO_BYTES);
    this.#send(TYPE.hello, 0n, hello);
  }

  /** Bytes from the device's serial side to the host. */
  transmit(data: Buffer): void {
    this.#waiting = this.#waiting.length === 0 ? data : Buffer.concat([this.#waiting, data]);
    this.#serveReads();
  }

  #onData(data: Buffer): void {
    this.#input = this.#input.length === 0 ? data : Buffer.concat([this.#input, data]);
    this.#handlePackets();
  }

  #handlePackets(): void {
    while (!this.#pausing) {
      const headerBytes = this.#hasIds64 ? 16 : 12;
      if (this.#input.length < headerBytes) return;
      const end = headerBytes + this.#input.readUInt32LE(4);
      if (this.#input.length < end) return;
      const packet = this.#input.subarray(0, end);
      this.#input = this.#input.subarray(end);
      const id = this.#hasIds64 ? packet.readBigUInt64LE(8) : BigInt(packet.readUInt32LE(8));
      this.#onPacket(packet.readUInt32LE(0), id, packet.subarray(headerBytes));
    }
  }

  #onPacket(type: number, id: bigint, body: Buffer): void {
    switch (type) {
      case TYPE.hello:
        this.#hasIds64 = (body.readUInt32LE(HELLO_BYTES) & CAPABILITY.ids64) !== 0;
        this.#introduce();
        return;
      case TYPE.setConfiguration:
        this.#configuration = body.readUInt8(0);
        this.#send(TYPE.configurationStatus, id, Buffer.from([STATUS.success, this.#configuration]));
        return;
      case TYPE.getConfiguration:
        this.#send(TYPE.configurationStatus, id, Buffer.from([STATUS.success, this.#configuration]));
        return;
      case TYPE.setAlternate:
        this.#send(TYPE.alternateStatus, id, Buffer.from([STATUS.success, body.readUInt8(0), body.readUInt8(1)]));
        return;
      case TYPE.getAlternate:
        this.#send(TYPE.alternateStatus, id, Buffer.from([STATUS.success, body.readUInt8(0), 0]));
        return;
      case TYPE.startInterrupt:
      case TYPE.stopInterrupt:
        // Accepted; these devices never have anything to report there.
        this.#send(TYPE.interruptStatus, id, Buffer.from([STATUS.success, body.readUInt8(0)]));
        return;
      case TYPE.cancelData:
        this.#cancel(id);
        return;
      case TYPE.control:
        this.#control(id, body);
        return;
      case TYPE.bulk:
        this.#bulk(id, body);
        return;
      case TYPE.interrupt:
        this.#send(TYPE.interrupt, id, body.subarray(0, 4));
        return;
      default:
        // Resets and what answers our own packets need no reply.
        return;
    }
  }

  /** Interfaces and endpoints, then the device itself: with that it is plugged in. */
  #introduce(): void {
    const { identity, interfaces } = this.#device;
    const info = Buffer.alloc(4 + 4 * MAX_ENDPOINTS);
    info.writeUInt32LE(interfaces.length, 0);
    for (const [index, { class: codes }] of interfaces.entries()) {
      info[4 + index] = index;
      for (const [part, code] of codes.entries()) info[4 + (part + 1) * MAX_ENDPOINTS + index] = code;
    }
    this.#send(TYPE.interfaceInfo, 0n, info);
    this.#send(TYPE.endpointInfo, 0n, endpointInfo(interfaces.flatMap(({ endpoints }) => endpoints)));
    const connect = Buffer.alloc(10);
    connect.set([FULL_SPEED, ...identity.class]);
    connect.writeUInt16LE(identity.vendorId, 4);
    connect.writeUInt16LE(identity.productId, 6);
    connect.writeUInt16LE(identity.deviceVersion, 8);
    this.#send(TYPE.deviceConnect, 0n, connect);
  }

  /**
   * When this process was held up, requests wait here that the host had sent with time in between, as the edges of a
   * reset are. A board that saw them in one instant would miss some.
   */
  #pause(): void {
    this.#pausing = true;
    setTimeout(() => {
      this.#pausing = false;
      this.#handlePackets();
    }, REQUEST_SPACING_MS);
  }

  #control(id: bigint, body: Buffer): void {
    const requestType = body.readUInt8(2);
    const isCommand = (requestType & TO_HOST) === 0;
    if (isCommand) this.#pause();
    const length = body.readUInt16LE(8);
    const answer = answerControl(this.#device, {
      requestType,
      request: body.readUInt8(1),
      value: body.readUInt16LE(4),
      index: body.readUInt16LE(6),
      length,
      data: body.subarray(CONTROL_HEADER_BYTES),
    });
    const header = Buffer.from(body.subarray(0, CONTROL_HEADER_BYTES));
    const data = answer?.subarray(0, length) ?? EMPTY;
    header[3] = answer === undefined ? STATUS.stall : STATUS.success;
    header.writeUInt16LE(answer === undefined ? 0 : isCommand ? length : data.length, 8);
    this.#send(TYPE.control, id, isCommand ? header : Buffer.concat([header, data]));
  }

  #bulk(id: bigint, body: Buffer): void {
    const endpoint = body.readUInt8(0);
    const length = body.readUInt16LE(2) | (body.readUInt16LE(8) << 16);
    if (endpoint === this.#device.bulkIn) {
      this.#reads.push({ id, limitBytes: length });
      this.#serveReads();
    } else if ((endpoint & TO_HOST) === 0) {
      const data = Buffer.from(body.subarray(BULK_HEADER_BYTES));
      this.#sendBulk(id, endpoint, STATUS.success, length);
      if (endpoint === this.#device.bulkOut) this.#side.receive(data);
    }
  }

  #serveReads(): void {
    const device = this.#device;
    while (this.#waiting.length > 0) {
      const read = this.#reads.shift();
      if (read === undefined) return;
      const { transfer, taken } = device.packetsFor?.(this.#waiting, read.limitBytes) ?? {
        transfer: this.#waiting.subarray(0, read.limitBytes),
        taken: Math.min(this.#waiting.length, read.limitBytes),
      };
      this.#waiting = this.#waiting.subarray(taken);
      this.#sendBulk(read.id, device.bulkIn, STATUS.success, transfer.length, transfer);
    }
  }

  #cancel(id: bigint): void {
    const index = this.#reads.findIndex((read) => read.id === id);
    if (index < 0) return;
    this.#reads.splice(index, 1);
    this.#sendBulk(id, this.#device.bulkIn, STATUS.cancelled, 0);
  }

  #sendBulk(id: bigint, endpoint: number, status: number, length: number, data: Buffer = EMPTY): void {
    const header = Buffer.alloc(BULK_HEADER_BYTES);
    header[0] = endpoint;
    header[1] = status;
    header.writeUInt16LE(length & 0xffff, 2);
    header.writeUInt16LE(length >>> 16, 8);
    this.#send(TYPE.bulk, id, Buffer.concat([header, data]));
  }

  #send(type: number, id: bigint, body: Buffer): void {
    // The greeting goes out before both ends know that ids can be long.
    const isLong = this.#hasIds64 && type !== TYPE.hello;
    const header = Buffer.alloc(isLong ? 16 : 12);
    header.writeUInt32LE(type, 0);
    header.writeUInt32LE(body.length, 4);
    if (isLong) header.writeBigUInt64LE(id, 8);
    else header.writeUInt32LE(Number(id), 8);
    if (!this.#socket.destroyed) this.#socket.write(Buffer.concat([header, body]));
  }
}

/** Types, intervals, interfaces and packet sizes of all 32 possible endpoints: 0 to 15 out, then 0 to 15 in. */
function endpointInfo(endpoints: readonly Endpoint[]): Buffer {
  const info = Buffer.alloc(MAX_ENDPOINTS * 5);
  info.fill(ENDPOINT_TYPE.none, 0, MAX_ENDPOINTS);
  const set = (index: number, type: number, intervalMs: number, ofInterface: number, maxPacketBytes: number) => {
    info[index] = type;
    info[MAX_ENDPOINTS + index] = intervalMs;
    info[2 * MAX_ENDPOINTS + index] = ofInterface;
    info.writeUInt16LE(maxPacketBytes, 3 * MAX_ENDPOINTS + 2 * index);
  };
  set(0, ENDPOINT_TYPE.control, 0, 0, 64);
  set(16, ENDPOINT_TYPE.control, 0, 0, 64);
  for (const { address, type, maxPacketBytes, interface: ofInterface } of endpoints) {
    const index = ((address & TO_HOST) >> 3) | (address & 0x0f);
    set(index, ENDPOINT_TYPE[type], type === 'interrupt' ? 1 : 0, ofInterface, maxPacketBytes);
  }
  return info;
}
