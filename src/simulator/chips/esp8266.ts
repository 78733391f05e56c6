/** ESP8266EX and ESP8285. Sources: ESP8266 Technical Reference, ESP8266_RTOS_SDK components/esp8266 (esp_efuse, MAC). */

import { ESP8266_ROM_OPCODES, Fields, macBytes } from './model.ts';
import type { ChipModel } from './model.ts';

const EFUSE = 0x3ff00050;

export const esp8266: ChipModel = {
  family: 'esp8266',
  chipId: null,
  magic: 0xfff0c101,
  romStatusBytes: 2,
  bootLogBaudRate: 74880,
  securityInfoBytes: 0,
  apiVersion: 0,
  romOpcodes: ESP8266_ROM_OPCODES,
  beginHasEncryptWord: false,
  bootOffset: 0,
  spi: {
    base: 0x60000200,
    usr: 0x1c,
    usr1: 0x20,
    usr2: 0x24,
    mosiLength: null,
    misoLength: null,
    w0: 0x40,
    usrAfterReset: 0x80000000,
  },
  // The UART runs on the APB clock of twice the crystal.
  uartDivider: { address: 0x60000014, multiplier: 2 },
  romAssumesCrystalMHz: null,
  console: null,
  watchdog: null,
  forceDownload: null,
  bootLog: {
    banner: '\r\n ets Jan  8 2013,',
    download: (reason) => `rst cause:${cause(reason)}, boot mode:(1,6)\r\n\r\n`,
    app: (reason) =>
      `rst cause:${cause(reason)}, boot mode:(3,6)\r\n\r\nload 0x4010f000, len 3460, room 16 \r\ntail 4\r\nchksum 0xcc\r\n` +
      'load 0x3fff20b8, len 40, room 4 \r\ntail 4\r\nchksum 0xc9\r\ncsum 0xc9\r\n',
    noApp: 'ets_main.c 181 \r\n',
    downloadDisabled: '',
  },
  defaults: { revision: { major: 0, minor: 0 }, packageVersion: 0, crystalMHz: 26 },
  registers: (identity) => {
    const mac = macBytes(identity.mac);
    const fields = new Fields();
    // The OUI stands in the fourth word (0x5c); the last byte of the MAC on top of the first word.
    fields.set(EFUSE + 0, 24, 8, mac[5] ?? 0);
    fields.set(EFUSE + 4, 0, 16, mac.readUInt16BE(3)).set(EFUSE + 4, 16, 8, 2);
    fields.set(EFUSE + 8, 0, 32, 0);
    fields.set(EFUSE + 12, 0, 24, mac.readUIntBE(0, 3));
    // ESP8285: flash in the package (bit 4 of the first word, bit 16 of the third).
    if (identity.packageVersion !== 0) fields.set(EFUSE + 0, 4, 1, 1).set(EFUSE + 8, 16, 1, 1);
    return fields.words;
  },
};

function cause(reason: 'power-on' | 'watchdog' | 'software'): number {
  // 2 is the reset pin, which is what a flasher pulls.
  return reason === 'watchdog' ? 4 : reason === 'software' ? 1 : 2;
}
