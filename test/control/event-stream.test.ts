import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type StreamFormat, streamEvents } from '../../src/control/event-stream.ts';
import { EventBus, RING_EVENTS } from '../../src/daemon/events.ts';
import { silentLogger } from '../../src/log.ts';
import { VirtualClock } from '../../src/simulator/index.ts';

class Client {
  readonly texts: string[] = [];
  room = Infinity;
  drain: () => void = () => undefined;

  write(text: string): boolean {
    this.texts.push(text);
    return --this.room > 0;
  }

  onDrain(callback: () => void): void {
    this.drain = callback;
  }

  get objects(): { type: string; seq?: number; from?: number; lastSeq?: number }[] {
    return this.texts.map((text) => JSON.parse(text.replace(/^[^{]*/, '')) as { type: string });
  }

  read(lines: number): void {
    this.room = lines;
    this.drain();
  }
}

function setUp(
  count: number,
  options: { since?: number; instance?: string; format?: StreamFormat; room?: number } = {},
) {
  const clock = new VirtualClock({ automatic: false });
  const bus = new EventBus({ clock, log: silentLogger }, 'one');
  const emit = (port: string) => bus.emit({ type: 'port-detached', port });
  for (let index = 1; index <= count; index++) emit(String(index));
  const client = new Client();
  client.room = options.room ?? Infinity;
  const stop = streamEvents(
    bus,
    client,
    { format: options.format ?? 'ndjson', since: options.since, instance: options.instance, types: undefined },
    { clock, version: '1.2.3' },
  );
  return { bus, client, clock, emit, stop };
}

describe('a stream of events', () => {
  it('begins with who speaks, and goes on from where the client was', () => {
    const { client, emit } = setUp(5, { since: 3 });
    emit('6');
    assert.deepEqual(
      client.objects.map(({ type, seq, lastSeq }) => [type, seq ?? lastSeq]),
      [
        ['hello', 5],
        ['port-detached', 4],
        ['port-detached', 5],
        ['port-detached', 6],
      ],
    );
  });

  it('without a number tells what comes from now on', () => {
    const { client, emit } = setUp(5);
    emit('6');
    assert.deepEqual(
      client.objects.map(({ seq }) => seq),
      [undefined, 6],
    );
  });

  it('says that there is a gap: after a restart, and after more than the ring holds', () => {
    const other = setUp(3, { since: 2, instance: 'before' });
    assert.deepEqual(
      other.client.objects.map(({ type, seq, from }) => [type, seq ?? from]),
      [
        ['hello', undefined],
        ['gap', 1],
        ['port-detached', 1],
        ['port-detached', 2],
        ['port-detached', 3],
      ],
    );
    const ahead = setUp(3, { since: 4 });
    assert.deepEqual(ahead.client.objects.slice(1), [
      { type: 'gap', instance: 'one', from: 1 },
      ...ahead.client.objects.slice(2),
    ]);
    assert.equal(ahead.client.objects.length, 5);
    const late = setUp(RING_EVENTS + 10, { since: 2 });
    assert.deepEqual(late.client.objects[1], { type: 'gap', instance: 'one', from: 11 });
    assert.equal(late.client.objects.length, RING_EVENTS + 2);
  });

  it('a slow client gets all at its own speed, and nothing waits for it', () => {
    const { client, emit } = setUp(0, { room: 2 });
    for (let index = 1; index <= 100; index++) emit(String(index));
    assert.equal(client.texts.length, 2);
    for (let reads = 0; reads < 60; reads++) client.read(2);
    assert.deepEqual(
      client.objects.slice(1).map(({ seq }) => seq),
      Array.from({ length: 100 }, (_, index) => index + 1),
    );
  });

  it('a client that is too slow is told what it has missed', () => {
    const { client, emit } = setUp(0, { room: 2 });
    for (let index = 1; index <= RING_EVENTS + 50; index++) emit(String(index));
    client.read(Infinity);
    const [, , third, fourth] = client.objects;
    assert.deepEqual([third?.type, third?.from, fourth?.seq], ['gap', 51, 51]);
  });

  it('in the form for browsers has ids that name the instance', () => {
    const { client } = setUp(1, { since: 0, format: 'sse' });
    assert.match(client.texts[1] ?? '', /^id: one:1\ndata: \{.*\}\n\n$/);
  });

  it('is alive when nothing happens, and quiet when it is over', async () => {
    const { client, clock, emit, stop } = setUp(0);
    await clock.advance(46_000);
    assert.deepEqual(
      client.objects.map(({ type }) => type),
      ['hello', 'alive', 'alive', 'alive'],
    );
    stop();
    await clock.advance(60_000);
    emit('1');
    assert.equal(client.texts.length, 4);
    assert.equal(clock.pendingTimers, 0);
  });
});
