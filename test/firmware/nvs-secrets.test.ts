import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import { isSecretKey } from '../../src/firmware/nvs-secrets.ts';

test('what the Wi-Fi driver of ESP-IDF keeps', () => {
  for (const key of ['sta.pswd', 'sta.pmk', 'ap.passwd', 'ap.pmk', 'ap.pmk_info', 'sta.apinfo', 'sta.sae_h2e_id']) {
    assert.equal(isSecretKey('nvs.net80211', key), true, key);
  }
  for (const key of [
    'sta.ssid',
    'ap.ssid',
    'sta.authmode',
    'ap.authmode',
    'sta.chan',
    'sta.bssid',
    'opmode',
    'sta.apsw',
  ]) {
    assert.equal(isSecretKey('nvs.net80211', key), false, key);
  }
});

test('by what a key is called, in any spelling', () => {
  const secret = [
    'pass',
    'wifiPassword',
    'WIFI_PWD',
    'mqttpass',
    'ap.pw2',
    'wifiPw',
    'PSK',
    'api_key',
    'APIKEY',
    'aeskey1',
    'token',
  ];
  for (const key of [...secret, 'client_cert', 'ca.pem', 'jwt', 'totp_seed', 'pinCode', 'hmac-secret', 'cred_id']) {
    assert.equal(isSecretKey('app', key), true, key);
  }
  for (const key of ['ssid', 'hostname', 'led_pin', 'keyboard', 'keymap', 'author', 'boots', 'power', 'Settings', '']) {
    assert.equal(isSecretKey('app', key), false, key);
  }
});

test('namespaces in which everything is one', () => {
  for (const name of [
    'esphome',
    'nimble_bond',
    'bt_config.conf',
    'mesh_core',
    'mesh_core_0a',
    'openthread',
    'psa_its',
    'CHIP_KVS',
  ]) {
    assert.equal(isSecretKey(name, '1234567890'), true, name);
  }
  for (const name of ['esphome2', 'phy', 'mesh_core_zz', ''])
    assert.equal(isSecretKey(name, '1234567890'), false, name);
  assert.equal(isSecretKey('main', 'Settings'), true);
});

test('any texts are fine, and a word in front never makes a secret a harmless one', () => {
  fc.assert(
    fc.property(fc.string(), fc.string({ unit: 'binary' }), (name, key) => {
      assert.equal(typeof isSecretKey(name, key), 'boolean');
      assert.equal(isSecretKey(name, `${key}_password`), true);
    }),
  );
});
