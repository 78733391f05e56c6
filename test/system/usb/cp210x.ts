/** CP2102. Requests: Silicon Labs AN571; what the driver expects: drivers/usb/serial/cp210x.c of Linux. */

import { bulk, EMPTY, type SerialFunctionFactory } from './function.ts';

const REQUEST = { setModemLines: 0x07, getModemLines: 0x08, getCommStatus: 0x10, getFlow: 0x14 } as const;
const SET_BAUD_RATE = 0x1e;
const GET_LINE_CONTROL = 0x04;
const VENDOR_SPECIFIC = 0xff;
const GET_PART_NUMBER = 0x370b;
const CP2102 = 2;
const EIGHT_DATA_BITS = 0x0800;
const TO_HOST = 0x80;

export const cp210x: SerialFunctionFactory = (side, { product, serialNumber }) => {
  let dtr = false;
  let rts = false;
  return {
    identity: {
      vendorId: 0x10c4,
      productId: 0xea60,
      deviceVersion: 0x0100,
      class: [0, 0, 0],
      manufacturer: 'Silicon Labs',
      product: product ?? 'CP2102 USB to UART Bridge Controller',
      serialNumber: serialNumber ?? '0001',
    },
    interfaces: [{ class: [0xff, 0, 0], endpoints: [bulk(0x81, 64), bulk(0x01, 64)] }],
    bulkIn: 0x81,
    bulkOut: 0x01,
    control({ requestType, request, value, length, data }) {
      switch (request) {
        case REQUEST.setModemLines:
          // Bits 8 and 9 say which of the two lines the request is about.
          if ((value & 0x100) !== 0) dtr = (value & 1) !== 0;
          if ((value & 0x200) !== 0) rts = (value & 2) !== 0;
          side.setControlLines({ dtr, rts });
          return EMPTY;
        case SET_BAUD_RATE:
          side.setBaudRate(data.readUInt32LE(0));
          return EMPTY;
        case REQUEST.getModemLines:
          // CTS, DSR and DCD asserted.
          return Buffer.from([0xb0 | (dtr ? 1 : 0) | (rts ? 2 : 0)]);
        case REQUEST.getCommStatus:
          return Buffer.alloc(19);
        case REQUEST.getFlow:
          return Buffer.alloc(16);
        case GET_LINE_CONTROL:
          return Buffer.from([EIGHT_DATA_BITS & 0xff, EIGHT_DATA_BITS >> 8]);
        case VENDOR_SPECIFIC:
          return value === GET_PART_NUMBER ? Buffer.from([CP2102]) : undefined;
        default:
          // Enable, purge, set characters, line control, ...: all accepted.
          return (requestType & TO_HOST) !== 0 ? Buffer.alloc(length) : EMPTY;
      }
    },
  };
};
