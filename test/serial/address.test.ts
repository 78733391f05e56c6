import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { hasCode } from '../../src/errors.ts';
import { parseAddress } from '../../src/serial/address.ts';

describe('a link address', () => {
  test('names a device, whatever it looks like', () => {
    for (const path of [
      '/dev/ttyUSB0',
      'COM8',
      '\\\\.\\COM12',
      'ttyACM0',
      '/dev/serial/by-id/usb-1a86:7523 x',
      './a b',
    ]) {
      assert.deepEqual(parseAddress(path), { kind: 'device', path });
    }
  });

  test('names a network port', () => {
    const cases: [string, string, string, number][] = [
      ['rfc2217://lab:4000', 'rfc2217', 'lab', 4000],
      ['RFC2217://10.0.0.1:1', 'rfc2217', '10.0.0.1', 1],
      ['socket://[::1]:65535', 'socket', '::1', 65535],
      ['socket://[fe80::1%eth0]:3333/', 'socket', 'fe80::1%eth0', 3333],
      ['rfc2217://lab.example:4000?ign_set_control', 'rfc2217', 'lab.example', 4000],
      ['rfc2217://lab:4000/?logging=debug&timeout=3', 'rfc2217', 'lab', 4000],
    ];
    for (const [text, kind, host, port] of cases) assert.deepEqual(parseAddress(text), { kind, host, port }, text);
  });

  test('is refused as usage with a hint when malformed', () => {
    const malformed = [
      '',
      '  ',
      '/dev/tty\0',
      'rfc2217://',
      'rfc2217://lab',
      'rfc2217://:4000',
      'rfc2217://lab:',
      'rfc2217://lab:0',
      'rfc2217://lab:65536',
      'rfc2217://lab:99999',
      'rfc2217://lab:-1',
      'rfc2217://lab:4000/path',
      'rfc2217://lab:4000?baud=9600',
      'rfc2217://user@lab:4000',
      'rfc2217://la b:4000',
      'rfc2217://::1:4000',
      'rfc2217://[::1]',
      'rfc2217://[lab]:4000',
      'rfc2217:lab:4000',
      'socket:/lab:4000',
      'tcp://lab:4000',
      'http://lab:80',
    ];
    for (const text of malformed) {
      assert.throws(
        () => parseAddress(text),
        (error) => hasCode(error, 'usage') && error.message !== '',
        JSON.stringify(text),
      );
    }
  });
});
