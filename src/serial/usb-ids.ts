/**
 * USB ids: what speaks for an ESP board, and which gadgets with the same bridges are none. Facts only; adding one is
 * one line. How they are weighed is `rules.ts`'s matter.
 */

import type { UsbFacts } from './link.ts';
import type { PortMatcher } from './ports.ts';

/** A default rule: its matcher, and what such a device is. */
export interface NamedMatcher {
  readonly match: PortMatcher;
  readonly what: string;
}

/** Espressif's vendor id (https://github.com/espressif/usb-pids, README). */
export const ESPRESSIF_VENDOR = '303a';

/**
 * Product ids that the chip itself shows, from ROM or silicon: these are ESP chips without doubt.
 *
 * Espressif's other product ids are apps: 4xxx is TinyUSB's default (0x4000 plus a bit for each class: esp_tinyusb,
 * usb_descriptors.c), 7xxx and 8xxx are CircuitPython, Arduino and finished products (usb-pids, allocated-pids*.txt),
 * 1002 is a USB bridge made of an ESP32-S2/S3 with another chip behind it (espressif/esp-usb-bridge,
 * main/Kconfig.projbuild). There the app decides what DTR and RTS do, as with the unknown chip behind a USB bridge,
 * and so they are treated like one: tried when somebody plugs them in, left alone when they were there before.
 */
export const ESP_PRODUCTS: ReadonlyMap<string, string> = new Map([
  // ESP-IDF programming guide, "USB Serial/JTAG Controller Console"; also the id of esptool's USB_JTAG_SERIAL_PID.
  ['1001', 'an ESP chip with USB-Serial/JTAG'],
  // ROM download mode over USB-OTG: ESP-IDF programming guide, "Device Firmware Upgrade via USB" (dfu-util's listing).
  ['0002', 'an ESP32-S2 on its own USB'],
  ['0009', 'an ESP32-S3 in download mode over USB-OTG'],
  // The chip id of GET_SECURITY_INFO stands there on all of them: esptool/loader.py (`uses_usb_otg`), commit bb72741.
  ['0012', 'an ESP32-P4 in download mode over USB-OTG'],
  ['0020', 'an ESP32-S31 in download mode over USB-OTG'],
]);

/**
 * USB-serial bridges found on ESP boards, by `vendor:product`: the makers' default ids, as in the drivers of the Linux
 * kernel (drivers/usb/serial/cp210x.c, ch341.c, ftdi_sio_ids.h, pl2303.h) and, for WCH's CDC-ACM bridges, in WCH's own
 * (https://github.com/WCHSoftGroup/ch343ser_linux).
 */
export const BRIDGES: ReadonlyMap<string, string> = new Map([
  ['10c4:ea60', 'CP2102/CP2104'],
  ['10c4:ea63', 'CP210x'],
  ['10c4:ea71', 'CP2108'],
  ['1a86:7522', 'CH340K'],
  ['1a86:7523', 'CH340'],
  ['1a86:5523', 'CH341'],
  ['1a86:55d2', 'CH342'],
  ['1a86:55d3', 'CH343'],
  ['1a86:55d4', 'CH9102'],
  ['1a86:55d5', 'CH344'],
  ['0403:6001', 'FT232R'],
  ['0403:6010', 'FT2232'],
  ['0403:6011', 'FT4232'],
  ['0403:6014', 'FT232H'],
  ['0403:6015', 'FT231X'],
  ['067b:2303', 'PL2303'],
  ['067b:23a3', 'PL2303GC'],
  ['067b:23b3', 'PL2303GB'],
  ['067b:23c3', 'PL2303GT'],
  ['067b:23d3', 'PL2303GL'],
  ['067b:23e3', 'PL2303GE'],
  ['067b:23f3', 'PL2303GS'],
]);

/**
 * Highest baud rates of bridges, by `vendor:product`, where every chip with that id has the same limit or the table
 * names the highest of them. The driver says more where it can be asked (a CP2102 stops at 1 Mbaud, a CP2102N with the
 * same id at 3).
 */
