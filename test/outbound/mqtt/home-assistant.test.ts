import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { brokerSchema, mqttSchema } from '../../../src/config/outbound.ts';
import type { BoardFacts } from '../../../src/outbound/board-book.ts';
import {
  boardOfButton,
  deviceDocument,
  deviceTopic,
  stateDocument,
  stateTopic,
} from '../../../src/outbound/mqtt/home-assistant.ts';
import { FAULT, macNumber } from '../support.ts';

const CONFIG = brokerSchema.parse({ url: 'mqtt://broker', topic: 'lab/espd' });
const board = (changes: Partial<BoardFacts> = {}): BoardFacts => ({
  ...{ mac: macNumber(1), label: null, chip: '', lastBackupMs: null, firmware: null, problem: null },
  ...changes,
});

const texts = (document: unknown): string[] =>
  typeof document === 'string'
    ? [document]
    : typeof document === 'object' && document !== null
      ? Object.values(document).flatMap(texts)
      : [];

describe('what Home Assistant is told', () => {
  it('has only a MAC in its topics, which leads back to the board', () => {
    const hostile = board({ label: '#/+\0', chip: '../$SYS', firmware: { name: '+', version: '#' } });
    assert.equal(deviceTopic(CONFIG, hostile.mac), 'homeassistant/device/lab-espd/000000000001/config');
    assert.equal(stateTopic(CONFIG, hostile.mac), 'lab/espd/000000000001/state');
    const { components } = deviceDocument(CONFIG, hostile, '1') as {
      components: { backup: { command_topic: string } };
    };
    assert.equal(boardOfButton(CONFIG, components.backup.command_topic), macNumber(1));
    for (const topic of [
      'espd/000000000001/backup',
      'lab/espd/000000000001/state',
      'lab/espd/00000000001/backup',
      '',
    ]) {
      assert.equal(boardOfButton(CONFIG, topic), undefined, topic);
    }
  });

  it('is printable and short enough for a state, whatever boards and people write', () => {
    const text = fc.string({ unit: 'binary', maxLength: 600 });
    fc.assert(
      fc.property(text, text, text, text, (label, chip, name, version) => {
        const facts = board({
          ...{ label, chip, firmware: { name, version }, lastBackupMs: 0 },
          problem: { ...FAULT, message: label, hint: name },
        });
        for (const document of [deviceDocument(CONFIG, facts, '1'), stateDocument(facts, version)]) {
          for (const shown of texts(document)) {
            assert.ok(Array.from(shown).length <= 255, shown);
            assert.doesNotMatch(shown, /[\p{C}\p{Zl}\p{Zp}]/u);
          }
          assert.deepEqual(JSON.parse(JSON.stringify(document)), document);
        }
        // A text of a board never becomes a template.
        const { components } = deviceDocument(CONFIG, facts, '1') as { components: Record<string, object> };
        assert.deepEqual(components, (deviceDocument(CONFIG, board(), '1') as { components: object }).components);
      }),
    );
  });

  it('knows nothing of a board that was never backed up', () => {
    assert.deepEqual(stateDocument(board(), null), {
      ...{ last_backup: null, firmware: null, problem: 'OFF', why: {}, answer: null },
    });
    const { device } = deviceDocument(CONFIG, board(), '1') as { device: Record<string, unknown> };
    assert.equal(device['name'], 'ESP board 00:00:00:00:00:01');
    assert.ok(!('model' in device) && !('sw_version' in device));
  });
});

describe('the section mqtt', () => {
  it('takes a broker, and nothing else', () => {
    assert.equal(mqttSchema.parse(undefined), null);
    for (const url of ['mqtt://ha.local', 'mqtts://[::1]:8883', 'mqtt://10.0.0.1:1883/']) {
      assert.equal(brokerSchema.safeParse({ url }).success, true, url);
    }
    for (const url of [
      'http://x',
      'mqtt://u:p@x',
      'mqtt://x/?clientId=y',
      'mqtt://x/topic',
      'mqtt://',
      'x',
      'ws://x',
    ]) {
      assert.equal(brokerSchema.safeParse({ url }).success, false, url);
    }
    const url = 'mqtt://x';
    for (const topic of ['', '/', 'a/', '#', 'a/+', 'a b', '$SYS', 'ä', 'a/b/c/d/e', 'x'.repeat(65)]) {
      assert.equal(brokerSchema.safeParse({ url, topic }).success, false, topic);
      assert.equal(brokerSchema.safeParse({ url, discovery: topic }).success, false, topic);
    }
    assert.equal(brokerSchema.safeParse({ url, password: { env: 'X' } }).success, false, 'a password of nobody');
    assert.equal(brokerSchema.safeParse({ url, username: 'a', password: { env: 'X', file: '/x' } }).success, false);
    assert.equal(brokerSchema.safeParse({ url, username: 'a\nb' }).success, false);
  });
});
