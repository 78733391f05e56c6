/** From the table of the newer families to what the simulator runs on. */

import { Fields, NEWER_ROM_OPCODES, macBytes } from './model.ts';
import type { ChipIdentity, ChipModel, Family, ResetReason } from './model.ts';
import { newerChipTable } from './newer-table.ts';
import type { Field, NewerChip } from './newer-table.ts';
import { newestChipTable } from './newest-table.ts';

/** As the ROM of the C3 leaves it (test/traces); taken for the others too. */
const USR_AFTER_RESET = 0x800000c0;

export const newerChips: readonly ChipModel[] = [...newerChipTable, ...newestChipTable].map(modelOf);

function modelOf(chip: NewerChip): ChipModel {
  return {
    family: chip.family,
    chipId: chip.chipId,
    magic: chip.magic,
    romStatusBytes: 4,
    bootLogBaudRate: 115200,
    securityInfoBytes: chip.securityInfoBytes,
    apiVersion: chip.apiVersion,
    romOpcodes: NEWER_ROM_OPCODES,
    beginHasEncryptWord: true,
    bootOffset: chip.bootOffset,
    spi: {
      base: chip.spiBase,
      usr: 0x18,
      usr1: 0x1c,
      usr2: 0x20,
      mosiLength: 0x24,
      misoLength: 0x28,
      w0: 0x58,
      usrAfterReset: USR_AFTER_RESET,
    },
    uartDivider: chip.uartDivider === null ? null : { address: chip.uartDivider, multiplier: 1 },
    romAssumesCrystalMHz: chip.romAssumesCrystalMHz,
    console: chip.console,
    watchdog: chip.watchdog,
    forceDownload: chip.forceDownload,
    bootLog: {
      banner: chip.rom.banner,
      download: (reason) => `rst:${cause(reason)},boot:${chip.rom.downloadBoot}\r\nwaiting for download\r\n`,
      app: (reason) =>
        `rst:${cause(reason)},boot:${chip.rom.appBoot} (SPI_FAST_FLASH_BOOT)\r\nSPIWP:0xee\r\nmode:DIO, clock div:1\r\n` +
        'load:0x3fcd5820,len:0x171c\r\nload:0x403cc710,len:0x974\r\nload:0x403ce710,len:0x2f68\r\nentry 0x403cc710\r\n',
      noApp: 'invalid header: 0xffffffff\r\n',
      downloadDisabled: `rst:0x3 (RTC_SW_SYS_RST),boot:${chip.rom.downloadBoot}\r\nDownload boot modes disabled\r\n`,
    },
    defaults: {
      revision: defaultRevision(chip.family),
      packageVersion: 0,
      crystalMHz: chip.crystalMHz,
    },
    registers: (identity) => registersOf(chip, identity),
  };
}

function registersOf(chip: NewerChip, identity: ChipIdentity): ReadonlyMap<number, number> {
  const info = chip.efuseBase + chip.infoBlock;
  const mac = macBytes(identity.mac);
  const fields = new Fields();
  for (let word = 0; word < 6; word++) fields.set(info + word * 4, 0, 32, 0);
  fields.set(info, 0, 32, mac.readUInt32BE(2)).set(info + 4, 0, 16, mac.readUInt16BE(0));
  if (chip.macExtension !== 0) fields.set(info + 4, 16, 16, chip.macExtension);
  const put = (parts: readonly Field[] | Field | null, value: number) => {
    if (parts === null) return;
    let rest = value;
    for (const [word, shift, width] of isField(parts) ? [parts] : parts) {
      fields.set(info + word * 4, shift, width, rest);
      rest >>= width;
    }
  };
  put(chip.package, identity.packageVersion);
  put(chip.major, identity.revision.major);
  put(chip.minor, identity.revision.minor);
  put(chip.flashCapacity, identity.flashCapacity);
  put(chip.flashVendor, identity.flashVendor);
  put(chip.psramCapacity, identity.psramCapacity);
  put(chip.psramVendor, identity.psramVendor);
  const flag = ([offset, bit]: readonly [number, number], on: boolean) =>
    fields.set(chip.efuseBase + offset, bit, 1, on ? 1 : 0);
  flag(chip.cryptCount, identity.flashEncryption);
  flag(chip.secureBoot, identity.secureBoot);
  flag(chip.disableDownload, identity.downloadDisabled);
  flag(chip.secureDownload, identity.secureDownload);
  for (const [address, word] of chip.others?.(identity) ?? []) fields.set(address, 0, 32, word);
  return fields.words;
}

function isField(parts: readonly Field[] | Field): parts is Field {
  return typeof parts[0] === 'number';
}

function cause(reason: ResetReason): string {
  if (reason === 'watchdog') return '0x10 (RTCWDT_RTC_RST)';
  return reason === 'software' ? '0xc (RTC_SW_CPU_RST)' : '0x1 (POWERON)';
}

function defaultRevision(family: Family): ChipIdentity['revision'] {
  switch (family) {
    case 'esp32c3':
      return { major: 0, minor: 4 };
    case 'esp32s3':
      return { major: 0, minor: 2 };
    case 'esp32c2':
    case 'esp32p4':
      return { major: 1, minor: 0 };
    default:
      return { major: 1, minor: 0 };
  }
}
