import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import { type BackupJobOptions, runBackupJob } from '../../src/daemon/job.ts';
import { EspdError, type ErrorCode } from '../../src/errors.ts';
import { silentLogger } from '../../src/log.ts';
import { type Mac, parseMac } from '../../src/mac.ts';
import type { PortInfo } from '../../src/serial/ports.ts';
import { VirtualClock, createBoard, demoImage, memoryLink } from '../../src/simulator/index.ts';
import type { BoardOptions } from '../../src/simulator/index.ts';
import { newArchive } from '../archive/support.ts';
import { CP2102, ESP32_C3, KIB } from './workshop.ts';

const PORT: PortInfo = { address: '/dev/ttyUSB0', key: '1', usb: CP2102, fromFolder: false };
const NATIVE: PortInfo = { ...PORT, address: '/dev/ttyACM0', usb: ESP32_C3 };

async function setUp(t: TestContext, boardOptions: Partial<BoardOptions> = {}, more: Partial<BackupJobOptions> = {}) {
  const clock = new VirtualClock();
  const family = boardOptions.family ?? 'esp32';
  const content = demoImage({ family, sizeBytes: 256 * KIB, appBytes: 40 * KIB });
  const board = createBoard({ flashSizeBytes: 256 * KIB, content, ...boardOptions, family, clock });
  const abort = new AbortController();
  /** When each open was asked for. */
  const opens: number[] = [];
  const busyMacs = new Set<Mac>();
  const options: BackupJobOptions = {
    archive: await newArchive(t, { clock }),
    full: false,
    reason: 'plug-in',
    allowHalfRestored: false,
    busyMacs,
    whyNotDue: () => Promise.resolve(null),
    clock,
    log: silentLogger,
    signal: abort.signal,
    reset: 'auto',
    connectAttempts: 2,
    baudRate: 921_600,
    openLink: async (address, { signal }) => {
      opens.push(clock.now());
      signal?.throwIfAborted();
      const link = memoryLink(board, { clock, address });
      // As serial/serialport-open.ts does it.
      await link.setControlLines({ dtr: false, rts: false });
      return link;
    },
    ...more,
  };
  const refusing = (code: ErrorCode, until: number): BackupJobOptions => ({
    ...options,
    openLink: async (...args) => {
      if (clock.now() >= until) return options.openLink!(...args);
      opens.push(clock.now());
      throw new EspdError(code, code);
    },
  });
  const pass = (durationMs: number) => new Promise<void>((resolve) => clock.schedule(durationMs, resolve));
  return { clock, board, abort, opens, busyMacs, options, refusing, pass };
}

/** As the USB-Serial/JTAG peripheral is told to reset into download mode, by lines alone. */
async function resetIntoDownloadMode({ board, clock, pass }: Awaited<ReturnType<typeof setUp>>): Promise<void> {
  const link = memoryLink(board, { clock });
  for (const [dtr, rts] of [
    [false, false],
    [true, false],
    [true, true],
    [false, true],
    [false, false],
  ] as const) {
    await link.setControlLines({ dtr, rts });
  }
  await pass(100);
  await link.close();
  assert.equal(board.mode, 'download');
}

const failure = (code: ErrorCode) => (error: unknown) => error instanceof EspdError && error.code === code;

