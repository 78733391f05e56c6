import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Costs } from '../../src/esp/costs.ts';
import { BLOCK_BYTES, type Region, SECTOR_BYTES } from '../../src/flash.ts';
import { Budget } from '../../src/transfer/asking.ts';
import { type DigestPlan, type Evidence, planByDigests } from '../../src/transfer/digest-plan.ts';
import { uniformDigest } from '../../src/archive/uniform.ts';
import { md5Of } from '../../src/transfer/digests.ts';

type By = 'blank' | 'same';

interface Trial {
  readonly flash: Buffer;
  readonly known: Buffer | undefined;
  readonly costs: Costs;
  readonly exact: boolean;
  /** Default: `own` where something is known, else `none`. */
  readonly evidence?: (block: number) => Evidence;
  readonly probed?: ReadonlyMap<number, string>;
}

interface Tried {
  readonly plan: DigestPlan<By>;
  readonly asked: readonly Region[];
}

/** A line and a chip: `latencyMs` for a round trip, bytes a millisecond for hashing and reading. */
function costsOf(latencyMs: number, digestRate: number, readRate: number): Costs {
  return {
    digestMs: (sizeBytes) => latencyMs + sizeBytes / digestRate,
    readMs: (sizeBytes) => 2 * latencyMs + sizeBytes / readRate,
    leastReadMs: (sizeBytes) => 2 * latencyMs + sizeBytes / readRate,
  };
}

/** 8 MB/s of hashing behind 921600 baud with 1 ms each way. */
const USUAL = costsOf(2, 8192, 92);

async function tryPlan({ flash, known, costs, exact, ...trial }: Trial): Promise<Tried> {
  const asked: Region[] = [];
  const cut = (bytes: Buffer, { offset, sizeBytes }: Region) => bytes.subarray(offset, offset + sizeBytes);
  const plan = await planByDigests<By>(
    flash.length,
    {
      ask: (region) => {
        asked.push(region);
        return Promise.resolve(md5Of(cut(flash, region)));
      },
      explain: (region, digest) => {
        if (known !== undefined && digest === md5Of(cut(known, region))) return 'same';
        return digest === uniformDigest(0xff, region.sizeBytes) ? 'blank' : null;
      },
      evidence: trial.evidence ?? (() => (known === undefined ? 'none' : 'own')),
    },
    {
      costs,
      ...(exact ? {} : { budget: new Budget(costs, flash.length) }),
      ...(trial.probed === undefined ? {} : { probed: trial.probed }),
    },
  );
  return { plan, asked };
}

