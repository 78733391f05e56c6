/** The chip values against registers that ROM code of real chips gave to esptool (test/traces). */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chipByFamily, chipByImageId, chipByMagicWord } from '../../../src/esp/chips/index.ts';
import { registersOfTrace, securityInfoOfTrace } from './support.ts';

const esp32 = chipByFamily('esp32');
const esp32c3 = chipByFamily('esp32c3');

for (const name of [
  'esp32-flash-id-nostub',
  'esp32-flash-id-stub',
  'esp32-readmac-nostub',
  'esp32-second-connect-stub-running',
]) {
  test(`ESP32: ${name}`, async () => {
    const registers = registersOfTrace(name);
    assert.equal(chipByMagicWord(await registers.read(0x40001000)), esp32);
    assert.equal(await esp32.readMac(registers), '24:0a:c4:de:ad:01');
    assert.deepEqual(await esp32.describe(registers), {
      name: 'ESP32-D0WDQ6',
      revision: { major: 0, minor: 0 },
      features: ['Wi-Fi', 'BT', 'Dual Core + LP Core', 'Coding Scheme None'],
    });
    assert.equal(await esp32.readCrystalMHz(registers, 115200), 40);
    assert.equal(await esp32.readUsbConnection(registers), 'none');
    assert.deepEqual(registers.writes, []);
  });
}

for (const name of ['esp32-flashcrypt-read', 'esp32-flashcrypt-secboot-get-security']) {
  test(`ESP32 v3 with eFuses of security: ${name}`, async () => {
    const registers = registersOfTrace(name);
    assert.equal(await esp32.readMac(registers), '24:0a:c4:00:01:10');
    assert.deepEqual(await esp32.describe(registers), {
      name: 'ESP32-S0WDQ6',
      revision: { major: 3, minor: 0 },
      features: ['Wi-Fi', 'BT', 'Single Core + LP Core', 'Coding Scheme None'],
    });
    // esptool did not ask for FLASH_CRYPT_CNT here: bit 20 of the first word, as the eFuses were burnt.
    registers.words.set(0x3ff5a000, 1 << 20);
    assert.deepEqual(await esp32.readSecurity(registers, null), {
      flashEncryption: true,
      secureBoot: true,
      secureDownload: false,
    });
  });
}

for (const name of ['esp32c3-flash-id-nostub', 'esp32c3-flash-id-stub', 'esp32c3-readmac-nostub']) {
  test(`ESP32-C3: ${name}`, async () => {
    const registers = registersOfTrace(name);
    const info = securityInfoOfTrace(name);
    assert.equal(chipByImageId(info.chipId ?? -1), esp32c3);
    assert.equal(info.apiVersion, 3);
    assert.equal(await esp32c3.readMac(registers), '7c:df:a1:be:ef:02');
    // esptool asks for the flash's vendor only where a capacity is burnt; here neither is.
    registers.words.set(0x60008854, 0);
    const description = await esp32c3.describe(registers);
    assert.deepEqual(description, {
      name: 'ESP32-C3 (QFN32)',
      revision: { major: 0, minor: 3 },
      features: ['Wi-Fi', 'BT 5 (LE)', 'Single Core', '160MHz'],
    });
    assert.equal(await esp32c3.readCrystalMHz(registers, 115200), 40);
    const security = await esp32c3.readSecurity(registers, info);
    assert.deepEqual(security, { flashEncryption: false, secureBoot: false, secureDownload: false });
    assert.deepEqual(esp32c3.stubStart(description, security), { kind: 'entry' });
    assert.deepEqual(registers.writes, []);
  });
}

test('ESP32-C3 in secure download mode is recognised without a register', async () => {
  const info = securityInfoOfTrace('esp32c3-secdl-flash-id-stub');
  const noRegister = {
    read: () => Promise.reject(new Error('refused')),
    write: () => Promise.reject(new Error('refused')),
  };
  assert.deepEqual(await esp32c3.readSecurity(noRegister, info), {
    flashEncryption: false,
    secureBoot: false,
    secureDownload: true,
  });
});