const BRIDGE_BAUD_RATES: ReadonlyMap<string, number> = new Map([
  // WCH, data sheets of CH340 and CH341: "50bps to 2Mbps".
  ['1a86:7522', 2_000_000],
  ['1a86:7523', 2_000_000],
  ['1a86:5523', 2_000_000],
  // Linux, drivers/usb/serial/cp210x.c, cp210x_init_max_speed: CP2102N; CP2105 (its better half); CP2108.
  ['10c4:ea60', 3_000_000],
  ['10c4:ea70', 2_000_000],
  ['10c4:ea71', 2_000_000],
  // FTDI, data sheets of FT232R and FT231X: "300 baud to 3 Mbaud".
  ['0403:6001', 3_000_000],
  ['0403:6015', 3_000_000],
]);

/** Infinity where nothing certain is known. */
export function bridgeMaxBaudRate(usb: UsbFacts | null): number {
  return usb === null ? Infinity : (BRIDGE_BAUD_RATES.get(`${usb.vendorId}:${usb.productId}`) ?? Infinity);
}

/** Known by the texts that the gadget's maker wrote into the bridge, product or manufacturer. Kept narrow: a word inside another must not hide a board. */
function byText(what: string, ...patterns: string[]): NamedMatcher[] {
  return patterns.flatMap((pattern) => [
    { what, match: { product: pattern } },
    { what, match: { manufacturer: pattern } },
  ]);
}

/** `10c4:8a2a`, or `2341` for all products of a vendor. */
function byId(what: string, ...ids: string[]): NamedMatcher[] {
  return ids.map((id): NamedMatcher => {
    const [vendorId, productId] = id.split(':');
    const match: PortMatcher = productId === undefined ? { vendorId } : { vendorId, productId };
    return { what, match };
  });
}

/**
 * Well-known gadgets that are no ESP boards, or that must not be reset for a backup though an ESP chip is in them.
 * Vendors whose ids no bridge shares stand here for the reason that people read; their ports would not be touched
 * anyway.
 */
