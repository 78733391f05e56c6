/**
 * Loaded before espd in its process. In the folder $ESPD_TEST_TROUBLE: once `stuck` is there, each fsync keeps a thread of
 * Node's pool for ever, by opening the FIFO `pipe` that nobody writes to; once `fault` is there, something is thrown where
 * nobody can catch it; once `thread` is there, a thread of espd's own that reads a file is kept for ever in the same way.
 */

import fs, { existsSync, openSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { isMainThread } from 'node:worker_threads';

const folder = process.env.ESPD_TEST_TROUBLE;
if (folder !== undefined && isMainThread) {
  const handle = await open(folder);
  const prototype = Object.getPrototypeOf(handle);
  await handle.close();
  const { sync } = prototype;
  prototype.sync = function () {
    return existsSync(join(folder, 'stuck')) ? open(join(folder, 'pipe')).then(() => undefined) : sync.call(this);
  };
  const timer = setInterval(() => {
    if (!existsSync(join(folder, 'fault'))) return;
    clearInterval(timer);
    throw new Error('thrown in a native callback');
  }, 50);
  timer.unref();
}

if (folder !== undefined && !isMainThread) {
  const { readSync } = fs;
  fs.readSync = (...args) => {
    if (existsSync(join(folder, 'thread'))) {
      writeFileSync(join(folder, 'thread-is-stuck'), '');
      openSync(join(folder, 'pipe'));
    }
    return readSync(...args);
  };
  syncBuiltinESMExports();
}
