/** What the daemon tells when it reads back a part of the object store by the clock. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CommandContext } from '../../src/cli/context.ts';
import { scrubStore } from '../../src/cli/fleet/store-scrub.ts';
import { configSchema } from '../../src/config/schema.ts';
import { AttentionList } from '../../src/daemon/attention.ts';
import { EventBus } from '../../src/daemon/events.ts';
import type { ServiceEvent } from '../../src/daemon/event-types.ts';
import { logEvents } from '../../src/daemon/report.ts';
import { systemClock } from '../../src/clock.ts';
import { silentLogger } from '../../src/log.ts';
import { FOLDER } from '../archive/support.ts';
import { image, never, station } from '../replication/support.ts';
import { FakeS3 } from '../store/fake-s3.ts';

const id = (day: number) => `2020-10-0${day}T10-00-00Z`;

test('by and by everything: what is damaged or missing is told once each time, and needs attention; an outage is none', async (t) => {
  const fake = new FakeS3();
  const endpoint = await fake.start();
  t.after(() => fake.stop());
  const here = await station(t, endpoint);
  for (const day of [1, 2, 3, 4])
    await here.keep(image(3000 + day, day), { createdAt: `2020-10-0${day}T10:00:00.000Z` });
  await here.pushAll();
  await here.write();
  const config = configSchema.parse({ store: { endpoint, bucket: 'boards', encryption: 'none' } });
  const context = { archive: here.archive, clock: systemClock, config, signal: never, log: silentLogger };
  const events = new EventBus({ clock: systemClock, log: silentLogger });
  let told: ServiceEvent[] = [];
  const attention = new AttentionList();
  events.subscribe((event) => {
    told.push(event);
    attention.onEvent(event);
  });
  const scrub = async (part = '50%') => {
    told = [];
    await scrubStore(context as unknown as CommandContext, events, here.fleet, part);
    return told.map((event) =>
      event.type === 'store-damaged'
        ? `${event.isDamage ? 'damaged' : 'unjudged'} ${event.id} ${event.file}`
        : event.type === 'store-verified'
          ? `verified ${event.checked} of ${event.of}: ${event.damaged} ${event.missing} ${event.unreadable}`
          : event.type,
    );
  };

  assert.deepEqual(await scrub(), ['verified 2 of 4: 0 0 0']);
  const key = `${FOLDER}/${id(3)}/flash.bin`;
  const there = fake.objects.get(key) ?? assert.fail();
  fake.objects.set(key, { ...there, bytes: Buffer.alloc(there.bytes.length) });
  fake.objects.delete(`${FOLDER}/${id(1)}/SHA256SUMS`);
  assert.deepEqual(await scrub(), [`damaged ${id(1)} `, `damaged ${id(3)} flash.bin`, 'verified 2 of 3: 1 1 0']);
  const lines: string[] = [];
  const error = (message: string) => void lines.push(message);
  const log = logEvents({ ...silentLogger, error });
  for (const event of told) log(event);
  assert.deepEqual(lines, [
    'A backup in the object store is damaged',
    'A backup in the object store is damaged',
    'Not all of the object store is sound',
  ]);
  assert.deepEqual(
    attention.all.map(({ about, error }) => `${about} ${error.code}`),
    ['store store-damaged', 'store store-damaged'],
  );
  assert.match(
    attention.all.map(({ error }) => error.message).join(),
    new RegExp(`flash\\.bin of backup ${id(3)} of `),
  );
  assert.match(attention.all[0]?.error.hint ?? '', /espd verify --store --repair/);
  fake.fault = () => ({ status: 403, code: 'AccessDenied' });
  await assert.rejects(scrub());
  assert.equal(told.filter(({ type }) => type === 'store-damaged').length, 0);
});
