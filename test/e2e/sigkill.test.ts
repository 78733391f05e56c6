/** A backup that is killed again and again, at moments that nobody chose: what it had read is not read again. */

import assert from 'node:assert/strict';
import { readFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { OPCODE, type SimulatedBoard, seededRandom } from '../../src/simulator/index.ts';
import { Bench, KIB, archiveEntries, parseJson, until } from '../support/cli.ts';
import { EspdProcess } from './support.ts';

const FLASH_BYTES = 512 * KIB;
const PATIENCE_MS = 60_000;

interface BackupDocument {
  readonly backups: readonly {
    readonly id: string;
    readonly sizeBytes: number;
    readonly transfer: { readonly flashBytesRead: number; readonly explained: Readonly<Record<string, number>> };
  }[];
}

/** Bytes of flash that drafts of the board have on the disk. */
async function draftedBytes(bench: Bench, board: SimulatedBoard): Promise<number> {
  const folder = join(bench.archivePath, board.mac.replaceAll(':', '-'));
  const drafts = (await readdir(folder).catch(() => [])).filter((name) => name.startsWith('draft.'));
  const sizes = drafts.map((name) =>
    stat(join(folder, name, 'flash.bin')).then(
      ({ blocks }) => 512 * blocks,
      () => 0,
    ),
  );
  return Math.max(0, ...(await Promise.all(sizes)));
}

async function kill(backup: EspdProcess): Promise<void> {
  backup.kill('SIGKILL');
  await backup.exited();
}

async function killedAgainAndAgain(t: TestContext, seed: number): Promise<void> {
  const random = seededRandom(seed);
  const share = () => random.bytes(1).readUInt8() / 256;
  const bench = await Bench.open(t);
  await bench.configure({ serial: { baudRate: 460_800 } });
  const content = random.bytes(FLASH_BYTES);
  const { board, address } = await bench.addBoard({
    family: 'esp32c3',
    flashSizeBytes: FLASH_BYTES,
    content,
    line: { latencyMs: 0 },
  });
  const start = () => new EspdProcess(t, bench, ['backup', '--port', address, '--json']);
  const nothingWrong = async () => {
    assert.deepEqual((await archiveEntries(bench.archivePath)).ids, []);
    assert.equal((await bench.run(['verify'])).status, 0, 'what is left of a killed backup is no damage');
  };

  let readBytes = 0;
  for (let round = 0; round < 3; round++) {
    const enough = (0.1 + 0.2 * round + 0.2 * share()) * FLASH_BYTES;
    const backup = start();
    await until(async () => (await draftedBytes(bench, board)) >= enough, 'enough is read', PATIENCE_MS);
    await kill(backup);
    readBytes = Math.max(readBytes, enough);
    await nothingWrong();
  }
  // Somewhere while it starts, connects, compares or begins to read.
  for (let round = 0; round < 2; round++) {
    const before = board.commands.length;
    const backup = start();
    await until(() => board.commands.length > before, 'the board is asked', PATIENCE_MS);
    await sleep(700 * share());
    await kill(backup);
    await nothingWrong();
  }

  const asked = board.commands.length;
  const backup = start();
  assert.equal(await backup.status(), 0, backup.stdout + backup.stderr);
  const [kept] = parseJson<BackupDocument>(backup.stdout).backups;
  assert.ok(kept !== undefined);
  const { explained, flashBytesRead } = kept.transfer;
  const leftover = explained['leftover'] ?? 0;
  // The block in which reading broke off may be read again: whether its sectors are worth asking for depends on the line.
  assert.ok(
    leftover >= readBytes - 64 * KIB,
    `${leftover} of ${readBytes} bytes were used again: ${JSON.stringify(kept.transfer)}`,
  );
  assert.equal(leftover + flashBytesRead, FLASH_BYTES);
  assert.ok(board.commands.slice(asked).some(({ opcode }) => opcode === OPCODE.flashMd5));
  const image = join(bench.archivePath, board.mac.replaceAll(':', '-'), kept.id, 'flash.bin');
  assert.ok((await readFile(image)).equals(content), 'the image is the flash');
  assert.equal((await bench.run(['verify'])).status, 0);
  assert.deepEqual(await archiveEntries(bench.archivePath), { ids: [kept.id], others: [] });
}

describe('a backup killed by SIGKILL', { concurrency: 2, timeout: 300_000 }, () => {
  for (const seed of [11, 23]) {
    test(`goes on where it was, and keeps nothing wrong (seed ${seed})`, (t) => killedAgainAndAgain(t, seed));
  }
});
