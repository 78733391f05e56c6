/**
 * `node --import ./bench/loop-probe.mjs PROGRAM`: on SIGUSR2 prints how long the event loop was held up at most since the
 * last time, in ms, as one JSON line on stdout.
 */

import { monitorEventLoopDelay } from 'node:perf_hooks';

const histogram = monitorEventLoopDelay({ resolution: 5 });
histogram.enable();
process.on('SIGUSR2', () => {
  process.stdout.write(
    `${JSON.stringify({ longestMs: histogram.max / 1e6, p99Ms: histogram.percentile(99) / 1e6 })}\n`,
  );
  histogram.reset();
});