export const NOT_ESP: readonly NamedMatcher[] = [
  // Home Assistant core, homeassistant/generated/usb.py (zha, homeassistant_sky_connect, homeassistant_connect_zbt2,
  // zwave_js); zigbee-herdsman, src/adapter/adapterDiscovery.ts. ZBT-2 and ZWA-2 have Espressif's ids (4001, 831a).
  ...byText('a Zigbee or Thread radio', '*zigbee*', '*zbt-1*', '*zbt-2*', '*skyconnect*', 'nabu casa*'),
  ...byText('a Zigbee radio', 'itead*', '*sonoff*', '*cc2652*', '*cc2531*', '*cc2538*', '*cc1352*', '*conbee*'),
  ...byText('a Zigbee radio', '*raspbee*', 'dresden elektronik*', '*slzb-*', 'smlight*', '*tubeszb*', '*zigstar*'),
  ...byText('a Zigbee radio', '*zigate*', '*electrolama*', '*slae.sh*', '*elelabs*', '*popp*zb*', '*bv 2010/10*'),
  ...byId('a Zigbee radio', '1cf1:0030', '0451:16a8', '0451:16c8', '0451:bef3', '10c4:8b34', '303a:831a'),
  ...byId('a Nordic board with Zephyr', '2fe3'),
  // 0658:0200 is every Z-Wave stick with Sigma Designs' own USB; the others are zwave_js and husbzb in the same list.
  ...byId('a Z-Wave stick', '0658'),
  ...byId('a Zigbee and Z-Wave stick', '10c4:8a2a'),
  ...byText('a Z-Wave stick', '*z-wave*', '*zwave*', '*zwa-2*', '*aeotec*', '*z-stick*', '*zooz*', '*hubz*', 'uzb*'),
  // Home automation radios that announce themselves: Homematic (eQ-3), EnOcean, RFXCOM, Jeelink, CUL, Insteon, Velbus.
  ...byText('a home automation radio', '*enocean*', '*rfxcom*', '*rfxtrx*', '*homematic*', '*hmip*', 'eq-3*'),
  ...byText('a home automation radio', '*jeelink*', '*busware*', '*signalduino*', '*rfplayer*', '*rflink*'),
  ...byId('a home automation interface', '10bf', '10cf'),

  // Yaesu's transceivers (FT-991A, FTDX10, FT-710, ...) and others have a CP2105 with its maker's texts and ids, and may be
  // set to transmit or to key Morse while DTR or RTS is raised (FT-991A operating manual, menus PC KEYING and RPTT SELECT).
  // On ESP boards it is rare: who has one allows it in the config.
  ...byId('a CP2105, which is in radios that transmit when DTR or RTS is raised', '10c4:ea70'),

  // Vendor ids from the USB ID Repository (http://www.linux-usb.org/usb.ids) unless another source is named.
  // Prusa: Prusa-Firmware-Buddy, usbd_desc.c (2c99).
  ...byId('a 3D printer', '2c99', '1d50:6029', '27b1'),
  ...byText('a 3D printer', '*prusa*', '*creality*', '*marlin*', '*ultimaker*', '*makerbot*', '*printrboard*'),
  ...byText('a 3D printer', '*anycubic*', '*lulzbot*', '*klipper*', '*bigtreetech*', 'duet*'),
  ...byText('a printer or till', '*printer*', '*epson*', '*zebra tech*', '*star micronics*'),
  ...byId('an Arduino', '2341', '2a03', '1b4f'),
  ...byText('an Arduino', 'arduino*'),
  ...byId('a Teensy or V-USB gadget', '16c0'),
  ...byId('a Raspberry Pi microcontroller', '2e8a'),

  // gpsd.rules of gpsd: u-blox, and receivers on bridges that say what they are.
  ...byId('a GPS receiver', '1546', '091e'),
  ...byText('a GPS receiver', '*u-blox*', '*gps*', '*gnss*', '*garmin*', '*navilock*', '*globalsat*', '*holux*'),
  // Vendors for which ModemManager has plugins (src/plugins: huawei, quectel, sierra, zte, simtech, fibocom, telit,
  // cinterion, ericsson, novatel, option).
  ...byId('a modem', '12d1', '2c7c', '1199', '19d2', '1e0e', '2cb7', '1bc7', '1e2d', '0bdb', '1410', '0af0'),
  ...byText('a modem', '*modem*', '*huawei*', '*quectel*', '*sierra wireless*', '*simcom*'),

  // Volkszaehler's optical heads (FT232R and CP2102 with a text of their own), and smart meter adapters of
  // homeassistant/generated/usb.py (rainforest_raven).
  ...byId('a smart meter reader', '0403:8a28', '04b4:0003'),
  ...byText(
    'a smart meter reader',
    '*lesekopf*',
    '*optokopf*',
    '*optical*probe*',
    'p1 *',
    '*p1 cable*',
    '*p1 converter*',
    '*smart*meter*',
  ),
  ...byText('a smart meter reader', '*rainforest*', '*dsmr*', '*m-bus*', 'mbus*'),
  ...byText('a solar inverter or battery cable', '*victron*', 've direct*', '*ve.direct*', '*vedirect*'),
  // Network UPS Tools, drivers/*.c: serial UPS units behind USB.
  ...byId('a UPS', '051d', '0463', '0764', '0665', '06da'),
  ...byText('a UPS', '* ups*', 'ups *', '*american power*', '*cyberpower*'),
  ...byText('an RS-485 or CAN adapter', '*rs485*', '*rs-485*', '*rs422*', '*rs-422*', '*modbus*', '*canable*'),

  // Probes: OpenOCD, contrib/60-openocd.rules. Their serial port leads to whatever is being debugged.
  ...byId('a debug probe', '0483:374b', '0483:374e', '0483:374f', '0483:3753', '0483:3752', '1366', '0d28', '1fc9'),
  ...byId('a debug probe', '1d50:6018', '15ba'),
  ...byText(
    'a debug probe',
    '*j-link*',
    '*jlink*',
    '*st-link*',
    '*stlink*',
    '*cmsis-dap*',
    '*black magic*',
    '*daplink*',
  ),
  ...byText('a debug probe', '*digilent*', '*xds110*', '*jtag cable*', '*tigard*', '*olimex*openocd*'),
  // Flipper Zero: flipperzero-firmware, targets/f7/furi_hal/furi_hal_usb_cdc.c (0483:5740, ST's virtual COM port).
  ...byId('a Flipper Zero or other STM32 gadget', '0483:5740'),
  ...byText('a Flipper Zero', '*flipper*'),
  ...byText('radio or measuring equipment', '*hackrf*', '*proxmark*', '*nanovna*', '*tinysa*', '*bus pirate*'),
  ...byText('radio or measuring equipment', 'icom*', '*kenwood*', '*yaesu*', '*rigol*', '*fluke*'),
  ...byText('a CNC or plotter', '*grbl*', '*axidraw*', '*eibotboard*'),
  ...byId('a plotter', '04d8:fd92'),
];
