/** Layouts of the SPI controller that the flash hangs on (SPI1, later SPIMEM1). */

import type { SpiRegisters } from './chip.ts';

/** SPI_USR in SPI_CMD_REG: the same bit on every chip. */
const START = 1 << 18;

/**
 * ESP8266: bit lengths are fields of USER1.
 * Source: esp-serial-flasher src/esp_targets.c, commit 272c1ff4fb16b2429fe6db575a7633826fddb50f.
 */
export function esp8266Spi(base: number): SpiRegisters {
  return {
    base,
    cmd: 0x00,
    user: 0x1c,
    user1: 0x20,
    user2: 0x24,
    w0: 0x40,
    mosiLength: null,
    misoLength: null,
    startBit: START,
  };
}

/** ESP32. Source: ESP32 Technical Reference Manual, SPI register summary; esp_targets.c as above. */
export function esp32Spi(base: number): SpiRegisters {
  return {
    base,
    cmd: 0x00,
    user: 0x1c,
    user1: 0x20,
    user2: 0x24,
    w0: 0x80,
    mosiLength: 0x28,
    misoLength: 0x2c,
    startBit: START,
  };
}

/** ESP32-S2 and everything later. Source: esp_targets.c as above. */
export function modernSpi(base: number): SpiRegisters {
  return {
    base,
    cmd: 0x00,
    user: 0x18,
    user1: 0x1c,
    user2: 0x20,
    w0: 0x58,
    mosiLength: 0x24,
    misoLength: 0x28,
    startBit: START,
  };
}
