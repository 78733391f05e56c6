/**
 * Every host frame of every recorded conversation is put to a simulated board in the same state, and each answer is
 * compared with the recorded one, byte for byte. Exceptions:
 *
 * 1. Program bytes of the stub were cut out of the traces: bytes of the same number and checksum stand in.
 * 2. The UART divider of the emulated ESP32 (0x3ff40014) is 346 where 40 MHz / 115200 gives 347: preset.
 * 3. The emulated ESP32 of revision 0 has the top bit of its APB date (0x3ff6607c) set, which a real one has from
 *    revision 3 on: preset.
 * 4. flashcrypt-*: those fuses were burnt by hand in a way that no chip leaves a factory (single core, encryption without
 *    its configuration, secure boot V1): three words preset.
 * 5. USR and USR2 of the SPI peripheral hold at first what the ROM's last own flash access left there (a read, where it had
 *    looked for an app): written into the board before the conversation begins.
 * 6. Boot logs of the emulator name boot modes of its own and repeat for as long as was listened: their lines are looked
 *    for, not counted; see the last test.
 *
 * All other eFuse words follow from MAC, revision and security flags.
 */

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { inflateSync } from 'node:zlib';

import type { BoardOptions } from '../../src/simulator/index.ts';
import { session, slipDecode, slipEncode, words } from './board-harness.ts';

interface Line {
  readonly dir: 'host' | 'chip';
  readonly kind: 'cmd' | 'rsp' | 'data' | 'ack' | 'raw';
  readonly hex: string;
  readonly name?: string;
  readonly data?: { readonly bytes: number };
}

const folder = new URL('../traces/', import.meta.url);
const names = readdirSync(folder)
  .filter((name) => name.endsWith('.jsonl'))
  .map((name) => name.slice(0, -'.jsonl'.length));

function lines(name: string): Line[] {
  const text = readFileSync(new URL(`${name}.jsonl`, folder), 'utf8');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line);
}

/** What the host sent, with something in the place of the stub's bytes that has the checksum announced. */
function hostFrame(line: Line): Buffer {
  const frame = Buffer.from(line.hex, 'hex');
  if (line.data === undefined) return frame;
  const program = Buffer.alloc(line.data.bytes);
  program[0] = frame.readUInt8(4) ^ 0xef;
  return Buffer.concat([frame, program]);
}

/** The flash as it was recorded: 64 KiB from 0 on as read, and the image that was written and verified at 0x20000. */
function content(chip: string): Buffer {
  const flash = Buffer.alloc(0x28000, 0xff);
  const packets = lines(`${chip}-read64k-stub`).filter(({ kind, hex }) => kind === 'data' && hex.length === 8192);
  Buffer.concat(packets.map(({ hex }) => Buffer.from(hex, 'hex'))).copy(flash);
  const blocks = lines(`${chip}-write32k-stub`).filter(({ dir, name }) => dir === 'host' && name === 'FLASH_DEFL_DATA');
  inflateSync(Buffer.concat(blocks.map(({ hex }) => Buffer.from(hex, 'hex').subarray(24)))).copy(flash, 0x20000);
  return flash;
}

/** Exceptions 2 and 3. */
const oddities: [number, number][] = [
  [0x3ff40014, 0x15a],
  [0x3ff6607c, 0x96042000],
];

/** Exception 4. */
const handBurntFuses: [number, number][] = [
  [0x3ff5a00c, 0x8001],
  [0x3ff5a014, 0x100000],
  [0x3ff5a018, 0x10],
];

function boardOf(name: string): Omit<BoardOptions, 'clock'> {
  const chip = name.split('-')[0]!;
  const crypt = name.includes('flashcrypt');
  const common = { jedec: [0xc8, 0x40, 0x16] as const, content: content(chip) };
  if (chip === 'esp32') {
    return {
      ...common,
      family: 'esp32',
      mac: crypt ? '24:0a:c4:00:01:10' : '24:0a:c4:de:ad:01',
      revision: { major: crypt ? 3 : 0, minor: 0 },
      packageVersion: 0,
      registerPresets: new Map(crypt ? [...oddities, ...handBurntFuses] : oddities),
      security: { flashEncryption: crypt, downloadDisabled: name.includes('disabled') },
    };
  }
  return {
    ...common,
    family: 'esp32c3',
    mac: '7c:df:a1:be:ef:02',
    revision: { major: 0, minor: 3 },
    security: { secureDownload: name.includes('secdl'), downloadDisabled: name.includes('disabled') },
  };
}

