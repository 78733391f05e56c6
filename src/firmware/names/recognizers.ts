/**
 * What each well-known firmware carries in its image: the texts that prove which one it is, and those that say its version.
 * Every text is one that the firmware's own sources compose; texts that survive its versions are preferred. A firmware
 * that merely speaks of another one (a web page, a client, a light effect) must not pass, so a name takes two texts, or
 * one that nobody else has a reason to write.
 */

import type { Findings, VersionMark, Wanted } from './scan.ts';
import { WLED_MAGIC, wledDescribedVersion } from './wled-description.ts';

/** Proven by any `wanted` of the marks. */
export interface Sign {
  readonly marks: readonly string[];
  readonly wanted: number;
}

export type VersionSource =
  /** `proves`: a version that is read there proves the firmware, too, if these other marks are there (or none is needed). */
  | { readonly from: 'text'; readonly mark: VersionMark; readonly proves?: readonly string[] }
  /**
   * The only text of its own that has the form. It counts because the firmware always has one of that form: where there is
   * no second one, this is it. Group 1 is the version. ESP-IDF's own version does not count as one of them.
   */
  | { readonly from: 'standalone'; readonly form: RegExp }
  /** The version of the app description (esp_app_desc_t), if project and version have these forms. */
  | { readonly from: 'description'; readonly project: RegExp; readonly form: RegExp };

export interface Recognizer {
  readonly name: string;
  readonly signs: readonly Sign[];
  /** In order of trust: the first that says anything decides, and two answers of one are none. */
  readonly versions: readonly VersionSource[];
  /** Names of others whose signs it may carry, too. */
  readonly alsoBears?: readonly string[];
}

/** A mark whose version is group 1 of `form`, which begins at the mark. */
function mark(text: string, form: RegExp): VersionMark {
  return { text, read: (window) => form.exec(window)?.[1] };
}

/**
 * ESPHome logs its version at start (unless the build leaves logs out) and tells it to clients of its API.
 * https://github.com/esphome/esphome/blob/33fdbbe30c4d9643300483bf2dfd85d992e2cf86/esphome/core/application.cpp#L100
 * https://github.com/esphome/esphome/blob/33fdbbe30c4d9643300483bf2dfd85d992e2cf86/esphome/components/api/api_connection.cpp#L1433
 * Builds with ESP-IDF have the node's name as project and ESPHome's version as that of the project.
 * https://github.com/esphome/esphome/blob/33fdbbe30c4d9643300483bf2dfd85d992e2cf86/esphome/components/esp32/__init__.py#L706
 */
const ESPHOME: Recognizer = {
  name: 'ESPHome',
  signs: [{ marks: ['\0_esphomelib\0', '\0esphome.ota\0', 'esphome::api::'], wanted: 2 }],
  versions: [
    {
      from: 'text',
      mark: mark('ESPHome version ', /^ESPHome version (\d{1,4}\.\d{1,3}\.\d{1,3}[\w.-]{0,16}) compiled on/),
      proves: [],
    },
    {
      // Before 1.15.
      from: 'text',
      mark: mark('esphome version ', /^esphome version (\d{1,4}\.\d{1,3}\.\d{1,3}[\w.-]{0,16}) compiled on/),
      proves: [],
    },
    {
      from: 'text',
      mark: mark(' (esphome v', /^ \(esphome v(\d{1,4}\.\d{1,3}\.\d{1,3}[\w.-]{0,16})\)\0/),
      proves: [],
    },
    { from: 'description', project: /./, form: /^\d{4}\.\d{1,2}\.\d{1,2}[\w.-]*$/ },
  ],
  // To be accepted as an update by Tasmota on ESP8266:
  // https://github.com/esphome/esphome/blob/33fdbbe30c4d9643300483bf2dfd85d992e2cf86/esphome/components/esp8266/core.cpp#L46
  alsoBears: ['Tasmota'],
};

/**
 * Banner of the REPL, and `platform.platform()`, whose number lacks the commit; both are in builds for every port.
 * https://github.com/micropython/micropython/blob/1c3c201149f37fe8d81246191b3127bb198d6306/py/mpconfig.h#L2281
 * https://github.com/micropython/micropython/blob/1c3c201149f37fe8d81246191b3127bb198d6306/extmod/modplatform.c#L39
 */
