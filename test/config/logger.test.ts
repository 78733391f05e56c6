import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, openSync, readFileSync, rmSync, mkdtempSync, createWriteStream } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { test } from 'node:test';
import fc from 'fast-check';
import { createLogger, type LoggerOptions } from '../../src/config/logger.ts';
import { EspdError } from '../../src/errors.ts';
import { VirtualClock } from '../../src/simulator/virtual-clock.ts';

/** A stream that keeps what it is given, and looks like a terminal if asked. */
class Sink extends Writable {
  text = '';
  readonly isTTY: boolean;
  constructor(isTTY = false) {
    super({ decodeStrings: false });
    this.isTTY = isTTY;
  }
  override _write(chunk: string | Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

function logTo(sink: Writable, more: Partial<LoggerOptions> = {}) {
  const clock = new VirtualClock({ automatic: false });
  return createLogger({ level: 'debug', format: 'text', env: {}, stream: sink, clock, ...more });
}

/** What one line looks like in a format. */
function lineOf(format: 'text' | 'json' | 'journald', message: string, fields?: Record<string, unknown>): string {
  const sink = new Sink();
  logTo(sink, { format }).info(message, fields);
  return sink.text;
}

test('text: time, level, message, fields', () => {
  assert.equal(
    lineOf('text', 'board saved', {
      mac: '50:02:91:c3:37:a5',
      seconds: 9,
      unchanged: false,
      hint: null,
      label: 'my board',
    }),
    '2026-11-23T10:00:00.000Z INFO  board saved mac=50:02:91:c3:37:a5 seconds=9 unchanged=false hint=null label="my board"\n',
  );
  const sink = new Sink();
  const log = logTo(sink);
  for (const level of ['error', 'warn', 'info', 'debug'] as const) log[level]('x');
  assert.deepEqual(
    sink.text.split('\n').map((line) => line.slice(25)),
    ['ERROR x', 'WARN  x', 'INFO  x', 'DEBUG x', ''],
  );
});

test('journald: the level as a priority, no time stamp', () => {
  const sink = new Sink();
  const log = logTo(sink, { format: 'journald' });
  for (const level of ['error', 'warn', 'info', 'debug'] as const) log[level]('a\nb', { n: 1 });
  assert.equal(sink.text, '<3>a\\nb n=1\n<4>a\\nb n=1\n<6>a\\nb n=1\n<7>a\\nb n=1\n');
});

test('json: one object a line; fields cannot take the place of the own ones', () => {
  const line = lineOf('json', 'say "hi"\n', { a: [1, { b: 'c' }], time: 1, level: 2, message: 3, gone: undefined });
  assert.ok(line.endsWith('}\n'));
  assert.deepEqual(JSON.parse(line), {
    time: '2026-11-23T10:00:00.000Z',
    level: 'info',
    message: 'say "hi"\n',
    a: [1, { b: 'c' }],
    time_: 1,
    level_: 2,
    message_: 3,
  });
});

test('values that have no plain form are shown, and none costs the line', () => {
  const circle: Record<string, unknown> = {};
  circle['self'] = circle;
  const fields = {
    big: 10n ** 20n,
    bytes: Buffer.from([0, 255]),
    many: Buffer.alloc(100),
    circle,
    fn: () => 1,
    symbol: Symbol('x'),
    nan: Number.NaN,
    date: new Date(0),
    throwing: { toJSON: () => assert.fail('no') },
    nested: { error: new EspdError('port-busy', 'Taken', { hint: 'Wait' }), deep: [1n] },
    after: 'still here',
  };
  const parsed = JSON.parse(lineOf('json', 'x', fields)) as Record<string, unknown>;
  assert.equal(parsed['big'], '100000000000000000000');
  assert.equal(parsed['bytes'], '00ff');
  assert.match(String(parsed['many']), /^0{128}\.\.\. \(100 bytes\)$/);
  assert.equal(parsed['circle'], '(unprintable)');
  assert.equal(parsed['fn'], '(unprintable)');
  assert.equal(parsed['throwing'], '(unprintable)');
  assert.equal(parsed['date'], '1970-01-01T00:00:00.000Z');
  assert.deepEqual(parsed['nested'], { error: { code: 'port-busy', message: 'Taken', hint: 'Wait' }, deep: ['1'] });
  assert.equal(parsed['after'], 'still here');
  for (const format of ['text', 'journald'] as const) {
    const line = lineOf(format, 'x', fields);
    assert.equal(line.split('\n').length, 2);
    assert.match(
      line,
      / big="100000000000000000000" bytes="00ff" .* circle="\(unprintable\)" .* after="still here"\n$/,
    );
  }
});

test('errors: a clause for those a person can act on, the stack for faults', () => {
  const busy = new EspdError('port-busy', 'ModemManager has /dev/ttyUSB0 open');
  assert.match(lineOf('text', 'x', { error: busy }), / error="port-busy: ModemManager has \/dev\/ttyUSB0 open"\n$/);
  assert.match(
    lineOf('text', 'x', { error: new TypeError('boom') }),
    / error="TypeError: boom\\n {4}at .*logger\.test/,
  );
  const internal = new EspdError('internal', 'boom', { cause: new TypeError('boom') });
  assert.match(lineOf('text', 'x', { error: internal }), / error="internal: boom \(TypeError: boom\\n {4}at /);
  const parsed = JSON.parse(lineOf('json', 'x', { error: internal })) as { error: { cause: string } };
  assert.match(parsed.error.cause, /^TypeError: boom\n {4}at /);
  const looping = new Error('a');
  looping.cause = looping;
  assert.match(lineOf('json', 'x', { error: new EspdError('internal', 'b', { cause: looping }) }), /Error: a/);
});

const HOSTILE = '\u001b]0;pwned\u0007\r\n<0>fake\u0000\u007f\u009b31m\u202eabc\u2028\u2066\ud800\ufeff\t';

test('hostile texts cannot reach the terminal, split a line or forge a priority', () => {
  for (const format of ['text', 'json', 'journald'] as const) {
    const line = lineOf(format, HOSTILE, { [HOSTILE]: HOSTILE, list: [HOSTILE], error: new Error(HOSTILE) });
    assert.equal(line.indexOf('\n'), line.length - 1, format);
    assert.doesNotMatch(line.slice(0, -1), /[\p{C}\p{Zl}\p{Zp}]/u, format);
  }
  assert.equal(
    lineOf('text', '\u001b[2J\n', { product: 'CP2102\u001b[0m "x" \\' }).slice(31),
    '\\u{1b}[2J\\n product="CP2102\\u{1b}[0m \\"x\\" \\\\"\n',
  );
  const parsed = JSON.parse(lineOf('json', HOSTILE)) as { message: string };
  assert.equal(parsed.message, HOSTILE);
});

test('law: whatever is logged is one printable line, and JSON can be read back', () => {
  const text = fc.string({ unit: 'binary' });
  fc.assert(
    fc.property(
      text,
      fc.dictionary(text, fc.anything({ withBigInt: true, withDate: true, withTypedArray: true })),
      (message, fields) => {
        for (const format of ['text', 'json', 'journald'] as const) {
          const line = lineOf(format, message, fields);
          assert.equal(line.indexOf('\n'), line.length - 1);
          assert.doesNotMatch(line.slice(0, -1), /[\p{C}\p{Zl}\p{Zp}]/u);
          if (format === 'json') assert.equal((JSON.parse(line) as { message: string }).message, message);
        }
      },
    ),
  );
});

test('endless texts are cut', () => {
  for (const format of ['text', 'json', 'journald'] as const) {
    const line = lineOf(format, 'm'.repeat(100_000), { a: 'a'.repeat(100_000), b: { c: 'c'.repeat(100_000) } });
    // Below LineMax of journald (48 KiB), beyond which it splits lines.
    assert.ok(line.length < 20_000 || format === 'json', `${format}: ${line.length}`);
    assert.match(line, /a{4000}\.\.\./);
  }
});

test('child loggers add fields, nearer ones win', () => {
  const sink = new Sink();
  const log = logTo(sink, { format: 'journald' });
  const child = log.child({ port: '/dev/ttyUSB0', job: 1 }).child({ job: 2 });
  child.info('x', { port: 'p' });
  child.info('y');
  log.info('z');
  assert.equal(sink.text, '<6>x port=p job=2\n<6>y port=/dev/ttyUSB0 job=2\n<6>z\n');
});

test('the level can be changed while running, for children too', () => {
  const sink = new Sink();
  const log = logTo(sink, { level: 'warn', format: 'journald' });
  const child = log.child({ c: 1 });
  child.info('no');
  log.setLevel('debug');
  child.debug('yes');
  log.setLevel('error');
  log.warn('no');
  log.error('yes');
  assert.equal(sink.text, '<7>yes c=1\n<3>yes\n');
});

test('placeholders of printf and fields called message stay what they are', () => {
  assert.equal(lineOf('journald', '100%s %d %j', { message: 'm', level: 'l' }), '<6>100%s %d %j message=m level=l\n');
});

test('color only on a terminal, and not where it is forbidden', () => {
  const colored = (options: Partial<LoggerOptions>, isTTY = true) => {
    const sink = new Sink(isTTY);
    logTo(sink, options).error('x', { a: 1 });
    return sink.text.includes('\u001b[');
  };
  assert.equal(colored({}), true);
  assert.equal(colored({ env: { NO_COLOR: '' } }), true);
  assert.equal(colored({ env: { NO_COLOR: '1' } }), false);
  assert.equal(colored({ env: { TERM: 'dumb' } }), false);
  assert.equal(colored({ color: false }), false);
  assert.equal(colored({ color: true }, false), false);
  assert.equal(colored({ format: 'json' }), false);
  assert.equal(colored({ format: 'journald' }), false);
});

test('auto: journald only where the stream itself is the journal', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'espd-log-'));
  const file = join(folder, 'stderr');
  const fd = openSync(file, 'w');
  const { dev, ino } = fstatSync(fd, { bigint: true });
  for (const [journal, expected] of [
    [`${dev}:${ino}`, /^<6>x\n$/],
    [`${dev}:${ino + 1n}`, /INFO {2}x\n$/],
    ['nonsense', /INFO {2}x\n$/],
    [undefined, /INFO {2}x\n$/],
  ] as const) {
    // A stand-in for stderr: writes at once, has a file descriptor.
    const sink = Object.assign(new Sink(), { fd });
    const env = journal === undefined ? {} : { JOURNAL_STREAM: journal };
    logTo(sink, { format: 'auto', env }).info('x');
    assert.match(sink.text, expected);
  }
  closeSync(fd);
  const closed = Object.assign(new Sink(), { fd: 99_999 });
  logTo(closed, { format: 'auto', env: { JOURNAL_STREAM: '1:2' } }).info('x');
  assert.match(closed.text, /INFO {2}x/);

  const stream = createWriteStream(file);
  await once(stream, 'open');
  const log = logTo(stream);
  for (let index = 0; index < 2000; index += 1) log.info(`line ${index}`);
  await log.close();
  assert.equal(readFileSync(file, 'utf8').split('\n').length, 2001);
  stream.end();
  rmSync(folder, { recursive: true });
});

