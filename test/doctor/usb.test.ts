/** Hubs, power, and rates that lines were seen to lose. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkUsb, judgeRates, judgeScores } from '../../src/doctor/usb.ts';
import { allScores } from '../../src/transfer/line-scores.ts';
import { USB_FOLDER, deviceOf, hubOf, readUsbDevices } from '../../src/doctor/usb-devices.ts';
import { NOTHING_KNOWN } from '../../src/esp/line-memory.ts';
import { machineOf, usbPort } from './machine.ts';
import { factsOf, said } from './subject.ts';

/** Files of sysfs for a device. */
function device(name: string, attributes: Record<string, string>): Record<string, string> {
  const all = {
    idVendor: '1a86',
    idProduct: '7523',
    speed: '12',
    bMaxPower: '98mA',
    bmAttributes: '80',
    ...attributes,
  };
  return Object.fromEntries(Object.entries(all).map(([file, text]) => [`${USB_FOLDER}/${name}/${file}`, `${text}\n`]));
}
const HUB = {
  bDeviceClass: '09',
  idVendor: '05e3',
  idProduct: '0608',
  speed: '480',
  bmAttributes: 'e0',
  bDeviceProtocol: '02',
};
const ROOT = device('usb1', { ...HUB, idVendor: '1d6b', bDeviceProtocol: '01', bmAttributes: 'a0' });

async function usb(files: Record<string, string>, ...places: string[]) {
  const ports = places.map((place, index) => usbPort(`/dev/ttyUSB${index}`, place));
  return said(await checkUsb(factsOf({ files: { ...ROOT, ...files } }, { listPorts: () => Promise.resolve(ports) })));
}

test('names of devices and hubs', () => {
  assert.equal(deviceOf('1-1.4:1.0-port1'), '1-1.4');
  assert.deepEqual(['1-1.4.2', '1-1.4', '1-1', '3-2', 'usb1', '', '1-', '1-a'].map(hubOf), [
    ...['1-1.4', '1-1', 'usb1', 'usb3'],
    ...[undefined, undefined, undefined, undefined],
  ]);
});

test('a board that takes more than its hub without a supply gives', async () => {
  const files = { ...device('1-1', { ...HUB, bmAttributes: 'a0' }), ...device('1-1.4', { bMaxPower: '500mA' }) };
  const [first] = await usb(files, '1-1.4');
  assert.equal(first, 'note usb-power: /dev/ttyUSB0 may take 500 mA, its hub 1-1 gives 100: it has no supply');
  const modest = await usb({ ...files, ...device('1-1.4', {}) }, '1-1.4');
  assert.match(modest[0] ?? '', /^ok usb-hubs/);
  // A root has the machine's supply, whatever it says.
  assert.match((await usb(device('1-2', { bMaxPower: '500mA' }), '1-2'))[0] ?? '', /^ok usb-hubs/);
});

test('many boards behind one translator, or behind a slow hub, share 12 Mbit/s', async () => {
  const places = ['1-1.1', '1-1.2', '1-1.3', '1-1.4', '1-1.5', '1-1.6'];
  const boards = Object.assign({}, ...places.map((place) => device(place, {}))) as Record<string, string>;
  const single = { ...device('1-1', { ...HUB, bDeviceProtocol: '01' }), ...boards };
  assert.match(
    (await usb(single, ...places))[0] ?? '',
    /^note usb-hubs: 6 boards share 12 Mbit\/s: hub 1-1 has one translator/,
  );
  assert.match((await usb(single, ...places.slice(1)))[0] ?? '', /^ok usb-hubs/);
  const slow = { ...device('1-1', { ...HUB, speed: '12', bDeviceProtocol: '00' }), ...boards };
  assert.match((await usb(slow, ...places))[0] ?? '', /hub 1-1 is slow/);
  const multi = { ...device('1-1', HUB), ...boards };
  assert.match((await usb(multi, ...places))[0] ?? '', /^ok usb-hubs/);
});