const MICROPYTHON: Recognizer = {
  name: 'MicroPython',
  signs: [],
  versions: [
    {
      from: 'text',
      mark: mark('MicroPython v', /^MicroPython (v\d{1,2}\.\d{1,3}[\w.+-]{0,48}) on \d{4}-\d{2}-\d{2}/),
      proves: [],
    },
    {
      from: 'text',
      mark: mark('MicroPython-', /^MicroPython-(\d{1,2}\.\d{1,3}\.\d{1,3}(?:-preview)?)-[\w.-]{1,48}-with-/),
      proves: [],
    },
  ],
};

/** Banner of the REPL: https://github.com/adafruit/circuitpython/blob/9.1.0/py/mpconfig.h (MICROPY_BANNER_NAME_AND_VERSION). */
const CIRCUITPYTHON: Recognizer = {
  name: 'CircuitPython',
  signs: [],
  versions: [
    {
      from: 'text',
      mark: mark(
        'Adafruit CircuitPython ',
        /^Adafruit CircuitPython (\d{1,2}\.\d{1,2}\.\d{1,2}[\w.+-]{0,32}) on \d{4}-\d{2}-\d{2}/,
      ),
      proves: [],
    },
  ],
};

/**
 * Banner: `NODE_VERSION build DATE powered by Lua 5.1.4 on SDK ...`. "NodeMCU 1.0" is the name of a board, so three numbers
 * and its Lua are asked for. Builds of nodemcu-build.com replace the version with `NodeMCU custom build by frightanic.com`.
 * https://github.com/nodemcu/nodemcu-firmware/blob/36cbf9f017d356319a6369e299765eedff191154/app/include/user_version.h#L15
 * https://github.com/nodemcu/nodemcu-firmware/blob/36cbf9f017d356319a6369e299765eedff191154/app/lua53/lua.c#L112
 */
const NODEMCU: Recognizer = {
  name: 'NodeMCU',
  signs: [{ marks: ['NodeMCU custom build by ', ' powered by Lua 5.'], wanted: 2 }],
  versions: [
    {
      from: 'text',
      mark: mark('NodeMCU ', /^NodeMCU (\d{1,2}\.\d{1,2}\.\d{1,2}(?:\.\d{1,4})?)(?![\d.])/),
      proves: ['Lua 5.'],
    },
  ],
};

/**
 * What AT+GMR answers: `AT version:1.7.4.0(May 11 2020 19:13:04)` in one piece in old builds, its number apart from the
 * title in older ones, its numbers in the code since SDK 3, where `Bin version(Wroom 02):1.7.6` is left.
 * "ESP8266 AT Instruction Set", Espressif, section AT+GMR; images in bin/at of
 * https://github.com/espressif/ESP8266_NONOS_SDK/tree/7b5b35da98ad9ee2de7afc63277d4933027ae91c/bin/at
 * On ESP-IDF the project is `esp-at`, and its version that of its repository.
 * https://github.com/espressif/esp-at/blob/b49e4b986584c48476d663a5b1e29e437c88c10c/CMakeLists.txt#L144
 * Commands stand in a table, each a string of its own: a client of such a modem would have `AT+` before them.
 */
const ESP_AT: Recognizer = {
  name: 'ESP-AT',
  signs: [{ marks: ['AT version:', '\0+CWJAP', '\0+CIPSTART'], wanted: 3 }],
  versions: [
    {
      from: 'text',
      mark: mark(
        'AT version:',
        /^AT version:\s?(\d{1,2}(?:\.\d{1,2}){3})\([A-Z][a-z]{2} [ \d]\d \d{4} \d\d:\d\d:\d\d\)/,
      ),
      proves: [],
    },
    { from: 'standalone', form: /^(\d{1,2}(?:\.\d{1,2}){3})\([A-Z][a-z]{2} [ \d]\d \d{4} \d\d:\d\d:\d\d\)$/ },
    { from: 'text', mark: mark('Bin version(', /^Bin version\([\w -]{1,24}\):(\d{1,2}(?:\.\d{1,2}){2,3})\0/) },
    { from: 'description', project: /^esp-at$/i, form: /^v?\d{1,2}(?:\.\d{1,2}){2,3}[\w.+-]*$/ },
  ],
};

