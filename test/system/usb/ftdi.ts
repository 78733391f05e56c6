/** FT232R. There is no public description: requests and packets as in drivers/usb/serial/ftdi_sio.{c,h} of Linux. */

import { bulk, EMPTY, type SerialFunctionFactory } from './function.ts';

const REQUEST = { setModemLines: 1, setBaudRate: 3, getModemStatus: 5, getLatency: 10 } as const;
const LATENCY_MS = 16;
/** Each packet to the host begins with modem and line status: CTS and DSR asserted, transmitter empty. */
const STATUS = Buffer.from([0x31, 0x60]);
const PACKET_BYTES = 64;
const DATA_BYTES = PACKET_BYTES - STATUS.length;
const BASE_CLOCK_HZ = 3_000_000;
/** Eighths of the divisor, by the code in bits 14 to 16. */
const EIGHTHS = [0, 4, 2, 1, 3, 5, 6, 7];
const TO_HOST = 0x80;

export const ftdi: SerialFunctionFactory = (side, { product, serialNumber }) => {
  let dtr = false;
  let rts = false;
  return {
    identity: {
      vendorId: 0x0403,
      productId: 0x6001,
      deviceVersion: 0x0600,
      class: [0, 0, 0],
      manufacturer: 'FTDI',
      product: product ?? 'FT232R USB UART',
      serialNumber: serialNumber ?? 'A50285BI',
    },
    interfaces: [{ class: [0xff, 0xff, 0xff], endpoints: [bulk(0x81, PACKET_BYTES), bulk(0x02, PACKET_BYTES)] }],
    bulkIn: 0x81,
    bulkOut: 0x02,
    control({ requestType, request, value, index, length }) {
      switch (request) {
        case REQUEST.setModemLines:
          // The high byte says which of the two lines the request is about.
          if ((value & 0x100) !== 0) dtr = (value & 1) !== 0;
          if ((value & 0x200) !== 0) rts = (value & 2) !== 0;
          side.setControlLines({ dtr, rts });
          return EMPTY;
        case REQUEST.setBaudRate:
          side.setBaudRate(baudRateOf(value | ((index & 1) << 16)));
          return EMPTY;
        case REQUEST.getModemStatus:
          return STATUS;
        case REQUEST.getLatency:
          return Buffer.from([LATENCY_MS]);
        default:
          return (requestType & TO_HOST) !== 0 ? Buffer.alloc(length) : EMPTY;
      }
    },
    packetsFor(waiting, limit) {
      const packets: Buffer[] = [];
      let taken = 0;
      // A packet of less than 64 bytes ends the transfer.
      for (let room = limit; room > STATUS.length && taken < waiting.length; room -= PACKET_BYTES) {
        const data = waiting.subarray(taken, taken + Math.min(DATA_BYTES, room - STATUS.length));
        packets.push(STATUS, data);
        taken += data.length;
        if (data.length < DATA_BYTES) break;
      }
      return { transfer: Buffer.concat(packets), taken };
    },
  };
};

/** The inverse of ftdi_232bm_baud_base_to_divisor(). */
function baudRateOf(divisor: number): number {
  // Two codes stand for what the formula cannot say.
  if (divisor === 0) return BASE_CLOCK_HZ;
  if (divisor === 1) return 2_000_000;
  const eighths = (divisor & 0x3fff) * 8 + (EIGHTHS[(divisor >> 14) & 7] ?? 0);
  return Math.round((BASE_CLOCK_HZ * 8) / eighths);
}