function bytesOf(regions: readonly Region[]): number {
  return regions.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

/** Blocks, each blank, as before, new, or changed in some sectors. */
const runs = fc.array(
  fc.record({
    kind: fc.constantFrom('blank', 'old', 'new', 'mixed'),
    blocks: fc.integer({ min: 1, max: 12 }),
    mixed: fc.array(fc.constantFrom('blank', 'old', 'new'), { minLength: 16, maxLength: 16 }),
  }),
  { minLength: 1, maxLength: 8 },
);

interface Run {
  readonly kind: string;
  readonly blocks: number;
  readonly mixed: readonly string[];
}

function flashOf(runsOfBlocks: readonly Run[]): { sectors: string[]; known: Buffer; flash: Buffer } {
  const sectors = runsOfBlocks.flatMap(({ kind, blocks, mixed }) =>
    Array.from({ length: blocks }, () => (kind === 'mixed' ? mixed : Array<string>(16).fill(kind))).flat(),
  );
  const known = Buffer.alloc(sectors.length * SECTOR_BYTES, 'old ');
  const flash = Buffer.from(known);
  sectors.forEach((kind, index) => {
    const at = index * SECTOR_BYTES;
    if (kind === 'blank') flash.fill(0xff, at, at + SECTOR_BYTES);
    if (kind === 'new') flash.fill(`new${index} `, at, at + SECTOR_BYTES);
  });
  return { sectors, known, flash };
}

const lines = fc.record({
  latencyMs: fc.double({ min: 0.1, max: 40, noNaN: true }),
  digestRate: fc.double({ min: 500, max: 20_000, noNaN: true }),
  readRate: fc.double({ min: 11, max: 900, noNaN: true }),
});

describe('planning by digests', () => {
  it('covers every byte exactly once, in order, whatever line and knowledge', async () => {
    await fc.assert(
      fc.asyncProperty(runs, lines, fc.boolean(), fc.boolean(), async (parts, line, knows, exact) => {
        const { flash, known } = flashOf(parts);
        const costs = costsOf(line.latencyMs, line.digestRate, line.readRate);
        const { plan } = await tryPlan({ flash, known: knows ? known : undefined, costs, exact });
        let end = 0;
        for (const region of [...plan.explained, ...plan.unexplained].sort((a, b) => a.offset - b.offset)) {
          assert.equal(region.offset, end);
          assert.ok(region.sizeBytes > 0);
          end += region.sizeBytes;
        }
        assert.equal(end, flash.length);
      }),
    );
  });

  it('explains nothing by what it is not', async () => {
    await fc.assert(
      fc.asyncProperty(runs, lines, async (parts, line) => {
        const { flash, known } = flashOf(parts);
        const costs = costsOf(line.latencyMs, line.digestRate, line.readRate);
        const { plan } = await tryPlan({ flash, known, costs, exact: false });
        for (const { offset, sizeBytes, by } of plan.explained) {
          const expected = by === 'blank' ? Buffer.alloc(sizeBytes, 0xff) : known.subarray(offset, offset + sizeBytes);
          assert.ok(flash.subarray(offset, offset + sizeBytes).equals(expected));
        }
      }),
    );
  });

  it('without a budget leaves exactly the sectors that differ', async () => {
    await fc.assert(
      fc.asyncProperty(runs, lines, async (parts, line) => {
        const { sectors, flash, known } = flashOf(parts);
        const costs = costsOf(line.latencyMs, line.digestRate, line.readRate);
        const { plan } = await tryPlan({ flash, known, costs, exact: true });
        const isLeft = (at: number) => plan.unexplained.some((r) => r.offset <= at && at < r.offset + r.sizeBytes);
        sectors.forEach((kind, index) =>
          assert.equal(isLeft(index * SECTOR_BYTES), kind === 'new', `${index} ${kind}`),
        );
      }),
    );
  });

  it('is never slower than reading straight through by more than 3 %', async () => {
    await fc.assert(
      fc.asyncProperty(runs, lines, fc.boolean(), async (parts, line, knows) => {
        const { flash, known } = flashOf(parts);
        const costs = costsOf(line.latencyMs, line.digestRate, line.readRate);
        const { plan, asked } = await tryPlan({ flash, known: knows ? known : undefined, costs, exact: false });
        const askingMs = asked.reduce((sum, { sizeBytes }) => sum + costs.digestMs(sizeBytes), 0);
        const readingMs = plan.unexplained.reduce((sum, { sizeBytes }) => sum + costs.readMs(sizeBytes), 0);
        const straightMs = costs.readMs(flash.length);
        assert.ok(askingMs + readingMs <= 1.03 * straightMs, `${askingMs} + ${readingMs} against ${straightMs}`);
      }),
      { numRuns: 500 },
    );
  });

  const MIB = 1024 * 1024;
  const firmware = (sizeBytes: number, usedBytes: number) => {
    const flash = Buffer.alloc(sizeBytes, 0xff);
    for (let at = 0; at < usedBytes; at++) flash[at] = Math.imul(at, 2654435761) >>> 24;
    return flash;
  };

  for (const sizeBytes of [MIB / 4, MIB / 2, MIB, 4 * MIB, 16 * MIB]) {
    it(`reads of ${sizeBytes / 1024} KiB little more than what is in use`, async () => {
      const usedBytes = Math.floor(sizeBytes * 0.3) - 100;
      const { plan, asked } = await tryPlan({
        flash: firmware(sizeBytes, usedBytes),
        known: undefined,
        costs: USUAL,
        exact: false,
      });
      assert.equal(bytesOf(plan.unexplained), Math.ceil(usedBytes / SECTOR_BYTES) * SECTOR_BYTES);
      assert.ok(asked.length < 20 + sizeBytes / BLOCK_BYTES, `${asked.length} digests`);
    });
  }

  it('finds three changed sectors of 4 MiB with some thirty digests', async () => {
    const known = firmware(4 * MIB, 1_200_000);
    const flash = Buffer.from(known);
    flash.fill('changed', 0x9000, 0xc000);
    const { plan, asked } = await tryPlan({ flash, known, costs: USUAL, exact: false });
    assert.deepEqual(plan.unexplained, [{ offset: 0x9000, sizeBytes: 0x3000 }]);
    assert.ok(asked.length < 40, `${asked.length} digests`);
  });

  it('finds blank flash between things in use although it has given up asking block by block', async () => {
    const flash = firmware(4 * MIB, 4 * MIB);
    flash.fill(0xff, 1 * MIB, 2 * MIB);
    const { plan } = await tryPlan({ flash, known: undefined, costs: costsOf(2, 1500, 200), exact: false });
    assert.deepEqual(plan.explained, [{ offset: MIB, sizeBytes: MIB, by: 'blank' }]);
  });

  it('asks first for what an image of the board itself may explain, whatever other boards have', async () => {
    const known = firmware(4 * MIB, 4 * MIB);
    const flash = Buffer.from(known);
    flash.fill('new', 2 * MIB);
    const { plan } = await tryPlan({
      flash,
      known,
      costs: costsOf(17, 8192, 11.5),
      exact: false,
      evidence: (block) => (block < 32 ? 'own' : 'fleet'),
    });
    assert.deepEqual(plan.explained, [{ offset: 0, sizeBytes: 2 * MIB, by: 'same' }]);
  });

  it('does not use a small budget up before it meets what is known', async () => {
    const known = firmware(4 * MIB, 4 * MIB);
    const flash = Buffer.from(known);
    flash.fill('new', 3 * MIB);
    // 2000000 baud with 8 ms each way.
    const { plan } = await tryPlan({ flash, known, costs: costsOf(17, 4096, 198), exact: false });
    assert.ok(bytesOf(plan.unexplained) < 1.3 * MIB, String(bytesOf(plan.unexplained)));
  });

  it('takes digests that were asked before for nothing', async () => {
    const known = firmware(MIB, MIB);
    const flash = Buffer.from(known);
    flash.fill('new', 5 * BLOCK_BYTES, 6 * BLOCK_BYTES);
    const probed = new Map(
      [2, 5].map((block) => [block, md5Of(flash.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES))]),
    );
    const { plan, asked } = await tryPlan({ flash, known, costs: USUAL, exact: false, probed });
    assert.deepEqual(plan.unexplained, [{ offset: 5 * BLOCK_BYTES, sizeBytes: BLOCK_BYTES }]);
    const isAsked = (block: number) =>
      asked.some((r) => r.offset === block * BLOCK_BYTES && r.sizeBytes === BLOCK_BYTES);
    assert.deepEqual([2, 5].map(isAsked), [false, false]);
  });

  it('asks for nothing that it cannot afford', async () => {
    const flash = firmware(MIB, MIB);
    const { plan, asked } = await tryPlan({ flash, known: undefined, costs: costsOf(50, 100, 900), exact: false });
    assert.deepEqual(asked, []);
    assert.deepEqual(plan.unexplained, [{ offset: 0, sizeBytes: MIB }]);
  });

  it('reads through a gap that costs less than a second command', async () => {
    const known = firmware(MIB, MIB);
    const flash = Buffer.from(known);
    for (const at of [0x40000, 0x42000]) flash.fill(1, at, at + SECTOR_BYTES);
    const readMs = (sizeBytes: number) => 40 + sizeBytes / 300;
    const costs: Costs = { digestMs: () => 0.01, readMs, leastReadMs: readMs };
    const { plan } = await tryPlan({ flash, known, costs, exact: false });
    assert.deepEqual(plan.unexplained, [{ offset: 0x40000, sizeBytes: 3 * SECTOR_BYTES }]);
  });
});