/**
 * Commands are one text, the same in every language: `kTasmotaCommands` of
 * https://github.com/arendst/Tasmota/blob/v14.0.0/tasmota/tasmota_support/support_command.ino and its predecessors.
 * VERSION_MARKER of tasmota.ino serves as well, where it is in flash in one piece: compilers for RISC-V load it as
 * constants. The version is in no text: see tasmota.ts.
 */
const TASMOTA: Recognizer = {
  name: 'Tasmota',
  signs: [
    { marks: ['|Upgrade|Upload|OtaUrl|', 'Tasmota'], wanted: 2 },
    { marks: ['\xa5\x5a\xa5\x5a\xff\xff\xff\xff\x5a\xa5\x5a\xa5', 'Tasmota'], wanted: 2 },
  ],
  versions: [],
};

const WLED_VERSION = String.raw`\d{1,2}\.\d{1,2}\.\d{1,2}(?:-[\w.]{1,16})?`;
/**
 * Default name and password of its access point, formats of /win, Art-Net reply and MQTT client:
 * https://github.com/wled/WLED/blob/v0.14.4/wled00/wled.h, xml.cpp, e131.cpp
 * Others only speak of WLED (ESPHome has a light effect of that name), hence two of them.
 *
 * Since 0.15.2 it describes itself. Before, `versionString` (and since 0.15.0 the name of the release before it) follows
 * `apPass[65]` where the compiler keeps the order of wled.h; elsewhere (RISC-V) it is still a text of its own.
 */
const WLED: Recognizer = {
  name: 'WLED',
  signs: [
    {
      marks: ['WLED-AP\0', 'wled1234\0', 'WLED %s (%d)', 'WLED %s (build %d)', 'OK - WLED v%s', 'WLED-%*s'],
      wanted: 2,
    },
  ],
  versions: [
    { from: 'text', mark: { text: WLED_MAGIC, read: wledDescribedVersion }, proves: [] },
    {
      from: 'text',
      mark: mark('wled1234', new RegExp(String.raw`^wled1234\0{57}(?:[A-Za-z][\w.-]{0,46}\0)?(${WLED_VERSION})\0`)),
    },
    { from: 'standalone', form: /^(0\.\d{1,2}\.\d{1,2}(?:-[\w.]{1,16})?)$/ },
  ],
};

/**
 * Name in the list of nodes, default name of the unit, source of style sheets; and the name of its own file, which the build
 * makes of date and environment. `mega-20240822` is how releases are tagged. Builds before 2018 have no such name.
 * https://github.com/letscontrolit/ESPEasy/blob/f9a2fd4c3230a34612556f406535649e6e3dc56d/src/src/DataTypes/NodeTypeID.cpp#L8
 * https://github.com/letscontrolit/ESPEasy/blob/f9a2fd4c3230a34612556f406535649e6e3dc56d/tools/pio/generate-compiletime-defines.py#L31
 */
const ESPEASY: Recognizer = {
  name: 'ESPEasy',
  signs: [
    {
      marks: [
        '\0ESP Easy Mega\0',
        '\0ESP_Easy\0',
        'ESP Easy Mega: ',
        'gh/letscontrolit/ESPEasy@',
        '\0ESP_Easy_mega_',
        '\0ESP_Easy_mega-',
      ],
      wanted: 2,
    },
  ],
  versions: [
    {
      from: 'text',
      mark: {
        text: '\0ESP_Easy_mega',
        read: (window) => {
          const date = /^\0ESP_Easy_mega[_-](20\d{6})_[\w.-]{1,80}\0/.exec(window)?.[1];
          return date === undefined ? undefined : `mega-${date}`;
        },
      },
    },
  ],
};

/**
 * Topics of the first generation's MQTT, methods of the second one's RPC (each a string of its own in the firmware, where a
 * client has the path `/rpc/` before it), and the maker's servers.
 * https://shelly-api-docs.shelly.cloud/gen1/#mqtt-support
 * https://shelly-api-docs.shelly.cloud/gen2/ComponentsAndServices/Shelly
 * `fw` of /shelly is the build's id in Mongoose OS: date, time, version. The system has one, too, without the `v`.
 * https://shelly-api-docs.shelly.cloud/gen1/#shelly
 */
