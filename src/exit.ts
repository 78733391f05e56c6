/**
 * An end of the process that waits for no disk. `process.exit` joins the threads of Node's pool (node, src/api/
 * environment.cc, DefaultProcessExitHandlerInternal), and those of workers (src/node_worker.cc, Worker::JoinThread), so
 * that an fsync that takes 9 s would hold it for 9 s.
 */

import { createRequire } from 'node:module';

/**
 * Requests to the file system that are under way (process.getActiveResourcesInfo), and a worker that has something to do:
 * the thread that hashes images keeps the process alive so long, and may be stuck in a read.
 */
const DISK_WORK = new Set(['FSReqCallback', 'FSReqPromise', 'CloseReq', 'MessagePort']);

/** Ends the process with this status if a disk would keep `process.exit` from it; else returns. */
export function exitPastDisk(status: number): void {
  if (process.platform === 'win32') return;
  if (process.getActiveResourcesInfo().some((name) => DISK_WORK.has(name))) exitAtOnce(status);
}

/** By the C library's own call, which asks nobody. What is not written yet stays so: the archive reckons with that. */
function exitAtOnce(status: number): void {
  try {
    // Not an import: that would read files, in the same threads.
    const load = createRequire(import.meta.url);
    const koffi = load('koffi') as { load(path: null): { func(prototype: string): (status: number) => void } };
    koffi.load(null).func('void _exit(int status)')(status);
  } catch {
    process.kill(process.pid, 'SIGKILL');
  }
}
