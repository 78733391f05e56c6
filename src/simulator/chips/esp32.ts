/** ESP32. Sources: ESP32 Technical Reference Manual (eFuse controller), esp-idf components/efuse/esp32/esp_efuse_table.csv. */

import { ESP32_ROM_OPCODES, Fields, macBytes } from './model.ts';
import type { ChipModel } from './model.ts';

const BLOCK0 = 0x3ff5a000;
const APB_CTRL_DATE = 0x3ff6607c;
const GPIO_STRAP = 0x3ff44038;

export const esp32: ChipModel = {
  family: 'esp32',
  chipId: 0,
  magic: 0x00f01d83,
  romStatusBytes: 4,
  bootLogBaudRate: 115200,
  securityInfoBytes: 0,
  apiVersion: 0,
  romOpcodes: ESP32_ROM_OPCODES,
  beginHasEncryptWord: false,
  bootOffset: 0x1000,
  spi: {
    base: 0x3ff42000,
    usr: 0x1c,
    usr1: 0x20,
    usr2: 0x24,
    mosiLength: 0x28,
    misoLength: 0x2c,
    w0: 0x80,
    usrAfterReset: 0x80000000,
  },
  uartDivider: { address: 0x3ff40014, multiplier: 1 },
  romAssumesCrystalMHz: null,
  console: null,
  watchdog: null,
  forceDownload: null,
  bootLog: {
    banner: 'ets Jul 29 2019 12:21:46\r\n\r\n',
    download: (reason) =>
      `rst:${cause(reason)},boot:0x3 (DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2))\r\nwaiting for download\r\n`,
    app: (reason) =>
      `rst:${cause(reason)},boot:0x13 (SPI_FAST_FLASH_BOOT)\r\nconfigsip: 0, SPIWP:0xee\r\n` +
      'clk_drv:0x00,q_drv:0x00,d_drv:0x00,cs0_drv:0x00,hd_drv:0x00,wp_drv:0x00\r\nmode:DIO, clock div:2\r\n' +
      'load:0x3fff0030,len:7168\r\nload:0x40078000,len:15612\r\nentry 0x4008064c\r\n',
    noApp: 'invalid header: 0xffffffff\r\n',
    downloadDisabled: 'Download mode is disabled. Restart with GPIO0 high.\r\n',
  },
  defaults: { revision: { major: 3, minor: 0 }, packageVersion: 1, crystalMHz: 40 },
  registers: (identity) => {
    const mac = macBytes(identity.mac);
    const { major, minor } = identity.revision;
    const fields = new Fields();
    fields.set(BLOCK0 + 0x00, 20, 7, identity.flashEncryption ? 1 : 0).set(BLOCK0, 27, 1, +identity.downloadDisabled);
    fields.set(BLOCK0 + 0x04, 0, 32, mac.readUInt32BE(2));
    fields.set(BLOCK0 + 0x08, 0, 16, mac.readUInt16BE(0)).set(BLOCK0 + 0x08, 16, 8, crc8(mac));
    // Major revision 1, 2, 3 burns one more of three bits each: CHIP_VER_REV1, CHIP_VER_REV2, and the APB date's top bit.
    fields.set(BLOCK0 + 0x0c, 15, 1, major >= 1 ? 1 : 0);
    fields.set(BLOCK0 + 0x0c, 9, 3, identity.packageVersion & 7).set(BLOCK0 + 0x0c, 2, 1, identity.packageVersion >> 3);
    fields.set(BLOCK0 + 0x10, 0, 32, 0);
    fields.set(BLOCK0 + 0x14, 20, 1, major >= 2 ? 1 : 0).set(BLOCK0 + 0x14, 24, 2, minor);
    fields.set(APB_CTRL_DATE, 0, 31, 0x16042000).set(APB_CTRL_DATE, 31, 1, major >= 3 ? 1 : 0);
    // FLASH_CRYPT_CONFIG is 0xf where encryption was set up by the bootloader; ABS_DONE_1 is secure boot V2.
    fields.set(BLOCK0 + 0x14, 28, 4, identity.flashEncryption ? 0xf : 0);
    fields.set(BLOCK0 + 0x18, 5, 1, +identity.secureBoot);
    fields.set(GPIO_STRAP, 0, 8, 0x0f);
    return fields.words;
  },
};

/** CRC that eFuse block 0 keeps of the MAC: CRC-8/MAXIM (esp-idf components/esp_rom esp_crc8). */
function crc8(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >> 1) ^ 0x8c : crc >> 1;
  }
  return crc;
}

function cause(reason: 'power-on' | 'watchdog' | 'software'): string {
  if (reason === 'watchdog') return '0x10 (RTCWDT_RTC_RESET)';
  return reason === 'software' ? '0xc (SW_CPU_RESET)' : '0x1 (POWERON_RESET)';
}
