/**
 * A reporter of node's test runner for .ci/run, which adds up several runs: one line with the numbers of tests that
 * passed, failed and were skipped.
 */

/** @param {AsyncIterable<{ type: string, data: { nesting?: number, message?: string } }>} events */
export default async function* countsReporter(events) {
  const counts = {};
  for await (const { type, data } of events) {
    // The summary comes as remarks of the whole run: `tests 12`, `pass 10`, ...
    const [, name, count] = (type === 'test:diagnostic' && /^([a-z]+) (\d+)$/.exec(data.message)) || [];
    if (name !== undefined) counts[name] = Number(count);
  }
  const { pass = 0, fail = 0, cancelled = 0, skipped = 0, todo = 0 } = counts;
  yield `${pass} ${fail + cancelled} ${skipped + todo}\n`;
}

/**
 * Arguments for node: what people read on stdout, and the counts into the file that ESPD_TEST_COUNTS names, if it does.
 * The variable is taken out of the environment: a test may run these scripts, and what it counts is not for that file.
 */
export function reporterArguments() {
  // Named, because without a terminal Node 20 would write TAP.
  const spec = ['--test-reporter=spec', '--test-reporter-destination=stdout'];
  const file = process.env.ESPD_TEST_COUNTS;
  delete process.env.ESPD_TEST_COUNTS;
  if (!file) return spec;
  return [...spec, `--test-reporter=${import.meta.url}`, `--test-reporter-destination=${file}`];
}
