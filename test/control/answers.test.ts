import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { API_PATHS } from '../../src/control/contract/operations.ts';
import { openApi } from '../../src/control/openapi.ts';
import { reportOf } from '../../src/doctor/doctor.ts';
import { note, ok, problem } from '../../src/doctor/types.ts';
import { doctorAnswer, eventAnswer } from '../../src/control/contract/answers.ts';
import { failedEvent, keptEvent } from '../outbound/support.ts';
import { macOf } from '../daemon/workshop.ts';
import { checkAnswer, checkedOperations } from './answers.ts';
import { ApiBench } from './support.ts';

/** Held against their schemas in readings-relay.test.ts, where real processes make them. */
const BY_PROCESSES = ['contents', 'diff', 'retention'];

describe('answers of the API', () => {
  it('are what OpenAPI says, of every operation that answers JSON', async (t) => {
    checkedOperations.clear();
    const bench = await ApiBench.open(t);
    const device = bench.shop.board();
    bench.shop.plug(device);
    await bench.shop.said('Backed up and verified');
    await bench.shop.idle();
    const mac = macOf(device.board);
    const port = encodeURIComponent(device.address);
    const ofBoard = [`/v1/boards/${mac}`, `/v1/boards/${mac}/sizes`];
    for (const path of ['/v1/status', '/v1/ports', '/v1/boards', ...ofBoard, '/v1/jobs', '/v1/schedules']) {
      assert.equal((await bench.ask(path)).status, 200, path);
    }
    await bench.ask(`/v1/boards/${mac}`, { method: 'PATCH', body: { label: 'kitchen' } });
    await bench.ask(`/v1/boards/${mac}/backups/latest`);
    await bench.ask(`/v1/boards/${mac}/backups/latest`, { method: 'PATCH', body: { pinned: true } });
    await bench.ask(`/v1/boards/${mac}/backups/latest`);
    await bench.ask(`/v1/ports/${port}/hold`, { method: 'PUT', body: { forSeconds: 60 } });
    await bench.ask('/v1/status');
    await bench.ask(`/v1/ports/${port}/hold`, { method: 'DELETE' });
    const { json } = await bench.ask('/v1/jobs', { method: 'POST', body: { kind: 'backup', board: mac, full: true } });
    await bench.ask(`/v1/jobs/${String(json['job'])}`);
    await bench.ask(`/v1/jobs/${String(json['job'])}`, { method: 'DELETE' });
    await bench.ask('/v1/doctor');
    await bench.ask('/v1/reload', { method: 'POST' });
    await bench.ask('/v1/openapi.json');
    await bench.ask('/v1/boards/nobody');
    // Of a job that waits for a yes: api.test.ts.
    const wanted = API_PATHS.filter(({ id, answer }) => answer.type === 'application/json' && id !== 'confirmJob')
      .map(({ id }) => id)
      .filter((id) => !BY_PROCESSES.includes(id));
    assert.deepEqual(
      wanted.filter((id) => !checkedOperations.has(id)),
      [],
    );
  });

  it('of a doctor who found something, and of each event', () => {
    doctorAnswer.parse(reportOf([ok('a', 'A'), note('b', 'B', { detail: 'c' }), problem('d', 'D', {})], false));
    for (const type of ['hello', 'gap', 'alive']) eventAnswer.parse({ type });
    assert.equal(eventAnswer.safeParse({ type: 'job-done' }).success, false);
    for (const event of [keptEvent(), failedEvent()]) {
      eventAnswer.parse({ ...event, seq: 1, at: '2026-11-23T10:00:00.000Z' });
    }
  });

  it('that are not what is said are found', () => {
    const wrong = { method: 'GET', path: '/v1/jobs', status: 200, type: 'application/json', text: '{"jobs":[{}]}' };
    assert.throws(() => checkAnswer(wrong), /jobs/);
    assert.throws(() => checkAnswer({ ...wrong, path: '/v1/nothing' }), /no operation/);
    assert.throws(() => checkAnswer({ ...wrong, status: 404 }));
  });

  it('stand in OpenAPI with a schema, and streams with that of a line', () => {
    const { paths } = openApi() as {
      paths: Record<
        string,
        Record<string, { responses: Record<string, { content?: Record<string, { schema?: object }> }> }>
      >;
    };
    for (const { method, path, answer } of API_PATHS) {
      const response = paths[path]?.[method.toLowerCase()]?.responses[answer.status];
      const schema = response?.content?.[answer.type]?.schema as { type?: string; anyOf?: object[] } | undefined;
      if (answer.type.includes('json')) assert.ok(schema?.type === 'object' || schema?.anyOf, `${method} ${path}`);
    }
  });
});
