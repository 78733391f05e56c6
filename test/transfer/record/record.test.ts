import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { hasCode } from '../../../src/errors.ts';
import { OPCODE, encodeRequest, words } from '../../../src/esp/protocol.ts';
import type { Link } from '../../../src/serial/link.ts';
import { type Family, memoryLink } from '../../../src/simulator/index.ts';
import { onlyRomText } from '../../../src/transfer/record/boot-text.ts';
import { parseRecording } from '../../../src/transfer/record/format.ts';
import { RecordingTape } from '../../../src/transfer/record/recording.ts';
import { Secrets } from '../../../src/transfer/record/secrets.ts';
import { fixedLink } from '../../../src/transfer/session.ts';
import { Bench, smallImage } from '../support.ts';
import { KEY, Recorder, replayOf } from './support.ts';

const nothing = () => Promise.resolve();
const SECRET = 'my-wifi-password-42';

function secretImage(family: Family = 'esp32c3'): Buffer {
  const image = Buffer.from(smallImage(family, 512 * 1024));
  image.write(SECRET, 0x9100, 'latin1');
  return image;
}

/** Digests by which somebody could try passwords: of every sector, and of all regions that a tree of digests asks for. */
function digestsOf(image: Buffer): string[] {
  const digests: string[] = [];
  for (let size = 4096; size <= image.length; size *= 2) {
    for (let at = 0; at < image.length; at += size) {
      const region = image.subarray(at, at + size);
      if (!region.includes(SECRET)) continue;
      for (const name of ['md5', 'sha256']) digests.push(createHash(name).update(region).digest('hex'));
    }
  }
  return digests;
}

describe('a recording', () => {
  it('holds nothing of the flash, nor anything that it could be found out by', async (t) => {
    const bench = await Bench.open(t);
    const image = secretImage();
    const recorder = new Recorder(bench);
    const board = bench.board({ content: image });
    await bench.backup(board, { through: recorder.through });
    await bench.backup(board, { through: recorder.through });
    await bench.backup(board, { through: recorder.through, full: true });
    const { text } = recorder;
    const hex = Buffer.from(SECRET).toString('hex');
    assert.ok(!text.includes(hex) && !text.includes(SECRET));
    for (const digest of digestsOf(image)) {
      assert.ok(!text.includes(digest));
      // The ROM writes a digest as text.
      assert.ok(!text.includes(Buffer.from(digest, 'latin1').toString('hex')));
    }
    assert.ok(text.includes(Buffer.from('OHAI').toString('hex')), 'the conversation is there');
    assert.ok(
      recorder.lines.some(({ kind }) => kind === 'lines') && recorder.lines.some(({ kind }) => kind === 'baud'),
    );
  });

  it('holds all of it where that is wanted', async (t) => {
    const bench = await Bench.open(t);
    const recorder = new Recorder(bench, true);
    await bench.backup(bench.board({ content: secretImage() }), { through: recorder.through });
    assert.ok(recorder.text.includes(Buffer.from(SECRET).toString('hex')));
  });

  it('of a restore holds nothing of what is written either', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board({ content: secretImage() });
    const { value } = await bench.backup(board);
    const other = bench.board({
      mac: board.mac,
      content: secretImage().fill(0x11, 0x8000, 0xa000),
    });
    const recorder = new Recorder(bench);
    await bench.restore(other, value.backup, { through: recorder.through });
    const writes = recorder.lines.filter((line) => 'name' in line && /DATA/.test(line.name ?? ''));
    const cut = writes.filter((line) => 'data' in line && line.data.tag !== undefined);
    assert.ok(cut.length > 0);
    for (const line of cut) assert.ok('hex' in line && line.hex.length <= 48 && line.hex.slice(8, 16) === '00000000');
  });

  it('does not change what a link does, faults included', async (t) => {
    const bench = await Bench.open(t);
    const recorder = new Recorder(bench);
    const board = bench.board();
    const result = await bench.session(
      board,
      async ({ link }) => {
        await link.close();
        await assert.rejects(link.write(Buffer.of(1)), (error) => hasCode(error, 'port-vanished'));
      },
      { through: recorder.through },
    );
    assert.equal(result.value, undefined);
    const fault = recorder.lines.find((line) => line.kind === 'fault');
    assert.ok(fault !== undefined && 'code' in fault && fault.code === 'port-vanished');
  });
});

