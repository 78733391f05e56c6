/**
 * Which values of an NVS partition are secrets, by namespace and key: espd never shows those, whatever it is asked.
 * In doubt a value is one: a number that is masked costs less than a password on a screen.
 */

/**
 * Namespaces in which everything is one, because the keys are numbers or say nothing.
 * - bt_config.conf: link keys of Bluedroid; its keys are all `bt_cfg_key` and a number.
 *   https://github.com/espressif/esp-idf/blob/102122904ade11fd1ae373848f34ffd7dfb18aeb/components/bt/host/bluedroid/btc/core/btc_config.c
 * - nimble_bond: bonds of NimBLE, `our_sec_1`, `peer_sec_1`.
 *   https://github.com/espressif/esp-nimble/blob/749a79093753d3df1450e16e45a7ea5a7f12e523/nimble/host/store/config/src/ble_store_nvs.c
 * - mesh_core: net, app and device keys of ESP-BLE-MESH; with a suffix where there are several.
 *   https://github.com/espressif/esp-idf/blob/102122904ade11fd1ae373848f34ffd7dfb18aeb/components/bt/esp_ble_mesh/core/storage/settings_nvs.c
 * - openthread: among others the network key, under the numbers of OpenThread's settings.
 *   https://github.com/espressif/esp-idf/blob/102122904ade11fd1ae373848f34ffd7dfb18aeb/components/openthread/src/port/esp_openthread_settings.c
 * - psa_its: keys that mbedTLS was told to keep.
 *   https://github.com/espressif/esp-idf/blob/102122904ade11fd1ae373848f34ffd7dfb18aeb/components/mbedtls/port/psa_crypto_storage/esp_psa_its.c
 * - CHIP_KVS, chip-factory: keys and credentials of Matter's fabrics; attestation key, setup code and its verifier.
 *   https://github.com/project-chip/connectedhomeip/blob/1211c4f9cc7ca51a15e67b792ae381d16bd3d04a/src/platform/ESP32/KeyValueStoreManagerImpl.h
 *   https://github.com/project-chip/connectedhomeip/blob/02791f8e8030550d6345bd8ebfceabce8f9b415c/src/platform/ESP32/ESP32Config.cpp
 * - esphome: its keys are hashes; one of them holds Wi-Fi name and password.
 *   https://github.com/esphome/esphome/blob/d70ee030102a2cfc1647b096b2e4985f5717b6fa/esphome/components/esp32/preferences.cpp
 * - rmaker_creds: claiming credentials of ESP RainMaker.
 *   https://github.com/espressif/esp-rainmaker/blob/2bc2c7396f50293655b6147491e04a2e19aa636e/components/esp_rainmaker/src/core/esp_rmaker_storage.c
 */
const SECRET_NAMESPACES =
  /^(?:bt_config\.conf|nimble_bond|mesh_core(?:_[0-9a-f]{2})?|openthread|psa_its|CHIP_KVS|chip-factory|esphome|rmaker_creds)$/;

/**
 * Keys whose name does not show it.
 * - nvs.net80211: `sta.pswd`, `sta.pmk`, `ap.passwd` and `ap.pmk_info` are found by their names; `sta.apinfo` remembers the
 *   last access points with their keys, `sta.sae_h2e_id` is SAE's password identifier.
 *   https://github.com/espressif/esp-idf/blob/102122904ade11fd1ae373848f34ffd7dfb18aeb/examples/wifi/wifi_nvs_config/README.md
 *   https://github.com/espressif/esp-idf-nvs-partition-gen/blob/67113ed0719dd3bdda42d2de6c2c0e3d47ec4a4e/esp_idf_nvs_partition_gen/nvs_partition_gen.py
 * - main, upg: all settings of Tasmota in one blob, with the passwords of Wi-Fi and MQTT.
 *   https://github.com/arendst/Tasmota/blob/20af4658b804929a1af9bba9cac3c00282e8d79d/tasmota/tasmota_support/support_esp32.ino
 */
const SECRET_KEYS: ReadonlyMap<string, readonly string[]> = new Map([
  ['nvs.net80211', ['sta.apinfo', 'sta.sae_h2e_id']],
  ['main', ['Settings']],
  ['upg', ['Settings']],
]);

/** Anywhere in a name, once all but letters and digits is taken out of it: keys of 15 bytes run words together. */
const SECRET_PARTS =
  /pass|pswd|passwd|pword|pwd|psk|pmk|secret|token|cred|cert|bearer|apikey|privkey|pincode|setupcode|mnemonic|kennwort|senha|contrase/;

/** A word of its own: too short to look for it inside of others. */
const SECRET_WORDS: ReadonlySet<string> = new Set(
  'key keys pw ltk irk csrk otp pop pem crt jwt auth seed salt verifier cookie session'.split(' '),
);
/** `netkey`, `aes_key2`. */
const ENDS_IN_KEY = /keys?\d*$/;

/** Whether the value is to be masked even for those who ask for values. Any texts are fine, hostile ones too. */
export function isSecretKey(namespace: string, key: string): boolean {
  if (SECRET_NAMESPACES.test(namespace) || SECRET_KEYS.get(namespace)?.includes(key) === true) return true;
  // Words end where letters do, and where small ones are followed by a capital: `wifiPw`, `mqtt_pw`, `ap.pw2`.
  const words = key
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z0-9]+/);
  const run = words.join('');
  if (SECRET_PARTS.test(run) || ENDS_IN_KEY.test(run)) return true;
  return words.some((word) => SECRET_WORDS.has(word.replace(/\d+$/, '')) || ENDS_IN_KEY.test(word));
}
