import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  type FromCommand,
  MAX_LINE_BYTES,
  MessageReader,
  PIECE_BYTES,
  type ToCommand,
  encodeMessage,
  outputMessages,
} from '../../src/control/contract/session-messages.ts';
import { hasCode } from '../../src/errors.ts';
import type { Mac } from '../../src/mac.ts';

const MAC = '24:0a:c4:00:00:01' as Mac;

const BEGIN: ToCommand = {
  type: 'begin',
  args: ['list', '--json'],
  cwd: '/srv',
  terminal: {
    stdout: { isTTY: true, columns: 80, rows: 24 },
    stderr: { isTTY: false, columns: null, rows: null },
    canAsk: true,
  },
  env: { TERM: 'xterm' },
  report: false,
};

const TO_COMMAND: readonly ToCommand[] = [
  BEGIN,
  { type: 'answer', id: 1, text: 'y' },
  { type: 'answer', id: 1, error: { code: 'declined', message: 'in the background', hint: '' } },
  { type: 'signal' },
  { type: 'columns', stream: 'stderr', isTTY: true, columns: 100, rows: null },
  { type: 'file-reply', id: 3, value: { data: 'AAAA' } },
  { type: 'file-reply', id: 3, error: { system: 'ENOENT' } },
  { type: 'file-reply', id: 3, error: { code: 'output-exists', message: 'there', hint: 'move it' } },
  { type: 'port-wait', id: 4, job: 'backup' },
  { type: 'port-reply', id: 4 },
  { type: 'port-reply', id: 4, error: { code: 'port-busy', message: 'held', hint: '' } },
];

const FROM_COMMAND: readonly FromCommand[] = [
  { type: 'output', stream: 'stdout', data: 'two\nlines\u{1f600}' },
  { type: 'output', stream: 'stderr', base64: 'AP8=' },
  { type: 'ask', id: 1, question: 'Write? [y/N] ' },
  { type: 'file', id: 2, request: { op: 'check-new', path: 'a.bin' } },
  { type: 'file', id: 2, request: { op: 'create', file: 1, path: 'a.bin' } },
  { type: 'file', id: 2, request: { op: 'write', file: 1, data: 'AAAA' } },
  { type: 'file', id: 2, request: { op: 'open', file: 1, path: 'a.bin', followLinks: false } },
  { type: 'file', id: 2, request: { op: 'read', file: 1, offset: 0, length: PIECE_BYTES } },
  { type: 'file', id: 2, request: { op: 'list', file: 1, path: '.' } },
  { type: 'file', id: 2, request: { op: 'entries', file: 1, from: 250 } },
  { type: 'end', status: 130 },
  { type: 'end', status: 1, error: { code: 'daemon-gone', message: 'gone', hint: '' } },
  { type: 'port', id: 3, op: 'take', address: '/dev/ttyUSB0', purpose: { command: 'backup', now: true } },
  { type: 'port-release', id: 3 },
  { type: 'progress', port: '/dev/ttyUSB0', phase: 'reading', mac: '24:0a:c4:00:00:01', doneBytes: 1, totalBytes: 2 },
  { type: 'plan', plan: { sectors: 1 } },
  { type: 'result', document: { ok: true } },
  { type: 'board-described', mac: MAC, label: 'kitchen', note: null, group: null },
  { type: 'backup-pinned', mac: MAC, id: '2026-11-23T10-00-00Z', pinned: true },
];

function readAll<T>(reader: MessageReader<T>, chunks: Iterable<Buffer>): T[] {
  const messages: T[] = [];
  for (const chunk of chunks) for (const { message } of reader.push(chunk)) messages.push(message);
  return messages;
}

/** Whatever comes: messages, or the one typed error. */
function readHostile(reader: MessageReader<unknown>, chunks: Iterable<Buffer>): 'read' | 'refused' {
  try {
    readAll(reader, chunks);
    return 'read';
  } catch (error) {
    assert.ok(hasCode(error, 'daemon-protocol'), String(error));
    return 'refused';
  }
}