test('no boards, no sysfs, and attributes that are none', async () => {
  assert.match((await usb({}))[0] ?? '', /^ok usb: No board is on USB/);
  const ports = { listPorts: () => Promise.resolve([usbPort('/dev/ttyUSB0')]) };
  assert.match(
    said(await checkUsb(factsOf({}, ports)))[0] ?? '',
    /^note usb-hubs: .*cannot be checked: sysfs does not tell/,
  );
  const files = device('1-1', { speed: 'fast\u001b[2J', bMaxPower: '-5mA', bmAttributes: 'zz', bDeviceClass: '' });
  const hostile = { ...files, ...device('1-3', { idVendor: 'xxxx' }), ...device('..', {}) };
  assert.deepEqual(await readUsbDevices(machineOf({ files: hostile })), [
    {
      ...{ name: '1-1', usbId: '1a86:7523', speed: null, maxPowerMa: null, selfPowered: null },
      ...{ isHub: false, sharesTranslator: false, drivers: [] },
    },
  ]);
});

test('rates: what was seen to fail at a rate that every bridge holds is a note, the limit of a bridge is none', () => {
  const line = (place: string, failed: number | null, best: number | null) => ({
    ...{ address: `/dev/at-${place}`, device: place, usbId: '1a86:7523' },
    remembered: { ...NOTHING_KNOWN, failedBaudRate: failed, bestBaudRate: best },
  });
  assert.deepEqual(said(judgeRates([line('1-1', 230_400, null)])), [
    'note usb-rates: /dev/at-1-1 (CH340 at USB 1-1) loses 230400 baud',
  ]);
  const [limit] = judgeRates([line('1-1', 2_000_000, 921_600)]);
  assert.deepEqual([limit?.status, limit?.detail], ['ok', 'As seen: /dev/at-1-1 below 2000000 baud']);
  const two = judgeRates([line('1-1.1', 460_800, 230_400), line('1-1.2', 230_400, null)]);
  assert.equal(two.at(-1)?.title, '2 bad lines are behind hub 1-1: it, or its cable, is the cause');
  assert.match(two[0]?.title ?? '', /loses 460800 baud, holds 230400$/);
  const [late] = judgeRates([
    { ...line('1-1', null, null), remembered: { ...NOTHING_KNOWN, acknowledgeEarly: false } },
  ]);
  assert.match(late?.detail ?? '', /without early acknowledgement/);
  assert.deepEqual(said(judgeRates([{ ...line('1-1', 1, 1), remembered: null }])), [
    'ok usb-rates: No line is known to be bad',
  ]);
});

test('what is remembered of a line is asked for by its port', async () => {
  const remembered = { ...NOTHING_KNOWN, failedBaudRate: 230_400 };
  const asked: string[] = [];
  const lines = {
    open: ({ address }: { address: string }) => {
      asked.push(address);
      return Promise.resolve({ recall: () => remembered, remember: () => undefined, save: () => Promise.resolve() });
    },
  };
  const findings = await checkUsb(factsOf({}, { lines, listPorts: () => Promise.resolve([usbPort('/dev/ttyUSB7')]) }));
  assert.deepEqual(asked, ['/dev/ttyUSB7']);
  assert.match(said(findings).at(-1) ?? '', /^note usb-rates: \/dev\/ttyUSB7 .* loses 230400 baud/);
});

test('sockets whose last jobs had trouble are named, each with what speaks for cable, socket or board', () => {
  const lost = { mac: null, retries: 0, isLost: true };
  const good = { mac: null, retries: 0, isLost: false };
  const results = new Map([
    ['usb 1-1.4:1.0', [lost, lost, lost]],
    ['usb 1-2:1.0', [good]],
  ]);
  assert.deepEqual(said(judgeScores(allScores(results))), [
    'note usb-lines: The line at USB 1-1.4 was lost 3 times in its last 3 jobs: score 0 of 100',
  ]);
  results.delete('usb 1-1.4:1.0');
  assert.deepEqual(said(judgeScores(allScores(results))), ['ok usb-lines: No socket or cable is known to be bad']);
  assert.deepEqual(said(judgeScores([])), ['ok usb-lines: No socket or cable is known to be bad']);
});
