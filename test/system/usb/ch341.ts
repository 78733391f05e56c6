/** CH340. There is no public description: requests as drivers/usb/serial/ch341.c of Linux sends them. */

import { bulk, EMPTY, interrupt, type SerialFunctionFactory } from './function.ts';

const REQUEST = { readVersion: 0x5f, readRegister: 0x95, writeRegister: 0x9a, modemControl: 0xa4 } as const;
const VERSION = 0x31;
/** Divisor and prescaler, written together. */
const BAUD_REGISTERS = 0x1312;
const CLOCK_HZ = 48_000_000;
const DTR = 0x20;
const RTS = 0x40;
const TO_HOST = 0x80;

export const ch341: SerialFunctionFactory = (side, { product }) => {
  const registers = new Map<number, number>();
  return {
    // CH340 has no serial number: only its place tells two of them apart.
    identity: {
      vendorId: 0x1a86,
      productId: 0x7523,
      deviceVersion: 0x0264,
      class: [0xff, 0, 0],
      product: product ?? 'USB Serial',
    },
    interfaces: [{ class: [0xff, 1, 2], endpoints: [bulk(0x82, 32), bulk(0x02, 32), interrupt(0x81, 8)] }],
    bulkIn: 0x82,
    bulkOut: 0x02,
    control({ requestType, request, value, index, length }) {
      switch (request) {
        case REQUEST.readVersion:
          return Buffer.from([VERSION, 0]);
        case REQUEST.readRegister:
          return Buffer.from([registers.get(value & 0xff) ?? 0xff, registers.get(value >> 8) ?? 0xee]);
        case REQUEST.writeRegister:
          registers.set(value & 0xff, index & 0xff).set(value >> 8, index >> 8);
          if (value === BAUD_REGISTERS) side.setBaudRate(baudRateOf(index));
          return EMPTY;
        case REQUEST.modemControl:
          // Both bits are low-active.
          side.setControlLines({ dtr: (value & DTR) === 0, rts: (value & RTS) === 0 });
          return EMPTY;
        default:
          return (requestType & TO_HOST) !== 0 ? Buffer.alloc(length) : EMPTY;
      }
    },
  };
};

/** The inverse of ch341_get_divisor(). */
function baudRateOf(registers: number): number {
  const prescaler = registers & 3;
  const factor = (registers >> 2) & 1;
  const divisor = 0x100 - (registers >> 8);
  return Math.round(CLOCK_HZ / ((1 << (12 - 3 * prescaler - factor)) * divisor));
}