describe('messages of a session', () => {
  test('each comes as it was sent, and each line as it came', () => {
    for (const message of TO_COMMAND) {
      const line = Buffer.from(encodeMessage(message));
      const [received, more] = [...MessageReader.toCommand().push(line)];
      assert.deepEqual(received, { message, line });
      assert.equal(more, undefined);
    }
    for (const message of FROM_COMMAND) {
      const received = readAll(MessageReader.fromCommand(), [Buffer.from(encodeMessage(message))]);
      assert.deepEqual(received, [message]);
    }
  });

  test('cut at every byte', () => {
    const bytes = Buffer.from(FROM_COMMAND.map(encodeMessage).join(''));
    for (let at = 0; at <= bytes.length; at++) {
      const reader = MessageReader.fromCommand();
      const received = readAll(reader, [bytes.subarray(0, at), bytes.subarray(at)]);
      assert.equal(received.length, FROM_COMMAND.length);
      assert.equal(reader.isInLine, false);
    }
    const byBytes = Array.from(bytes, (byte) => Buffer.of(byte));
    assert.deepEqual(readAll(MessageReader.fromCommand(), byBytes), FROM_COMMAND);
  });

  test('each side hears only what is for it', () => {
    const lineOf = (message: ToCommand | FromCommand) => [Buffer.from(encodeMessage(message))];
    const port = FROM_COMMAND.find(({ type }) => type === 'port')!;
    assert.equal(readHostile(MessageReader.toPerson(), lineOf(port)), 'refused');
    assert.equal(readHostile(MessageReader.fromPerson(), lineOf({ type: 'port-reply', id: 1 })), 'refused');
    assert.equal(readHostile(MessageReader.toCommand(), lineOf({ type: 'end', status: 0 })), 'refused');
    assert.equal(readHostile(MessageReader.fromPerson(), lineOf(BEGIN)), 'read');
  });

  test('what is no message is refused with one error of its own', () => {
    const begin = JSON.stringify(BEGIN);
    for (const text of [
      '',
      'null',
      '[]',
      '"signal"',
      '{}',
      '{"type":"signal"',
      '{"type":"Signal"}',
      '{"type":"__proto__"}',
      '{"type":"answer","id":-1,"text":"y"}',
      '{"type":"answer","id":1e400,"text":"y"}',
      '{"type":"answer","id":1,"error":{"code":"toString","message":"","hint":""}}',
      '{"type":"file-reply","id":1,"error":{}}',
      begin.replace('"list"', '7'),
      begin.replace('"TERM"', '"LD_PRELOAD"'),
      begin.replace('80', '-80'),
      '['.repeat(200_000),
      '{"type":'.repeat(50_000),
    ]) {
      assert.equal(readHostile(MessageReader.fromPerson(), [Buffer.from(`${text}\n`)]), 'refused', text.slice(0, 80));
    }
    const deep = `{"type":"file-reply","id":1,"value":${'['.repeat(100_000)}${']'.repeat(100_000)}}\n`;
    assert.equal(readHostile(MessageReader.fromPerson(), [Buffer.from(deep)]), 'read');
    assert.equal(readHostile(MessageReader.fromPerson(), [Buffer.of(0xff, 0xfe, 0x0a)]), 'refused');
  });

  test('a line has a bound, and what is kept of it as well', () => {
    const padded = (bytes: number) => {
      const line = JSON.stringify({ type: 'answer', id: 1, text: '' });
      return Buffer.from(`${line.slice(0, -2)}${'a'.repeat(bytes - line.length)}"}\n`);
    };
    assert.equal(readHostile(MessageReader.fromPerson(), [padded(MAX_LINE_BYTES)]), 'read');
    assert.equal(readHostile(MessageReader.fromPerson(), [padded(MAX_LINE_BYTES + 1)]), 'refused');
    const endless = function* () {
      for (let piece = 0; piece < 100; piece++) yield Buffer.alloc(64 * 1024, 0x61);
      assert.fail('still reading');
    };
    const reader = MessageReader.fromPerson();
    assert.equal(readHostile(reader, endless()), 'refused');
    // What comes behind is not looked at.
    assert.deepEqual(readAll(reader, [Buffer.from('\n{"type":"signal"}\n')]), []);
  });

  test('random bytes never lead to anything else', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 8 }), (chunks) => {
        readHostile(
          MessageReader.fromCommand(),
          chunks.map((chunk) => Buffer.from(chunk)),
        );
      }),
    );
  });
});

describe('output', () => {
  const backOf = (messages: Iterable<FromCommand>) =>
    [...messages].map((message) => {
      assert.ok(message.type === 'output');
      return message.data === undefined ? Buffer.from(message.base64 ?? '', 'base64') : message.data;
    });

  test('text and bytes come back whole, in lines that are short enough, no character cut', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 2000 }), fc.integer({ min: 1, max: 60 }), (text, times) => {
        const whole = text.repeat(times * 20);
        const messages = [...outputMessages('stdout', whole)];
        const parts = backOf(messages);
        assert.equal(parts.join(''), whole);
        for (const message of messages) assert.ok(Buffer.byteLength(encodeMessage(message)) <= MAX_LINE_BYTES);
        // As they arrive at a file: the same bytes as all at once.
        const written = Buffer.concat(parts.map((part) => Buffer.from(part as string)));
        assert.ok(written.equals(Buffer.from(whole)));
      }),
      { numRuns: 40 },
    );
    const bytes = Buffer.alloc(PIECE_BYTES * 2 + 1, 0xff);
    const parts = backOf(outputMessages('stderr', bytes)) as Buffer[];
    assert.deepEqual(
      parts.map(({ length }) => length),
      [PIECE_BYTES, PIECE_BYTES, 1],
    );
    assert.ok(Buffer.concat(parts).equals(bytes));
  });

  test('the worst that JSON makes of a text fits', () => {
    const messages = [...outputMessages('stdout', '\u0001'.repeat(100_000))];
    for (const message of messages) assert.ok(Buffer.byteLength(encodeMessage(message)) <= MAX_LINE_BYTES);
    const pair = `${'a'.repeat(32 * 1024 - 1)}\u{1f600}b`;
    assert.deepEqual(backOf(outputMessages('stdout', pair)), ['a'.repeat(32 * 1024 - 1), '\u{1f600}b']);
  });
});