test('close waits until a slow stream has taken everything, and ends nothing', async () => {
  const taken: string[] = [];
  const slow = new Writable({
    decodeStrings: false,
    highWaterMark: 10,
    write(chunk: string, _encoding, done) {
      setImmediate(() => {
        taken.push(chunk);
        done();
      });
    },
  });
  const log = logTo(slow, { format: 'journald' });
  for (let index = 0; index < 100; index += 1) log.info(String(index));
  await log.close();
  assert.equal(taken.join('').split('\n').length, 101);
  assert.equal(slow.writableEnded, false);
  log.error('too late');
  log.child({}).error('too late');
  await log.close();
  assert.ok(!taken.join('').includes('too late'));
});

test('close does not wait for ever for a stream that takes nothing', async () => {
  const stuck = new Writable({ write: () => undefined });
  const log = logTo(stuck, { clock: new VirtualClock() });
  log.info('x');
  await log.close();
  assert.equal(stuck.destroyed, false);
});

test('a stream that fails or is destroyed costs the log, not the program', async () => {
  const failing = new Writable({
    autoDestroy: false,
    write: (_chunk, _encoding, done) => done(Object.assign(new Error('EPIPE'), { code: 'EPIPE' })),
  });
  const log = logTo(failing, { clock: new VirtualClock() });
  for (let index = 0; index < 10; index += 1) log.info('x');
  await log.close();

  const gone = new PassThrough();
  const other = logTo(gone, { clock: new VirtualClock() });
  gone.destroy();
  other.info('x');
  await other.close();

  const ended = new Sink();
  const third = logTo(ended);
  ended.end();
  third.info('x');
  await third.close();
});

test('many loggers on one stream add one error listener', () => {
  const sink = new Sink();
  for (let index = 0; index < 20; index += 1) logTo(sink);
  assert.equal(sink.listenerCount('error'), 1);
});

test('a real process whose stderr is closed by its reader goes on', async () => {
  const logger = new URL('../../src/config/logger.ts', import.meta.url).href;
  const program = `
    const { createLogger } = await import(${JSON.stringify(logger)});
    const log = createLogger({ level: 'info', format: 'auto' });
    log.info('first');
    process.stdin.once('data', async () => {
      for (let i = 0; i < 100; i += 1) { log.info('x'.repeat(1000)); await new Promise((r) => setImmediate(r)); }
      await log.close();
      process.stdout.write('survived');
      process.exit(7);
    });`;
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], { stdio: 'pipe' });
  const [first] = (await once(child.stderr, 'data')) as [Buffer];
  assert.match(first.toString(), /INFO {2}first\n$/);
  child.stderr.destroy();
  let out = '';
  child.stdout.on('data', (data: Buffer) => (out += data.toString()));
  child.stdin.write('go\n');
  const [code] = (await once(child, 'close')) as [number];
  assert.deepEqual([code, out], [7, 'survived']);
});
