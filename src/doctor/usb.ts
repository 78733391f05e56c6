/** What lies between the boards and this machine: hubs, power, and rates that a line was seen to lose. */

import type { LineFacts } from '../esp/line-memory.ts';
import {
  type LineScore,
  adviceFor,
  allScores,
  readLineResults,
  scoreText,
  socketText,
} from '../transfer/line-scores.ts';
import { BRIDGES } from '../serial/usb-ids.ts';
import type { Facts } from './facts.ts';
import { type Finding, cannotCheck, note, ok, some } from './types.ts';
import { type UsbDevice, deviceOf, hubOf, readUsbDevices } from './usb-devices.ts';

/** Boards at 2 Mbaud that 12 Mbit/s carry side by side: 200 kB/s each, of about 1 MB/s that bulk transfers get. */
const BOARDS_AT_FULL_SPEED = 5;
/** What a hub without a supply of its own gives to each port (USB 2.0, 7.2.1: one unit load). */
const UNIT_LOAD_MA = 100;
/** A line that loses a rate at or below this is bad: every bridge of an ESP board has it. */
const EVERY_BRIDGE_HOLDS = 460_800;

/** A port of a board as far as the wire matters. */
export interface Line {
  readonly address: string;
  /** `1-1.4`. */
  readonly device: string;
  readonly usbId: string;
  /** What espd remembers of it; null = nothing. */
  readonly remembered: LineFacts | null;
}

export async function checkUsb(facts: Facts): Promise<Finding[]> {
  const lines: Line[] = [];
  for (const { address, usb } of await facts.devices()) {
    if (usb === null || usb.location === null) continue;
    const remembered = (await facts.lines?.open({ address, usb }))?.recall() ?? null;
    lines.push({ address, device: deviceOf(usb.location), usbId: `${usb.vendorId}:${usb.productId}`, remembered });
  }
  if (lines.length === 0) return [ok('usb', 'No board is on USB now: hubs, power and rates are checked when one is')];
  const devices = await readUsbDevices(facts.outside);
  const found =
    devices.length === 0 ? [cannotCheck('usb-hubs', 'USB hubs', 'sysfs does not tell')] : judgeHubs(lines, devices);
  return [...found, ...judgeRates(lines), ...(await checkScores(facts))];
}

async function checkScores(facts: Facts): Promise<Finding[]> {
  if (facts.archive === null) return [];
  return judgeScores(allScores(await readLineResults(facts.archive.cache)));
}

/** Sockets whose last jobs had retries and losses: espd goes on there, so this is no problem. */
export function judgeScores(scores: readonly LineScore[]): Finding[] {
  const bad = scores.filter(({ isBad }) => isBad);
  if (bad.length > 0) return bad.map((score) => note('usb-lines', scoreText(score), { detail: adviceFor(score) }));
  const told = scores.map(({ score, socket }) => `${socketText(socket)} ${score}`);
  return [
    ok('usb-lines', 'No socket or cable is known to be bad', told.length === 0 ? undefined : `Scores: ${some(told)}`),
  ];
}

export function judgeHubs(lines: readonly Line[], devices: readonly UsbDevice[]): Finding[] {
  const byName = new Map(devices.map((device) => [device.name, device]));
  const findings: Finding[] = [];
  const shared = new Map<string, Line[]>();
  for (const line of lines) {
    const hub = byName.get(hubOf(line.device) ?? '');
    if (hub === undefined) continue;
    const needsMa = byName.get(line.device)?.maxPowerMa ?? null;
    if (isBusPowered(hub) && needsMa !== null && needsMa > UNIT_LOAD_MA) {
      const title = `${line.address} may take ${needsMa} mA, its hub ${hub.name} gives ${UNIT_LOAD_MA}: it has no supply`;
      const detail = 'A board browns out when its radio starts. Use a powered hub, or a socket of the machine';
      findings.push(note('usb-power', title, { detail }));
    }
    const bottleneck = bottleneckOf(line.device, byName);
    if (bottleneck !== undefined) shared.set(bottleneck, [...(shared.get(bottleneck) ?? []), line]);
  }
  for (const [name, users] of shared) {
    if (users.length <= BOARDS_AT_FULL_SPEED) continue;
    const hub = byName.get(name);
    const why = hub?.sharesTranslator === true ? 'has one translator for all' : 'is slow';
    const title = `${users.length} boards share 12 Mbit/s: hub ${name} ${why}`;
    const detail = `Backups side by side take longer. Spread them: at most ${BOARDS_AT_FULL_SPEED} behind such a hub`;
    findings.push(note('usb-hubs', title, { detail }));
  }
  return findings.length > 0 ? findings : [ok('usb-hubs', 'The USB hubs carry these boards, as far as they say')];
}

/** Roots have the machine's supply, whatever their descriptors say. */
function isBusPowered({ name, isHub, selfPowered }: UsbDevice): boolean {
  return isHub && selfPowered === false && !name.startsWith('usb');
}

/** The first hub upwards through which all ports go at 12 Mbit/s. Bridges have full speed, so translators count. */
function bottleneckOf(device: string, byName: ReadonlyMap<string, UsbDevice>): string | undefined {
  const own = byName.get(device)?.speed ?? 12;
  if (own > 12) return undefined;
  for (let name = hubOf(device); name !== undefined; name = hubOf(name)) {
    const hub = byName.get(name);
    if (hub !== undefined && !name.startsWith('usb') && (hub.sharesTranslator || hub.speed === 12)) return name;
  }
  return undefined;
}

/** Bridge and rate that were seen to be bad together: espd goes on below them, so this is no problem. */
export function judgeRates(lines: readonly Line[]): Finding[] {
  const id = 'usb-rates';
  const bad = lines.filter(({ remembered }) => (remembered?.failedBaudRate ?? Infinity) <= EVERY_BRIDGE_HOLDS);
  const findings = bad.map(({ address, usbId, device, remembered }) => {
    const best = remembered?.bestBaudRate ?? null;
    const holds = best === null ? '' : `, holds ${best}`;
    const title = `${address} (${BRIDGES.get(usbId) ?? usbId} at USB ${device}) loses ${remembered?.failedBaudRate ?? 0} baud${holds}`;
    return note(id, title, {
      detail: 'Most bridges hold 921600: try a shorter cable, and a socket without a hub between',
    });
  });
  const hubs = new Map<string, number>();
  for (const { device } of bad) hubs.set(hubOf(device) ?? '', (hubs.get(hubOf(device) ?? '') ?? 0) + 1);
  for (const [hub, count] of hubs) {
    if (count > 1) findings.push(note(id, `${count} bad lines are behind hub ${hub}: it, or its cable, is the cause`));
  }
  if (findings.length > 0) return findings;
  const early = lines.filter(({ remembered }) => remembered !== null && !remembered.acknowledgeEarly);
  const limits = lines.flatMap(({ address, remembered }) => {
    const failed = remembered?.failedBaudRate ?? null;
    return failed === null ? [] : [`${address} below ${failed} baud`];
  });
  if (early.length > 0) limits.push(`${some(early.map(({ address }) => address))} without early acknowledgement`);
  return [ok(id, 'No line is known to be bad', limits.length === 0 ? undefined : `As seen: ${some(limits)}`)];
}