/** Exception 5: [address, value] of USR and USR2 as the conversation first finds them. */
function leftovers(conversation: readonly Line[]): Map<number, number> {
  const found = new Map<number, number>();
  for (const [at, line] of conversation.entries()) {
    if (line.dir !== 'host' || line.name !== 'READ_REG') continue;
    const address = Buffer.from(line.hex, 'hex').readUInt32LE(8);
    if (![0x3ff4201c, 0x3ff42024, 0x60002018, 0x60002020].includes(address) || found.has(address)) continue;
    found.set(address, Buffer.from(conversation[at + 1]!.hex, 'hex').readUInt32LE(4));
  }
  return found;
}

for (const name of names.filter((candidate) => !candidate.includes('bootlog'))) {
  test(`replay of ${name}`, async () => {
    const conversation = lines(name);
    const board = session(boardOf(name));
    await board.enterDownload();
    for (const [address, value] of leftovers(conversation)) {
      await board.one(0x09, words(address, value, 0xffffffff, 0));
    }
    if (name.includes('second-connect')) {
      await board.sync();
      await board.startStub();
    }
    let turns = 0;
    for (let at = 0; at < conversation.length;) {
      const line = conversation[at]!;
      assert.equal(line.dir, 'host');
      const expected: string[] = [];
      for (at++; at < conversation.length && conversation[at]!.dir === 'chip'; at++)
        expected.push(conversation[at]!.hex);
      board.take();
      board.board.receive(slipEncode(hostFrame(line)));
      if (line.name === 'CHANGE_BAUDRATE') board.board.setBaudRate(Buffer.from(line.hex, 'hex').readUInt32LE(8));
      await board.pass(1);
      const { frames, outside } = slipDecode(board.take());
      assert.deepEqual(
        frames.map((frame) => frame.toString('hex')),
        expected,
        `turn ${turns}: ${line.name ?? line.kind} ${line.hex.slice(0, 60)}`,
      );
      assert.equal(outside.length, 0);
      turns++;
    }
    assert.ok(turns > 1);
  });
}

test('boot logs have the lines of the recorded ones', async () => {
  const logs: [name: string, download: boolean][] = [
    ['esp32-bootlog-download', true],
    ['esp32-bootlog-flashboot-noapp', false],
    ['esp32-bootlog-download-disabled', true],
    ['esp32c3-bootlog-download', true],
    ['esp32c3-bootlog-flashboot-noapp', false],
    ['esp32c3-bootlog-download-disabled', true],
  ];
  assert.deepEqual(logs.map(([name]) => name).sort(), names.filter((name) => name.includes('bootlog')).sort());
  for (const [name, download] of logs) {
    const options = { ...boardOf(name), content: new Uint8Array(0) };
    const board = session(options);
    await board.pass(100);
    board.take();
    board.board.pressBoot(download);
    board.board.pressReset(10);
    await board.pass(100);
    const spoken = new Set(board.take().toString('latin1').split('\r\n').map(withoutEmulator));
    const recorded = lines(name)
      .map(({ hex }) => Buffer.from(hex, 'hex').toString('latin1'))
      .join('')
      .split('\r\n');
    // The first and the last line may be cut.
    for (const line of new Set(
      recorded.slice(name.includes('c3-bootlog-flashboot') ? 1 : 0, -1).map(withoutEmulator),
    )) {
      assert.ok(spoken.has(line), `${name}: "${line}" among ${JSON.stringify([...spoken])}`);
    }
  }
});

/** Boot modes as the emulator names them and reset reasons, which depend on how it was reset. */
function withoutEmulator(line: string): string {
  return line
    .replace(/^rst:0x\w+ \(\w+\),boot:0x\w+ \((?:UART\w*BOOT(?:\(UART0\))?|DOWNLOAD.*)\)$/, 'rst:*,boot:download')
    .replace(/^rst:0x\w+ \(\w+\),boot:0x\w+ \(SPI_FAST_FLASH_BOOT\)$/, 'rst:*,boot:flash')
    .replace(/^invalid header: 0x[0-9a-f]{8}$/, 'invalid header: *')
    .replace(/^wait uart0 download$/, 'waiting for download');
}