describe('a recording whose disk fills up', () => {
  it('ends, and the board is worked on as if there were none', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board({ content: secretImage() });
    const tape = new RecordingTape({
      ...{ clock: bench.clock, command: 'backup', withPayload: true, usbOf: () => Promise.resolve(null) },
    });
    let taken = 0;
    const full = (async () => {
      for await (const text of tape.content()) {
        taken += text.length;
        if (taken > 10_000) throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
      }
    })();
    const failed = assert.rejects(full, { code: 'ENOSPC' });
    const open = tape.opener(fixedLink(memoryLink(board, { clock: bench.clock })));
    const link = await open('x', { baudRate: 115_200, clock: bench.clock, log: bench.log });
    await bench.backup(bench.board(), { through: () => link });
    tape.end();
    await failed;
    assert.equal((await bench.images(board.mac)).length, 1);
  });

  it('is given up where its file takes nothing for too long', async (t) => {
    const bench = await Bench.open(t);
    const tape = new RecordingTape({
      ...{ clock: bench.clock, command: 'backup', withPayload: true, usbOf: () => Promise.resolve(null) },
    });
    const open = tape.opener(fixedLink(new Flood()));
    const link = await open('x', { baudRate: 115_200, clock: bench.clock, log: bench.log });
    for (let n = 0; n < 600 && !tape.isGivenUp; n++) await link.read(0);
    assert.equal(tape.isGivenUp, true);
    let text = '';
    for await (const part of tape.content()) text += part;
    assert.equal(text, '', 'what is not whole is not handed out');
  });
});

