/** `espd diff --device`: digests only, nothing read out, nothing written, the board released. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { SimulatedBoard } from '../../src/simulator/index.ts';
import { OPCODE } from '../../src/simulator/index.ts';
import { Bench, assertPlain, checkError, until } from '../support/cli.ts';

const MAC = '50:02:91:c3:37:a5';
const OTHER = '24:0a:c4:12:45:56';
const SECTOR = 4096;

interface DeviceJson {
  readonly by: 'digests' | 'content';
  readonly before: { id: string };
  readonly after: { kind: string; mac: string; port: string; equals: { id: string } | null };
  readonly equal: boolean;
  readonly sectors?: { compared: number; differing: number };
  readonly blocks?: { compared: number; differing: number };
  readonly regions: { offset: number; sizeBytes: number }[];
  readonly parts: { name: string; sectors: number }[];
  readonly digestsAsked: number;
}

function change(board: SimulatedBoard, offset: number, sectors = 1): void {
  board.flash.erase(offset, sectors * SECTOR);
  board.flash.program(offset, Buffer.alloc(sectors * SECTOR, 'changed '));
}

/** Runs, and makes sure that the board was only asked, and let go. */
async function asked(bench: Bench, board: SimulatedBoard, args: readonly string[]) {
  const [from, before] = [board.commands.length, board.wireBytes];
  const flash = board.flash.snapshot();
  const sent = before.toBoard + before.toHost;
  const result = await bench.runJson<DeviceJson>(['diff', ...args]);
  const opcodes = board.commands.slice(from).map(({ opcode }) => opcode);
  for (const opcode of [
    OPCODE.readFlash,
    OPCODE.flashBegin,
    OPCODE.flashDeflBegin,
    OPCODE.eraseRegion,
    OPCODE.eraseFlash,
  ])
    assert.ok(!opcodes.includes(opcode), `command ${opcode}`);
  assert.ok(board.flash.snapshot().equals(flash));
  await until(() => board.mode === 'app', 'the app runs');
  return { ...result, wireBytes: board.wireBytes.toBoard + board.wireBytes.toHost - sent };
}

describe('diff --device', { concurrency: 4 }, () => {
  for (const family of ['esp32c3', 'esp8266'] as const) {
    test(`equal, changed app, changed settings: ${family}`, async (t) => {
      const bench = await Bench.open(t);
      const { board, address } = await bench.addBoard({ family, mac: MAC });
      assert.equal((await bench.run(['backup', '--port', address])).status, 0);

      const same = await asked(bench, board, [MAC, '--device', '--port', address]);
      assert.equal(same.status, 0, same.stderr);
      assert.deepEqual([same.json.by, same.json.equal, same.json.digestsAsked], ['content', true, 1]);
      const { stdout } = await bench.run(['diff', MAC, '--device', '--port', address]);
      assert.match(stdout, /holds \S+Z, by its digest\n {2}The two are equal, byte for byte/);

      // Of the ESP32-C3's NVS; of the SDK's sectors at the end of an ESP8266's flash.
      const settings = family === 'esp32c3' ? 0x9000 : board.flash.snapshot().length - 3 * SECTOR;
      change(board, settings);
      change(board, 0x11000, 3);
      const other = await asked(bench, board, [MAC, '--device', '--port', address]);
      assert.equal(other.status, 0, other.stderr);
      const { json } = other;
      assert.deepEqual([json.by, json.equal, json.sectors], ['digests', false, { compared: 128, differing: 4 }]);
      const regions = [
        { offset: 0x11000, sizeBytes: 3 * SECTOR },
        { offset: settings, sizeBytes: SECTOR },
      ];
      assert.deepEqual(
        json.regions,
        regions.toSorted((a, b) => a.offset - b.offset),
      );
      const name = family === 'esp32c3' ? 'nvs' : 'system_param';
      assert.equal(json.parts.find((part) => part.name === name)?.sectors, 1);
      assert.ok(other.wireBytes - same.wireBytes < 10_000, `${other.wireBytes - same.wireBytes} bytes more`);

      const people = await bench.run(['diff', MAC, '--device', '--port', address, '--sectors', '--exit-code'], {
        tty: true,
      });
      checkError(people, 'differs');
      const text = people.stdout.replace(/\x1b\[\d+m/g, '');
      assertPlain(text);
      assert.match(text, /^ {2}4 of 128 sectors differ \(16 KB\), by digests of the chip$/m);
      assert.match(text, /0x11000 to +0x14000 {2}3 sectors/);
      assert.match(text, /^ {4}espd .*backup --mac 50:02:91:c3:37:a5$/m);
    });
  }

  test('a board that holds another backup is told by it, in full', async (t) => {
    const bench = await Bench.open(t);
    const { board, address } = await bench.addBoard({ family: 'esp32c3', mac: MAC });
    assert.equal((await bench.run(['backup', '--port', address])).status, 0);
    const old = board.flash.snapshot();
    change(board, 0x12000);
    assert.equal((await bench.run(['backup', '--port', address])).status, 0);
    const { json } = await asked(bench, board, [`${MAC}@first`, '--device', '--port', address]);
    assert.deepEqual([json.by, json.equal, json.sectors?.differing], ['content', false, 1]);
    assert.notEqual(json.after.equals?.id, json.before.id);
    board.flash.load(0, old);
    const back = await asked(bench, board, [MAC, '--device', '--port', address]);
    assert.deepEqual([back.json.equal, back.json.digestsAsked], [false, 2]);
  });

  test('where nearly everything differs, blocks are told, with few questions', async (t) => {
    const bench = await Bench.open(t);
    const { board, address } = await bench.addBoard({ family: 'esp32c3', mac: MAC, flashSizeBytes: 4 * 1024 * 1024 });
    assert.equal((await bench.run(['backup', '--port', address])).status, 0);
    for (let at = 0; at < 4 * 1024 * 1024; at += 65536) change(board, at + 0x5000);
    const { json } = await asked(bench, board, [MAC, '--device', '--port', address]);
    assert.deepEqual([json.blocks, json.sectors], [{ compared: 64, differing: 64 }, undefined]);
    assert.ok(json.digestsAsked < 300, `${json.digestsAsked}`);
    const { stdout } = await bench.run(['diff', MAC, '--device', '--port', address]);
    assert.match(stdout, /64 of 64 blocks differ \(4 MB\)/);
  });

  test('another board at the port, and no board at all', async (t) => {
    const bench = await Bench.open(t);
    const mine = await bench.addBoard({ family: 'esp32c3', mac: MAC }, { linked: false });
    const other = await bench.addBoard({ family: 'esp32c3', mac: OTHER }, { linked: false });
    assert.equal((await bench.run(['backup', '--port', mine.address])).status, 0);
    const { message } = await bench.fails(['diff', MAC, '--device', '--port', other.address], 'other-mac', {
      hint: false,
    });
    assert.match(message, new RegExp(OTHER));
    await bench.fails(['diff', MAC, '--device'], 'board-not-found');
    await bench.fails(['diff', OTHER, '--device', '--port', other.address], 'archive-unknown-board');
    await until(() => other.board.mode === 'app', 'the app runs');
  });
});
