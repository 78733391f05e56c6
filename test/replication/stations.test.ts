import { after, before, describe } from 'node:test';
import { FakeS3 } from '../store/fake-s3.ts';
import { clientOf } from '../store/support.ts';
import { describeStations } from './stations.ts';

describe('stations and a store that answers 503 and cuts connections now and then', () => {
  const fake = new FakeS3();
  let endpoint = '';
  before(async () => {
    endpoint = await fake.start();
    let count = 0;
    fake.fault = () => {
      count++;
      if (count % 41 === 0) return 'cut-after';
      if (count % 53 === 0) return 'cut-before';
      return count % 29 === 0 ? { status: 503, code: 'SlowDown' } : undefined;
    };
  });
  after(() => fake.stop());
  describeStations({
    kills: 8,
    prefix: 'many',
    endpoint: () => endpoint,
    store: () => {
      fake.fault = () => undefined;
      return clientOf(endpoint).store;
    },
  });
});
