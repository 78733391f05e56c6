/** A daemon that was stopped or killed in the middle of a backup: the next one looks at that board again. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ArchiveCache } from '../../src/archive/types.ts';
import { Unfinished } from '../../src/daemon/unfinished.ts';
import { silentLogger } from '../../src/log.ts';
import { PACED, Workshop, reading } from './workshop.ts';

const port = (key: string) => ({ address: '/dev/ttyUSB0', key, usb: null, fromFolder: false });

class MemoryCache implements ArchiveCache {
  content: Buffer | undefined;
  read(): Promise<Buffer | undefined> {
    return Promise.resolve(this.content);
  }
  write(_name: string, bytes: Uint8Array | string): Promise<void> {
    this.content = Buffer.from(bytes);
    return Promise.resolve();
  }
}

describe('a restart in the middle of a backup', () => {
  it('looks at a board behind a bridge again, which was there before, and at no other', async (t) => {
    const before = await Workshop.started(t);
    const [device, other] = [before.board({ line: PACED }), before.board({ slot: 1 })];
    before.plug(device);
    await reading(before, device);
    before.plug(other);
    await before.said('Backed up and verified', { port: other.address });
    await before.daemon.stop();
    assert.equal(device.board.mode, 'app');
    const after = await Workshop.open(t, { root: before.archive.root });
    const [again, alone] = [after.board(), after.board({ slot: 1 })];
    after.present.push(again, alone);
    await after.daemon.start();
    await after.said('Backed up and verified', { port: again.address });
    await after.idle();
    assert.equal(after.opensOf(alone.address), 0);
  });

  it('does not look at a board that was plugged in anew meanwhile, nor where existing ports are nobody’s', async (t) => {
    const before = await Workshop.started(t);
    const device = before.board({ line: PACED });
    before.plug(device);
    await reading(before, device);
    await before.daemon.stop();
    for (const settings of [{ existing: 'none' as const }, {}]) {
      const after = await Workshop.open(t, { root: before.archive.root, settings });
      // The second plug-in of that workshop has another key.
      if (settings.existing === undefined) after.present.push(after.board({ slot: 3, address: '/dev/ttyUSB3' }));
      after.present.push(after.board());
      await after.daemon.start();
      await after.pass(60_000);
      assert.deepEqual(after.opened, []);
      await after.daemon.stop();
    }
  });
});

describe('the record of plug-ins whose job has not ended', () => {
  it('is what a process that was killed has left', async () => {
    const cache = new MemoryCache();
    const killed = new Unfinished({ cache, checkReadable: () => Promise.resolve() }, silentLogger);
    await killed.load();
    for (const key of ['a', 'b', 'c']) killed.began(port(key));
    killed.ended(port('b'));
    await killed.close();
    killed.ended(port('a'));
    const next = new Unfinished({ cache, checkReadable: () => Promise.resolve() }, silentLogger);
    await next.load();
    assert.deepEqual(
      ['a', 'b', 'c', 'd'].map((key) => next.isLeft(port(key))),
      [true, false, true, false],
    );
  });

  it('is not begun where the archive is not there', async () => {
    const cache = new MemoryCache();
    const missing = () => Promise.reject(new Error('not mounted'));
    const unfinished = new Unfinished({ cache, checkReadable: missing }, silentLogger);
    unfinished.began(port('a'));
    await unfinished.close();
    assert.equal(cache.content, undefined);
  });

  it('is nothing where the cache holds anything else', async () => {
    const contents = [
      '',
      '{',
      'null',
      '[]',
      '{"version":2,"keys":["a"]}',
      '{"version":1}',
      '{"version":1,"keys":[1,null]}',
    ];
    for (const content of contents) {
      const cache = new MemoryCache();
      cache.content = Buffer.from(content);
      const unfinished = new Unfinished({ cache, checkReadable: () => Promise.resolve() }, silentLogger);
      await unfinished.load();
      assert.equal(unfinished.isLeft(port('a')), false, content);
    }
  });
});
