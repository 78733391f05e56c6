/** The file system that the archive uses by itself: what it reads is what Node reads, and no closed file is ever used. */

import assert from 'node:assert/strict';
import { constants } from 'node:fs';
import * as nodeFs from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { nodeFileSystem } from '../../src/archive/node-fs.ts';
import type { ReadFile } from '../../src/archive/turns.ts';
import { image, temporaryFolder } from './support.ts';

async function openToRead(path: string): Promise<ReadFile> {
  assert.ok(nodeFileSystem.openToRead !== undefined);
  return nodeFileSystem.openToRead(path, constants.O_RDONLY | constants.O_NOFOLLOW);
}

test('reads what Node reads, and tells the same of a file', async (t) => {
  const path = join(await temporaryFolder(t), 'file');
  const content = image(10_000);
  await nodeFs.writeFile(path, content);
  const file = await openToRead(path);
  const bytes = Buffer.alloc(12_000);
  assert.equal((await file.read(bytes, 5, 11_000, 100)).bytesRead, 9_900);
  assert.deepEqual(bytes.subarray(5, 9_905), content.subarray(100));
  assert.equal((await file.read(bytes, 0, 10, 10_000)).bytesRead, 0);
  const [mine, nodes, named] = [await file.stat(), await nodeFs.lstat(path), await nodeFileSystem.lstat(path)];
  for (const stats of [mine, named]) {
    const { ino, size, mtimeMs, ctimeMs, mode, blocks } = stats;
    assert.deepEqual(
      { ino, size, mtimeMs, ctimeMs, mode, blocks },
      {
        ...{ ino: nodes.ino, size: nodes.size, mtimeMs: nodes.mtimeMs },
        ...{ ctimeMs: nodes.ctimeMs, mode: nodes.mode, blocks: nodes.blocks },
      },
    );
    assert.equal(stats.isFile(), true);
  }
  await file.close();
});

test('failures bear the code of the system', async (t) => {
  const folder = await temporaryFolder(t);
  await nodeFs.symlink('nowhere', join(folder, 'link'));
  await assert.rejects(openToRead(join(folder, 'missing')), { code: 'ENOENT', syscall: 'open' });
  await assert.rejects(openToRead(join(folder, 'link')), { code: 'ELOOP' });
  await assert.rejects(nodeFileSystem.lstat(join(folder, 'missing')), { code: 'ENOENT', syscall: 'lstat' });
  const opened = await openToRead(folder);
  await assert.rejects(opened.read(Buffer.alloc(1), 0, 1, 0), { code: 'EISDIR' });
  await opened.close();
});

test('a closed file is used no more, though its number may be that of another one by then', async (t) => {
  const folder = await temporaryFolder(t);
  const [first, second] = [join(folder, 'first'), join(folder, 'second')];
  await nodeFs.writeFile(first, 'first');
  await nodeFs.writeFile(second, 'second');
  const file = await openToRead(first);
  const { fd } = file;
  assert.ok(fd > 2);
  await file.close();
  const others = await Promise.all(Array.from({ length: 4 }, () => openToRead(second)));
  const bytes = Buffer.alloc(6);
  await assert.rejects(file.read(bytes, 0, 6, 0), { code: 'EBADF' });
  await assert.rejects(file.stat(), { code: 'EBADF' });
  assert.equal(file.fd, -1);
  await file.close(); // again, and nothing else is closed by it
  for (const other of others) {
    assert.equal((await other.read(bytes, 0, 6, 0)).bytesRead, 6);
    await other.close();
  }
});

test('closing waits for what is under way', async (t) => {
  const path = join(await temporaryFolder(t), 'file');
  const content = image(1024 * 1024);
  await nodeFs.writeFile(path, content);
  const file = await openToRead(path);
  const order: string[] = [];
  const bytes = Buffer.alloc(content.length);
  const reads = Array.from({ length: 16 }, async (_, part) => {
    const length = content.length / 16;
    const { bytesRead } = await file.read(bytes, part * length, length, part * length);
    assert.equal(bytesRead, length);
    order.push('read');
  });
  const closing = [file.close(), file.close()].map((closed) => closed.then(() => order.push('closed')));
  await assert.rejects(file.stat(), { code: 'EBADF' });
  await Promise.all([...reads, ...closing]);
  assert.deepEqual(order, [...Array.from({ length: 16 }, () => 'read'), 'closed', 'closed']);
  assert.deepEqual(bytes, content);
});
