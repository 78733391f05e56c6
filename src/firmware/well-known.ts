/**
 * Well-known firmware by the version text that it carries, for apps without (or with a meaningless) app description.
 * Each text is one that the firmware's own source composes at build time; where it is missing the answer is null.
 */

export interface KnownFirmware {
  readonly name: string;
  /** Null where the firmware is certain but its version is not. */
  readonly version: string | null;
}

/**
 * ESPHome logs it at start: https://github.com/esphome/esphome/blob/2024.6.0/esphome/core/application.cpp
 * MicroPython's banner: https://github.com/micropython/micropython/blob/v1.22.0/py/mpconfig.h
 */
const PATTERNS: readonly { name: string; version: RegExp; also?: RegExp }[] = [
  { name: 'ESPHome', version: /ESPHome version (\d{1,4}\.\d{1,3}\.\d{1,3}[\w.-]{0,16}) compiled on/i },
  { name: 'MicroPython', version: /MicroPython (v\d{1,2}\.\d{1,3}[\w.+-]{0,32}) on \d{4}-\d{2}-\d{2}/ },
  {
    // NODE_VERSION: https://github.com/nodemcu/nodemcu-firmware/blob/release/app/include/user_version.h
    // "NodeMCU 1.0" is the name of a board, so three numbers and its Lua are asked for.
    name: 'NodeMCU',
    version: /NodeMCU (\d{1,2}\.\d{1,2}\.\d{1,2}(?:\.\d{1,4})?)(?![\d.])/,
    also: /Lua 5\.\d/,
  },
  {
    // What AT+GMR answers, `AT version:1.7.4.0(May 11 2020 19:13:04)`; older builds keep the number apart from the title.
    // "ESP8266 AT Instruction Set", Espressif, section AT+GMR.
    name: 'ESP-AT',
    version: /(?:AT version:\s?|\0)(\d{1,2}\.\d{1,2}\.\d{1,2}\.\d{1,2})\([A-Z][a-z]{2} [ \d]\d \d{4} \d\d:\d\d:\d\d\)/,
    also: /AT version:/,
  },
];

/**
 * Firmware without a version text that can be told from others, by texts that its sources have in one piece: the answer
 * has no version. Each of `all`, and of `some` at least two.
 */
const MARKS: readonly { name: string; all: readonly RegExp[]; some: readonly RegExp[] }[] = [
  {
    // Commands are one text, the same in every language: `kTasmotaCommands` of
    // https://github.com/arendst/Tasmota/blob/v14.0.0/tasmota/tasmota_support/support_command.ino and its predecessors.
    // VERSION_MARKER of tasmota.ino serves as well, where it is in flash in one piece: compilers for RISC-V load it as
    // constants. ESPHome carries it, too (to be accepted as an update by Tasmota), and is told by its version text.
    name: 'Tasmota',
    all: [/\|Upgrade\|Upload\|OtaUrl\||\xa5\x5a\xa5\x5a\xff\xff\xff\xff\x5a\xa5\x5a\xa5/, /Tasmota/],
    some: [],
  },
  {
    // Releases before 0.15.2, whose version is a text of its own with nothing beside it. Default name and password of
    // its access point, formats of /win, Art-Net reply and MQTT client:
    // https://github.com/wled/WLED/blob/v0.14.4/wled00/wled.h, xml.cpp, e131.cpp
    // Others only speak of WLED (ESPHome has a light effect of that name), hence two of them.
    name: 'WLED',
    all: [],
    some: [/WLED-AP\0/, /wled1234\0/, /WLED %s \((?:build )?%d\)/, /OK - WLED v%s/, /WLED-%\*s/],
  },
  {
    // With SDK 3 only the format of AT+GMR's answer is left (`AT version:%d.%d...`), its numbers are in the code.
    name: 'ESP-AT',
    all: [/AT version:\s?%/, /CWJAP/, /CIPSTART/],
    some: [],
  },
];
const MARKS_WANTED = 2;

/** Recognizes the firmware in a part of the flash (its app, or what is mapped of it). */
export function recognizeFirmware(bytes: Buffer): KnownFirmware | null {
  const wled = wledVersion(bytes);
  if (wled !== null) return { name: 'WLED', version: wled };
  const text = bytes.toString('latin1');
  for (const { name, version, also } of PATTERNS) {
    const found = version.exec(text)?.[1];
    if (found !== undefined && (also === undefined || also.test(text))) return { name, version: found };
  }
  const has = (mark: RegExp) => mark.test(text);
  const known = MARKS.find(
    ({ all, some }) => all.every(has) && (some.length === 0 || some.filter(has).length >= MARKS_WANTED),
  );
  return known === undefined ? null : { name: known.name, version: null };
}

/** WLED_CUSTOM_DESC_MAGIC, `WSTS`, as it lies in flash. */
const WLED_MAGIC = Buffer.from('STSW');
const WLED_TEXT_BYTES = 48;
/** Magic, structure's version, WLED's version, name of the release, hash of that name. */
const WLED_DESCRIPTION_BYTES = 4 + 4 + 2 * WLED_TEXT_BYTES + 4;

/**
 * The version in WLED's description of itself (`wled_metadata_t`, since 0.15.2), which it proves by a hash, or null.
 * https://github.com/wled/WLED/blob/v16.0.1/wled00/wled_metadata.cpp
 */
function wledVersion(bytes: Buffer): string | null {
  for (let at = bytes.indexOf(WLED_MAGIC); at >= 0; at = bytes.indexOf(WLED_MAGIC, at + 1)) {
    const description = bytes.subarray(at, at + WLED_DESCRIPTION_BYTES);
    if (description.length < WLED_DESCRIPTION_BYTES) return null;
    const release = untilNul(description.subarray(8 + WLED_TEXT_BYTES, 8 + 2 * WLED_TEXT_BYTES));
    if (djb2(release) !== description.readUInt32LE(8 + 2 * WLED_TEXT_BYTES)) continue;
    const version = untilNul(description.subarray(8, 8 + WLED_TEXT_BYTES)).toString('latin1');
    if (/^[\w.+-]{1,47}$/.test(version)) return version;
  }
  return null;
}

function untilNul(bytes: Buffer): Buffer {
  const end = bytes.indexOf(0);
  return end < 0 ? bytes : bytes.subarray(0, end);
}

/** D. J. Bernstein's hash, as WLED computes it: 5381, then times 33 plus the character. */
function djb2(text: Buffer): number {
  let hash = 5381;
  for (const character of text) hash = (Math.imul(hash, 33) + character) >>> 0;
  return hash;
}

/**
 * What system_get_sdk_version() of ESP8266's SDK gives, `2.2.2-dev(38a443e)`: a version with the commit in brackets, at the
 * end of a string. Null where none, or more than one, is found.
 */
export function recognizeEsp8266Sdk(bytes: Buffer): string | null {
  const found = bytes
    .toString('latin1')
    .matchAll(/(?<![\w.])(\d(?:\.\d{1,2}){2,3}(?:-[a-z]{2,8})?\([0-9a-f]{7,10}\))(?=\0)/g);
  const versions = new Set([...found].map(([, version]) => version ?? ''));
  const [version] = versions;
  return versions.size === 1 && version !== undefined ? version : null;
}
