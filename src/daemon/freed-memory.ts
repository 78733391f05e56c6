/**
 * What the service has freed goes back to the system. glibc keeps a store of freed memory for each thread that has ever
 * asked for some, and learns to keep larger and larger pieces (mallopt(3)). A process of a command ends soon; the service has
 * idle threads for months, and after its first board held seven megabytes that nobody used.
 */

/** Of malloc.h, and what they are set to: one store for all threads, and pieces of this size each a mapping of its own. */
const ARENA_MAX = -8;
const MMAP_THRESHOLD = -3;
const TRIM_THRESHOLD = -1;
const LARGE_BYTES = 64 * 1024;

/** From now on. Without koffi, or with another library than glibc, nothing happens. Never rejects. */
export async function giveBackFreedMemory(): Promise<void> {
  if (process.platform !== 'linux') return;
  try {
    const { default: koffi } = await import('koffi');
    const libc = koffi.load(null);
    const mallopt = libc.func('int mallopt(int parameter, int value)') as (parameter: number, value: number) => number;
    mallopt(ARENA_MAX, 1);
    mallopt(MMAP_THRESHOLD, LARGE_BYTES);
    mallopt(TRIM_THRESHOLD, LARGE_BYTES);
    // What the start has left.
    (libc.func('int malloc_trim(size_t pad)') as (pad: number) => number)(0);
  } catch {
    // It costs memory, and nothing else.
  }
}
