/**
 * The exposition format 0.0.4, read as Prometheus reads it and without a line of the code that writes it:
 * https://github.com/prometheus/docs/blob/main/docs/instrumenting/exposition_formats.md
 */

import assert from 'node:assert/strict';

export interface ParsedFamily {
  readonly type: string;
  readonly help: string;
  readonly samples: { readonly name: string; readonly labels: Record<string, string>; readonly value: number }[];
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*/;
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\n"])*)"(,|\})/;

/** Fails on anything that a scrape would refuse, and on what `promtool check metrics` objects to. */
export function parseExposition(text: string): Map<string, ParsedFamily> {
  const families = new Map<string, ParsedFamily>();
  let current = '';
  let help: { name: string; text: string } | undefined;
  assert.ok(text.endsWith('\n'), 'the last line ends');
  const seen = new Set<string>();
  for (const line of text.slice(0, -1).split('\n')) {
    const helpLine = /^# HELP (\S+) (.+)$/.exec(line);
    const typeLine = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(line);
    if (helpLine !== null) {
      help = { name: helpLine[1]!, text: helpLine[2]! };
    } else if (typeLine !== null) {
      current = typeLine[1]!;
      assert.ok(!families.has(current), `${current} is one group`);
      const said = help?.name === current ? help.text : '';
      assert.ok(said !== '', 'its help stands before');
      assert.equal(current.endsWith('_total'), typeLine[2] === 'counter', `${current} is named by its type`);
      families.set(current, { type: typeLine[2]!, help: said, samples: [] });
    } else {
      const family = families.get(current);
      assert.ok(family !== undefined, line);
      const name = NAME.exec(line)?.[0] ?? '';
      let rest = line.slice(name.length);
      const labels: Record<string, string> = {};
      if (rest.startsWith('{')) {
        rest = rest.slice(1);
        for (let more = true; more;) {
          const label = LABEL.exec(rest);
          assert.ok(label !== null, line);
          assert.ok(!(label[1]! in labels), line);
          labels[label[1]!] = label[2]!.replace(/\\([\\n"])/g, (_, c: string) => (c === 'n' ? '\n' : c));
          rest = rest.slice(label[0].length);
          more = label[3] === ',';
        }
      }
      const value = /^ (NaN|[+-]Inf|[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/.exec(rest);
      assert.ok(value !== null, line);
      const suffixes = family.type === 'histogram' ? ['_bucket', '_sum', '_count'] : [''];
      assert.ok(
        suffixes.some((suffix) => name === current + suffix),
        line,
      );
      const series = JSON.stringify([name, Object.entries(labels).sort()]);
      assert.ok(!seen.has(series), `twice: ${line}`);
      seen.add(series);
      family.samples.push({ name, labels, value: Number(value[1]!.replace('Inf', 'Infinity')) });
    }
  }
  for (const [name, family] of families) if (family.type === 'histogram') checkHistogram(name, family);
  return families;
}

function checkHistogram(name: string, { samples }: ParsedFamily): void {
  const series = new Map<string, { buckets: [number, number][]; count?: number; sum?: number }>();
  for (const { name: full, labels, value } of samples) {
    const { le, ...others } = labels;
    const key = JSON.stringify(others);
    const one = series.get(key) ?? { buckets: [] };
    series.set(key, one);
    if (full === `${name}_bucket`) one.buckets.push([Number(le!.replace('Inf', 'Infinity')), value]);
    else if (full === `${name}_sum`) one.sum = value;
    else one.count = value;
  }
  for (const { buckets, count, sum } of series.values()) {
    assert.ok(count !== undefined && sum !== undefined);
    assert.deepEqual(buckets.at(-1), [Infinity, count], 'the last bucket has all');
    for (const [index, [bound, value]] of buckets.entries()) {
      const before = buckets[index - 1];
      assert.ok(before === undefined || (before[0] < bound && before[1] <= value), 'buckets are cumulative');
    }
  }
}
