/**
 * Espressif's USB-Serial/JTAG as the kernel sees it: CDC-ACM and a vendor interface for JTAG. Requests: USB CDC PSTN
 * subclass 1.2, section 6.3; descriptors: `lsusb -v` of an ESP32-C3, by the "USB Serial/JTAG Controller" chapter of its manual.
 */

import { bulk, EMPTY, interrupt, type SerialFunctionFactory } from './function.ts';

const REQUEST = { setLineCoding: 0x20, getLineCoding: 0x21, setControlLineState: 0x22 } as const;

/** Control and data interface belong together. */
const ASSOCIATION = Buffer.from([8, 11, 0, 2, 2, 2, 0, 0]);
const CDC = Buffer.concat([
  Buffer.from([5, 0x24, 0x00, 0x10, 0x01]), // header: CDC 1.10
  Buffer.from([5, 0x24, 0x01, 0x03, 0x01]), // call management
  Buffer.from([4, 0x24, 0x02, 0x06]), // abstract control: line coding and state, break
  Buffer.from([5, 0x24, 0x06, 0x00, 0x01]), // union of interfaces 0 and 1
]);

export const cdcAcm: SerialFunctionFactory = (side, { product, serialNumber }) => {
  let coding: Buffer = Buffer.from([0x80, 0x25, 0, 0, 0, 0, 8]);
  return {
    identity: {
      vendorId: 0x303a,
      productId: 0x1001,
      deviceVersion: 0x0101,
      class: [0xef, 2, 1],
      manufacturer: 'Espressif',
      product: product ?? 'USB JTAG/serial debug unit',
      serialNumber: serialNumber ?? '00:00:00:00:00:01',
    },
    interfaces: [
      { class: [2, 2, 0], endpoints: [interrupt(0x82, 64, 0)], before: ASSOCIATION, behind: CDC },
      { class: [10, 0, 0], endpoints: [bulk(0x01, 64, 1), bulk(0x81, 64, 1)] },
      { class: [0xff, 0xff, 1], endpoints: [bulk(0x02, 64, 2), bulk(0x83, 64, 2)] },
    ],
    bulkIn: 0x81,
    bulkOut: 0x01,
    control({ request, value, data }) {
      switch (request) {
        case REQUEST.setLineCoding:
          coding = Buffer.from(data);
          side.setBaudRate(data.readUInt32LE(0));
          return EMPTY;
        case REQUEST.getLineCoding:
          return coding;
        case REQUEST.setControlLineState:
          side.setControlLines({ dtr: (value & 1) !== 0, rts: (value & 2) !== 0 });
          return EMPTY;
        default:
          // SEND_BREAK among others: the peripheral has none.
          return undefined;
      }
    },
  };
};