const SHELLY: Recognizer = {
  name: 'Shelly',
  signs: [
    { marks: ['\0shellies/%s/', '\0shellies/announce\0', 'api.shelly.cloud/'], wanted: 3 },
    {
      marks: ['\0Shelly.GetDeviceInfo\0', '\0Shelly.GetStatus\0', '\0Shelly.CheckForUpdate\0', 'shelly.cloud'],
      wanted: 4,
    },
  ],
  versions: [
    {
      from: 'standalone',
      form: /^\d{8}-\d{6}\/(v\d{1,2}\.\d{1,2}\.\d{1,3}(?:-[\w.-]{1,40})?)(?:@[0-9a-f]{4,40}\+?)?$/,
    },
  ],
};

/**
 * Default name of the node, banner, name of its web server's settings, its MQTT server. APP_VERSION is three numbers and the
 * commit, as a text of its own.
 * https://github.com/meshtastic/firmware/blob/77540685824623d5e750da80dfd0e791008a5c73/src/main.cpp#L289
 * https://github.com/meshtastic/firmware/blob/77540685824623d5e750da80dfd0e791008a5c73/src/mesh/NodeDB.cpp#L1947
 * https://github.com/meshtastic/firmware/blob/77540685824623d5e750da80dfd0e791008a5c73/bin/readprops.py
 */
const MESHTASTIC: Recognizer = {
  name: 'Meshtastic',
  signs: [
    {
      marks: [
        '\0Meshtastic_%02x%02x\0',
        '\0Meshtastic %04x\0',
        '//\\ E S H T /\\ S T / C',
        '\0MeshtasticHTTPS\0',
        '\0mqtt.meshtastic.org\0',
      ],
      wanted: 2,
    },
  ],
  versions: [{ from: 'standalone', form: /^(\d{1,2}\.\d{1,2}\.\d{1,3}\.[0-9a-f]{7})$/ }],
};

/**
 * Banner, the line of its update page, the access point for updates, the header of its wardriving files. The version is a
 * text of its own.
 * https://github.com/justcallmekoko/ESP32Marauder/blob/ea234f4a1c88c318eb4afc210d95deb822a034f9/esp32_marauder/CommandLine.cpp#L13
 * https://github.com/justcallmekoko/ESP32Marauder/blob/ea234f4a1c88c318eb4afc210d95deb822a034f9/esp32_marauder/lang_var.h#L159
 * https://github.com/justcallmekoko/ESP32Marauder/blob/ea234f4a1c88c318eb4afc210d95deb822a034f9/esp32_marauder/configs.h#L45
 */
const MARAUDER: Recognizer = {
  name: 'Marauder',
  signs: [
    {
      marks: [
        '         ESP32 Marauder      ',
        'Firmware: Marauder\0',
        '\0esp32marauder\0',
        '\0MarauderOTA\0',
        '/marauder3L.jpg\0',
        ',device=ESP32 Marauder,',
      ],
      wanted: 2,
    },
  ],
  versions: [{ from: 'standalone', form: /^(v\d{1,2}\.\d{1,2}\.\d{1,2}(?:-rc\d{1,2})?)$/ }],
};

export const RECOGNIZERS: readonly Recognizer[] = [
  ESPHOME,
  MICROPYTHON,
  CIRCUITPYTHON,
  NODEMCU,
  ESP_AT,
  TASMOTA,
  WLED,
  ESPEASY,
  SHELLY,
  MESHTASTIC,
  MARAUDER,
];

/**
 * What system_get_sdk_version() of ESP8266's SDK gives, `2.2.2-dev(38a443e)`: a version with the commit in brackets, as a
 * text of its own.
 */
const ESP8266_SDK = /^\d(?:\.\d{1,2}){2,3}(?:-[a-z]{2,8})?\([0-9a-f]{7,10}\)$/;

/** The SDK's version in an app for ESP8266; null where none, or more than one, is found. */
export function esp8266SdkVersion(findings: Findings): string | null {
  const versions = (findings.standalone ?? []).filter((text) => ESP8266_SDK.test(text));
  return versions.length === 1 ? (versions[0] ?? null) : null;
}

/** All that the table asks of a scan. */
export const WANTED: Wanted = {
  marks: [
    ...new Set(
      RECOGNIZERS.flatMap(({ signs, versions }) => [
        ...signs.flatMap(({ marks }) => marks),
        ...versions.flatMap((source) => (source.from === 'text' ? (source.proves ?? []) : [])),
      ]),
    ),
  ],
  versionMarks: RECOGNIZERS.flatMap(({ versions }) =>
    versions.flatMap((source) => (source.from === 'text' ? [source.mark] : [])),
  ),
};
