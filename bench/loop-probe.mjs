/**
 * `node --import ./bench/loop-probe.mjs PROGRAM`: at the first SIGUSR2 begins to watch the event loop, and at each prints
 * how long it was held up at most since the last one, in ms, as one JSON line on stdout. Until then it costs nothing.
 */

import { monitorEventLoopDelay } from 'node:perf_hooks';

/** A finer one would itself be a load. */
const RESOLUTION_MS = 5;

let histogram;
process.on('SIGUSR2', () => {
  if (histogram === undefined) {
    histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
    histogram.enable();
  }
  const held = (ms) => Math.max(0, (ms || 0) / 1e6 - RESOLUTION_MS);
  const [longestMs, p99Ms] = [held(histogram.max), held(histogram.percentile(99))];
  process.stdout.write(`${JSON.stringify({ longestMs, p99Ms })}\n`);
  histogram.reset();
});