describe('the job of one board', () => {
  it('backs it up, lets it go, and frees its MAC', async (t) => {
    const { board, busyMacs, options } = await setUp(t);
    const { value, left } = await runBackupJob(PORT, options);
    assert.ok('backup' in value);
    assert.equal(value.backup.manifest.reason, 'plug-in');
    assert.deepEqual([value.unchanged, left, board.mode], [false, 'app', 'app']);
    assert.equal(value.backup.mac, board.mac);
    assert.equal(busyMacs.size, 0);
  });

  it('lets a board go that is not due, and frees its MAC; a disk that hangs does not keep it', async (t) => {
    const { abort, board, busyMacs, options, pass } = await setUp(t);
    const { value, left } = await runBackupJob(PORT, { ...options, whyNotDue: () => Promise.resolve('young') });
    assert.deepEqual([value, left, board.mode, busyMacs.size], [{ notDue: 'young' }, 'app', 'app', 0]);
    let wake: (why: string) => void = () => undefined;
    const whyNotDue = () => new Promise<string>((resolve) => (wake = resolve));
    const hanging = assert.rejects(runBackupJob(PORT, { ...options, whyNotDue }), failure('interrupted'));
    await pass(10_000);
    assert.equal(board.mode, 'download');
    abort.abort(new EspdError('interrupted', 'Interrupted'));
    await pass(10_000);
    assert.equal(board.mode, 'app', 'released, while the disk still hangs');
    wake('young');
    await hanging;
    assert.equal(busyMacs.size, 0);
  });

  it('waits for a tty that udev has not made ours yet: ten seconds, four looks in each', async (t) => {
    const { opens, refusing } = await setUp(t);
    await runBackupJob(PORT, refusing('port-denied', 10_000));
    const looks = Array.from({ length: 41 }, (_, index) => index * 250);
    assert.deepEqual(opens.slice(0, 41), looks);
    const late = await setUp(t);
    await assert.rejects(runBackupJob(PORT, late.refusing('port-denied', 10_001)), failure('port-denied'));
    assert.equal(late.opens.length, 41);
  });

  it('waits for no other failure of a port, and for no port that is not USB', async (t) => {
    const { opens, refusing } = await setUp(t);
    for (const code of ['port-busy', 'port-failed', 'port-vanished'] as const) {
      await assert.rejects(runBackupJob(PORT, refusing(code, Infinity)), failure(code));
    }
    await assert.rejects(
      runBackupJob({ ...PORT, usb: null }, refusing('port-missing', Infinity)),
      failure('port-missing'),
    );
    assert.deepEqual(opens, [0, 0, 0, 0]);
  });

  it('ends its wait at once when it is aborted, with the reason', async (t) => {
    const { abort, clock, opens, refusing, pass } = await setUp(t);
    const job = runBackupJob(PORT, refusing('port-denied', Infinity));
    const ended = assert.rejects(job, failure('port-vanished'));
    await pass(300);
    abort.abort(new EspdError('port-vanished', 'unplugged'));
    await ended;
    assert.deepEqual([clock.now(), opens.length], [300, 2]);
  });

  it('refuses a MAC that another job has, keeps it for that one, and lets the board go', async (t) => {
    const { board, busyMacs, options } = await setUp(t);
    const mac = parseMac(board.mac)!;
    busyMacs.add(mac);
    await assert.rejects(runBackupJob(PORT, options), failure('port-busy'));
    assert.deepEqual([...busyMacs], [mac]);
    assert.equal(board.mode, 'app');
    assert.deepEqual((await options.archive.history(mac)).backups, []);
  });

  it('frees its MAC when it fails', async (t) => {
    const { busyMacs, options } = await setUp(t, { faults: [{ kind: 'flash-id', id: [0, 0, 0] }] });
    await assert.rejects(runBackupJob(PORT, options), failure('flash-unknown'));
    assert.equal(busyMacs.size, 0);
  });

  it('finds a board in download mode without resetting it once more', async (t) => {
    const bench = await setUp(t, { family: 'esp32c3', usb: 'usb-serial-jtag' });
    await resetIntoDownloadMode(bench);
    const { board, options } = bench;
    const resets = board.resets;
    const result = await runBackupJob(NATIVE, { ...options, inDownloadMode: true });
    assert.equal(result.left, 'app');
    assert.equal(board.resets, resets + 1, 'the one that lets it go');
    assert.equal(board.mode, 'app');
  });

  it('resets a board that was expected in download mode and is not', async (t) => {
    const { board, opens, options } = await setUp(t, { family: 'esp32c3', usb: 'usb-serial-jtag' });
    const result = await runBackupJob(NATIVE, { ...options, inDownloadMode: true });
    assert.deepEqual([result.left, board.mode, opens.length], ['app', 'app', 2]);
  });

  it('does not try again what failed for another reason in download mode', async (t) => {
    const bench = await setUp(t, { family: 'esp32c3', usb: 'usb-serial-jtag' });
    await resetIntoDownloadMode(bench);
    const { board, busyMacs, opens, options } = bench;
    busyMacs.add(parseMac(board.mac)!);
    await assert.rejects(runBackupJob(NATIVE, { ...options, inDownloadMode: true }), failure('port-busy'));
    assert.deepEqual([opens.length, board.mode], [1, 'app']);
  });

  it('says that a board stays in download mode, and keeps its backup', async (t) => {
    const { board, options } = await setUp(t, { faults: [{ kind: 'stuck-in-bootloader' }] });
    const result = await runBackupJob(PORT, options);
    assert.equal(result.left, 'stuck');
    assert.equal((await options.archive.history(parseMac(board.mac)!)).backups.length, 1);
  });
});
