import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseMac } from '../../src/mac.ts';
import { commandLine, finishCommand, shellWord } from '../../src/transfer/finish-command.ts';

const mac = parseMac('50:02:91:c3:37:a5')!;
const other = parseMac('24:0a:c4:12:45:56')!;
const plain = {
  ...{ mac, from: { mac, id: '2026-11-23T10-00-00Z' }, parts: null, archive: null },
  options: { port: null, ignore: [], yes: false, toldFlashBytes: null },
};
const START = 'espd restore --mac 50:02:91:c3:37:a5';

test('the command that finishes a restore says all that the first one said', () => {
  const part = { name: 'nvs', offset: 0x9000, sizeBytes: 0x5000 };
  const call = ['espd', '--config', '/etc/espd.yaml', '--archive', '/mnt/my archive'];
  const cases: [Parameters<typeof finishCommand>, string][] = [
    [[plain, ['espd']], `${START} --at 2026-11-23T10-00-00Z`],
    [[{ ...plain, mac: other }, ['espd']], `${START} --to ${other} --at 2026-11-23T10-00-00Z`],
    [
      [{ ...plain, parts: [part, { ...part, name: 'my $data' }] }, ['espd']],
      `${START} --at 2026-11-23T10-00-00Z --partition nvs --partition 'my $data'`,
    ],
    [
      [{ ...plain, parts: [{ ...part, name: null }] }, ['espd']],
      `${START} --at 2026-11-23T10-00-00Z --offset 0x9000 --size 0x5000`,
    ],
    [
      // What lies around the kept partitions is not said: it is what the kept ones leave.
      [{ ...plain, parts: [{ ...part, name: null }], kept: [part, { ...part, name: '-x y' }] }, ['espd']],
      `${START} --at 2026-11-23T10-00-00Z --keep nvs --keep '-x y'`,
    ],
    [
      [
        {
          ...plain,
          options: { port: '/dev/ttyUSB0', ignore: ['revision', 'flash-size'], yes: true, toldFlashBytes: null },
        },
        call,
      ],
      "espd --config /etc/espd.yaml --archive '/mnt/my archive' restore --mac 50:02:91:c3:37:a5 " +
        '--at 2026-11-23T10-00-00Z --port /dev/ttyUSB0 --ignore-revision --ignore-flash-size --yes',
    ],
    [
      [{ ...plain, options: { ...plain.options, toldFlashBytes: 512 * 1024 } }, ['espd']],
      `${START} --at 2026-11-23T10-00-00Z --flash-size 512K`,
    ],
    [
      [{ ...plain, archive: '/media/stick' }, call],
      `espd --config /etc/espd.yaml --archive /media/stick restore --mac ${mac} --at 2026-11-23T10-00-00Z`,
    ],
  ];
  for (const [args, expected] of cases) assert.equal(finishCommand(...args), expected);
});

test('a shell takes each word for what it is', () => {
  for (const word of ['', "it's", 'a b', '$(rm)', '`x`', '-x', 'a\\b', '"', '*', '~', 'grün', "''", '!!', '#']) {
    assert.equal(execFileSync('sh', ['-c', `printf %s ${shellWord(word)}`], { encoding: 'utf8' }), word);
  }
  const word = fc.string({ unit: 'binary', maxLength: 20 }).filter((text) => !text.includes('\0'));
  fc.assert(
    fc.property(fc.array(word, { minLength: 1, maxLength: 5 }), (words) => {
      const printed = execFileSync('sh', ['-c', `printf '%s\\0' ${commandLine([], ...words)}`], { encoding: 'utf8' });
      assert.deepEqual(printed.split('\0').slice(0, -1), words);
    }),
    { numRuns: 50 },
  );
});
