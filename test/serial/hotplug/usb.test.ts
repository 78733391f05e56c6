import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { HotplugUnavailable } from '../../../src/serial/hotplug/source.ts';
import { createUsbSource, type UsbEmitter } from '../../../src/serial/hotplug/usb.ts';
import { FakeSystem } from '../fake-system.ts';

class FakeEmitter implements UsbEmitter {
  attach: (() => void) | undefined;
  detach: (() => void) | undefined;
  failure: Error | undefined;
  addAttach(callback: () => void): Promise<void> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    this.attach = callback;
    return Promise.resolve();
  }
  addDetach(callback: () => void): Promise<void> {
    this.detach = callback;
    return Promise.resolve();
  }
  removeAttach(): Promise<void> {
    this.attach = undefined;
    return Promise.reject(new Error('already gone'));
  }
  removeDetach(): Promise<void> {
    this.detach = undefined;
    return Promise.resolve();
  }
}

function usbSystem(): FakeSystem {
  const system = new FakeSystem();
  mkdirSync(join(system.sysRoot, 'bus/usb'), { recursive: true });
  return system;
}

test('attach and detach are hints until it is closed, which frees both', async () => {
  using system = usbSystem();
  const emitter = new FakeEmitter();
  const source = createUsbSource({ ...system.roots, openEmitter: () => Promise.resolve(emitter) });
  const hints: string[] = [];
  await source.start((reason) => hints.push(reason));
  const { attach, detach } = emitter;
  attach?.();
  detach?.();
  assert.deepEqual(hints, ['usb attach', 'usb detach']);
  await source.close();
  assert.equal(emitter.attach, undefined);
  assert.equal(emitter.detach, undefined);
  attach?.();
  assert.equal(hints.length, 2);
  await source.close();
});

test(
  'without /sys/bus/usb it is unavailable, and the package is not even loaded',
  { skip: process.platform !== 'linux' },
  async () => {
    using system = new FakeSystem();
    const source = createUsbSource({ ...system.roots, openEmitter: () => assert.fail('loaded') });
    await assert.rejects(
      source.start(() => undefined),
      HotplugUnavailable,
    );
    await source.close();
  },
);

test('no netlink: the start rejects, and nothing else happens', async () => {
  using system = usbSystem();
  const emitter = new FakeEmitter();
  emitter.failure = new Error('watch devices error: failed to open udev netlink socket (errno 97)');
  const source = createUsbSource({ ...system.roots, openEmitter: () => Promise.resolve(emitter) });
  await assert.rejects(
    source.start(() => undefined),
    /netlink/,
  );
  await source.close();
});

test('closed while starting, and closed without a start', async () => {
  using system = usbSystem();
  const emitter = new FakeEmitter();
  const source = createUsbSource({ ...system.roots, openEmitter: () => Promise.resolve(emitter) });
  const starting = source.start(() => undefined);
  await source.close();
  await starting;
  assert.equal(emitter.attach, undefined);
  assert.equal(emitter.detach, undefined);
  await createUsbSource().close();
});

test('the real package starts or rejects, and goes away', async () => {
  using system = usbSystem();
  const source = createUsbSource({ ...system.roots });
  // Without AF_NETLINK it rejects; either way no error may come up later.
  await source.start(() => undefined).catch((error: unknown) => assert.ok(error instanceof Error));
  await source.close();
});
