/** What a USB device is to the bus: descriptors, answers to control requests, and bytes on two bulk endpoints. */

import type { ControlLines } from '../../../src/serial/link.ts';

/** A control request (USB 2.0, table 9-2). */
export interface ControlRequest {
  readonly requestType: number;
  readonly request: number;
  readonly value: number;
  readonly index: number;
  readonly length: number;
  /** What the host sends along; empty for requests that ask. */
  readonly data: Buffer;
}

/** What hangs on the device's serial side: a board, or something that only listens. */
export interface SerialSide {
  receive(data: Buffer): void;
  setControlLines(lines: ControlLines): void;
  setBaudRate(baudRate: number): void;
}

export interface Endpoint {
  /** Bit 7: towards the host. */
  readonly address: number;
  readonly type: 'bulk' | 'interrupt';
  readonly maxPacketBytes: number;
  readonly interface: number;
}

export interface UsbInterface {
  readonly class: readonly [cls: number, subclass: number, protocol: number];
  readonly endpoints: readonly Endpoint[];
  /** Descriptors in front of the interface's own (interface association), and behind it (CDC). */
  readonly before?: Buffer;
  readonly behind?: Buffer;
}

export interface UsbIdentity {
  readonly vendorId: number;
  readonly productId: number;
  /** Binary coded: 0x0264. */
  readonly deviceVersion: number;
  readonly class: readonly [cls: number, subclass: number, protocol: number];
  readonly manufacturer?: string;
  readonly product: string;
  readonly serialNumber?: string;
}

/** One kind of serial device: the part of it that differs from all others. */
export interface UsbFunction {
  readonly identity: UsbIdentity;
  readonly interfaces: readonly UsbInterface[];
  /** Endpoint addresses of the serial data. */
  readonly bulkIn: number;
  readonly bulkOut: number;
  /** Answers a class or vendor request; undefined refuses it (a stall). What answers a command is empty. */
  control(request: ControlRequest): Buffer | undefined;
  /** One transfer to the host out of what is waiting, at most `limit` bytes long; default: just the bytes. */
  packetsFor?(waiting: Buffer, limit: number): { readonly transfer: Buffer; readonly taken: number };
}

export type SerialFunctionFactory = (
  side: SerialSide,
  text: { product?: string; serialNumber?: string },
) => UsbFunction;

export const EMPTY = Buffer.alloc(0);

export function bulk(address: number, maxPacketBytes: number, ofInterface = 0): Endpoint {
  return { address, type: 'bulk', maxPacketBytes, interface: ofInterface };
}

export function interrupt(address: number, maxPacketBytes: number, ofInterface = 0): Endpoint {
  return { address, type: 'interrupt', maxPacketBytes, interface: ofInterface };
}
