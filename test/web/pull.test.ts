/** What other stations have in the object store, in the page: seen, fetched, looked into; what fails is said. */

import assert from 'node:assert/strict';
import { appendFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseMac } from '../../src/mac.ts';
import { demoImage } from '../../src/simulator/index.ts';
import { ID0 } from '../archive/support.ts';
import { station } from '../replication/support.ts';
import { FakeS3 } from '../store/fake-s3.ts';
import { missingBrowser, settled } from './browser.ts';
import { WebStation } from './station.ts';

const skip = missingBrowser() ?? false;
const MAC = parseMac('24:0a:c4:12:45:56')!;

test(
  'a backup of another bench is seen, fetched by a button, and then looked into',
  { skip, timeout: 300_000 },
  async (t) => {
    const fake = new FakeS3();
    const endpoint = await fake.start();
    t.after(() => fake.stop());
    const bench = await station(t, endpoint);
    const sizeBytes = 1024 * 1024;
    const bytes = demoImage({ family: 'esp32', sizeBytes, projectName: 'weather', appBytes: 200_000, seed: 5 });
    await bench.keep(Buffer.from(bytes), { mac: MAC });
    await bench.archive.marks.describe(MAC, { label: 'greenhouse' });
    await bench.pushAll();
    await bench.write();

    const here = await WebStation.open(async ({ configPath, archivePath }) => {
      const credentials = join(archivePath, '..', 'credentials');
      await writeFile(credentials, 'aws_access_key_id = writer\naws_secret_access_key = writer-secret\n', {
        mode: 0o600,
      });
      const store = { endpoint, bucket: 'boards', encryption: 'none', credentials: { file: credentials }, look: '10s' };
      await appendFile(configPath, `store: ${JSON.stringify(store)}\n`);
    });
    t.after(() => here.close());
    await here.until<{ boards: { mac: string }[] }>('/v1/boards', ({ boards }) =>
      boards.some(({ mac }) => mac === MAC),
    );

    const { page, complaints } = await here.newPage();
    await page.goto(`${here.url}#/boards/${MAC}`);
    await page.getByRole('heading', { name: 'In the object store only' }).waitFor();
    await page.getByText('There is no sound backup of this board here.').waitFor();
    await settled(page);
    const fetch = page.getByRole('button', { name: `Fetch ${ID0}` });

    // The image is rotten there: said, nothing is kept, and it can be tried again.
    const key = fake.names.find((name) => name.includes(ID0) && /flash\.bin/.test(name)) ?? assert.fail();
    const sound = fake.objects.get(key) ?? assert.fail();
    const rotten = Buffer.from(sound.bytes);
    rotten.fill(0x55, 70_000, 90_000);
    fake.replace(key, rotten);
    await fetch.click();
    await page.getByRole('alert').getByText('store-damaged').waitFor();
    assert.equal(await page.getByRole('heading', { name: 'In the object store only' }).count(), 1);
    fake.replace(key, sound.bytes);

    await fetch.focus();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: ID0 }).waitFor();
    await page.getByRole('img', { name: /^Map of the flash/ }).waitFor();
    assert.equal(await page.locator('.time-line > li').count(), 1);
    assert.equal(await page.getByRole('heading', { name: 'In the object store only' }).count(), 0);
    await page.getByText(/also in the store, by/).waitFor();
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('link', { name: 'Download the image' }).click(),
    ]);
    assert.equal(download.suggestedFilename().endsWith('.bin'), true);
    // What was rotten for a moment is a fault that the page was told of, and no fault of the page.
    assert.deepEqual(complaints, []);
  },
);
