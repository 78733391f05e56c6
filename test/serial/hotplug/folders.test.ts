/** Real folders and the real chokidar; every wait is for an event, bounded by the timeout of the test. */

import assert from 'node:assert/strict';
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { createDevSource, createFolderSource } from '../../../src/serial/hotplug/folders.ts';
import type { HotplugSource } from '../../../src/serial/hotplug/source.ts';
import { FakeSystem, recordingLogger } from '../fake-system.ts';

/** Starts `source`; `hinted` resolves with the first hint that comes after the call of it. */
async function started(source: HotplugSource) {
  let wake: () => void = () => undefined;
  let count = 0;
  await source.start(() => {
    count++;
    wake();
  });
  return {
    after: async (change: () => void) => {
      const hint = new Promise<void>((resolve) => (wake = resolve));
      change();
      await hint;
    },
    count: () => count,
  };
}

describe('a watched folder', { timeout: 20_000 }, () => {
  test('links to nowhere, to devices, files, and their removal are hints', async () => {
    using system = new FakeSystem();
    const folder = system.folder('ports');
    const source = createFolderSource(folder);
    const { after } = await started(source);
    await after(() => symlinkSync('rfc2217://host:4000', join(folder, 'net')));
    await after(() => symlinkSync('/dev/null', join(folder, 'device')));
    await after(() => rmSync(join(folder, 'net')));
    await after(() => writeFileSync(join(folder, 'file'), ''));
    await source.close();
  });

  test('one that appears later, several levels deep, is watched then', async () => {
    using system = new FakeSystem();
    const folder = join(system.root, 'a/b/c');
    const source = createFolderSource(`${folder}/`);
    const { after } = await started(source);
    mkdirSync(join(system.root, 'a'));
    await after(() => mkdirSync(folder, { recursive: true }));
    await after(() => symlinkSync('rfc2217://host:4000', join(folder, 'net')));
    await source.close();
  });

  test('one that is removed, renamed or replaced is found again', async () => {
    using system = new FakeSystem();
    const folder = system.folder('ports');
    const source = createFolderSource(folder);
    const { after } = await started(source);
    await after(() => rmSync(folder, { recursive: true }));
    await after(() => mkdirSync(folder));
    await after(() => symlinkSync('rfc2217://host:1', join(folder, 'one')));
    const spare = system.folder('spare');
    await after(() => {
      renameSync(folder, join(system.root, 'old'));
      renameSync(spare, folder);
    });
    await source.close();
  });

  test('closed before, during and after the start', async () => {
    using system = new FakeSystem();
    await createFolderSource(system.root).close();
    const source = createFolderSource(join(system.root, 'none'));
    void source.start(() => assert.fail('a hint after the close'));
    await source.close();
    await source.close();
    mkdirSync(join(system.root, 'none'));
  });
});

describe('/dev', { timeout: 20_000 }, () => {
  test('nodes that come, go or are replaced, and by-id that appears later, are hints', async () => {
    using system = new FakeSystem();
    const { log, lines } = recordingLogger();
    const source = createDevSource({ ...system.roots, log });
    const { after } = await started(source);
    const node = join(system.devRoot, 'ttyUSB0');
    await after(() => writeFileSync(node, ''));
    await after(() => rmSync(node));
    await after(() => mkdirSync(join(system.devRoot, 'serial/by-id'), { recursive: true }));
    await after(() => writeFileSync(node, ''));
    await after(() => {
      rmSync(node);
      writeFileSync(node, '');
    });
    await source.close();
    assert.deepEqual(lines, []);
  });

  test('closed before and during the start', async () => {
    using system = new FakeSystem();
    await createDevSource(system.roots).close();
    const source = createDevSource(system.roots);
    void source.start(() => assert.fail('a hint after the close'));
    await source.close();
  });
});