/** Text without end. */
class Flood implements Link {
  readonly address = 'flood';
  readonly capabilities = { controlLines: false, baudRate: false };
  readonly baudRate = 115_200;
  readonly isOpen = true;
  readonly #line = Buffer.alloc(128 * 1024, 0x0a);
  readonly write = nothing;
  readonly purge = nothing;
  readonly setBaudRate = nothing;
  readonly setControlLines = nothing;
  readonly close = nothing;
  read(): Promise<Buffer> {
    return Promise.resolve(this.#line);
  }
}

describe('a recording is played again', () => {
  for (const family of ['esp8266', 'esp32', 'esp32s3', 'esp32c6'] as const) {
    it(`of the identification of an ${family}`, async (t) => {
      const bench = await Bench.open(t);
      const recorder = new Recorder(bench);
      const board = bench.board({ family });
      const before = await bench.session(board, (session) => Promise.resolve(session.board.identity), {
        through: recorder.through,
      });
      const again = await Bench.open(t);
      const replay = replayOf(again, recorder.text);
      const after = await again.session(again.board(), (session) => Promise.resolve(session.board.identity), {
        through: () => replay,
      });
      assert.equal(replay.divergence, undefined);
      assert.deepEqual(after.value, before.value);
      assert.equal(replay.progress.done, replay.progress.recorded);
    });
  }

  for (const [what, withPayload, full] of [
    ['without payload', false, false],
    ['without payload, in full', false, true],
    ['with payload', true, false],
  ] as const) {
    it(`of a first backup, ${what}, to its confirmed end`, async (t) => {
      const bench = await Bench.open(t);
      const recorder = new Recorder(bench, withPayload);
      const image = secretImage();
      image.fill(0, 0x60000, 0x70000);
      const board = bench.board({ content: image });
      await bench.backup(board, { through: recorder.through, full });
      const again = await Bench.open(t);
      const replay = replayOf(again, recorder.text);
      await again.backup(again.board(), { through: () => replay, full });
      assert.equal(replay.divergence, undefined);
      assert.equal(replay.progress.done, replay.progress.recorded);
      const [kept = Buffer.alloc(0)] = await again.images(board.mac);
      assert.equal(kept.length, image.length);
      assert.equal(kept.equals(image), withPayload);
      // What is blank, zero and different from it is where it was.
      const isBlank = (bytes: Buffer) => bytes.every((byte) => byte === 0xff);
      for (let at = 0; at < image.length; at += 0x10000) {
        assert.equal(isBlank(kept.subarray(at, at + 0x10000)), isBlank(image.subarray(at, at + 0x10000)), `${at}`);
      }
    });
  }

  it('and tells where the conversation goes another way', async (t) => {
    const bench = await Bench.open(t);
    const recorder = new Recorder(bench);
    const board = bench.board();
    await bench.session(board, nothing, { through: recorder.through });
    const again = await Bench.open(t);
    const replay = replayOf(again, recorder.text);
    await assert.rejects(again.backup(again.board(), { through: () => replay, connectAttempts: 1 }));
    assert.match(replay.divergence ?? '', /^Step \d+( \(\d+\.\d{3} s\))?: /);
  });
});

describe('what is told of one frame', () => {
  const response = (opcode: number, value: number, body: Buffer) => {
    const frame = Buffer.concat([Buffer.alloc(8), body]);
    frame[0] = 1;
    frame[1] = opcode;
    frame.writeUInt16LE(body.length, 2);
    frame.writeUInt32LE(value, 4);
    return frame;
  };
  const OK = Buffer.of(0, 0);

  it('is no key of the eFuses, and no value that was left there from one', () => {
    const secrets = new Secrets(KEY, false);
    // BLOCK_USR_DATA and a key block of an ESP32-C3, and the keys of an ESP32.
    for (const address of [0x6000887c, 0x6000889c, 0x3ff5a038, 0x3ff5a058, 0x3ff5a078]) {
      secrets.fromHost(encodeRequest(OPCODE.READ_REG, words(address)));
      assert.ok(!secrets.fromChip(response(OPCODE.READ_REG, 0xdeadbeef, OK)).hex.includes('efbeadde'), `${address}`);
    }
    secrets.fromHost(encodeRequest(OPCODE.SPI_ATTACH, words(0, 0)));
    assert.ok(!secrets.fromChip(response(OPCODE.SPI_ATTACH, 0xdeadbeef, OK)).hex.includes('efbeadde'));
    // The MAC stays.
    secrets.fromHost(encodeRequest(OPCODE.READ_REG, words(0x60008844)));
    assert.ok(secrets.fromChip(response(OPCODE.READ_REG, 0xdeadbeef, OK)).hex.includes('efbeadde'));
  });

  it('is nothing of what cannot be understood, whatever was sent before', () => {
    const bytes = () => fc.uint8Array({ minLength: 1, maxLength: 80 }).map((array) => Buffer.from(array));
    const request = fc
      .tuple(fc.integer({ min: 0, max: 255 }), bytes())
      .map(([opcode, body]) => encodeRequest(opcode, body));
    fc.assert(
      fc.property(fc.array(fc.oneof(request, bytes()), { maxLength: 4 }), bytes(), (before, rest) => {
        const secrets = new Secrets(KEY, false);
        for (const frame of before) secrets.fromHost(frame);
        const marked = Buffer.concat([Buffer.from([9]), rest, Buffer.from(SECRET)]);
        const told = secrets.fromChip(marked);
        assert.ok(!JSON.stringify(told).includes(Buffer.from(SECRET).toString('hex')));
      }),
    );
  });

  it('of the boot log is what a ROM says, and not what an app says', () => {
    const log =
      'ESP-ROM:esp32c3-20210207\r\nrst:0x1 (POWERON),boot:0x6 (DOWNLOAD(USB/UART0/1))\r\nwaiting for download\r\n';
    assert.equal(onlyRomText(Buffer.from(log)).toString(), log);
    const app = `wifi: joined home with ${SECRET}\r\nwaiting for download ${SECRET}\r\n`;
    const told = onlyRomText(Buffer.from(app)).toString();
    assert.match(told, /^x+\r\nx+\r\n$/);
    assert.equal(told.length, app.length);
  });
});

describe('a file that is no recording', () => {
  it('is refused with the number of its line', () => {
    const line = '{"t":0,"dir":"chip","kind":"raw","hex":"00"}\n';
    for (const wrong of [
      ...['x', '[]', 'null', '{"t":-1}', '{"t":0,"dir":"me"}', '{"t":0,"dir":"chip","kind":"lines"}'],
      '{"t":0,"dir":"chip","kind":"rsp","hex":"0"}',
      '{"t":0,"dir":"chip","kind":"rsp","hex":"00","data":{"bytes":1e9}}',
      '{"t":0,"dir":"chip","kind":"rsp","hex":"00","data":{"at":2,"bytes":1}}',
      '{"kind":"espd-recording","version":1}',
      '{"t":0,"dir":"host","kind":"baud","baudRate":0}',
    ]) {
      assert.throws(
        () => parseRecording(`${line}${wrong}\n`),
        (error) => hasCode(error, 'input-unreadable') && /^Line 2 of the recording /.test((error as Error).message),
        wrong,
      );
    }
  });
});
