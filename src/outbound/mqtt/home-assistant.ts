/**
 * What Home Assistant is told of a board: a device with its entities, and their states. Pure.
 * https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload
 */

import type { MqttConfig } from '../../config/outbound.ts';
import { type Mac, parseMac } from '../../mac.ts';
import { printable } from '../../printable.ts';
import type { BoardFacts } from '../board-book.ts';

export const ONLINE = 'online';
export const OFFLINE = 'offline';
/** What the button sends. */
export const PRESS = 'PRESS';

/** A state of Home Assistant has at most 255 characters, and a longer one is no state at all. */
const MAX_CHARACTERS = 250;

export type TopicConfig = Pick<MqttConfig, 'topic' | 'discovery' | 'button'>;

/** Nothing that a device says or a person wrote stands in a topic: a MAC is twelve hex digits. */
const digits = (mac: Mac) => mac.replaceAll(':', '');

/** Retained: {@link ONLINE}, and {@link OFFLINE} by the broker itself if the connection breaks. */
export const statusTopic = ({ topic }: TopicConfig) => `${topic}/status`;
export const stateTopic = ({ topic }: TopicConfig, mac: Mac) => `${topic}/${digits(mac)}/state`;
/** All boards' buttons, as a filter. */
export const buttonFilter = ({ topic }: TopicConfig) => `${topic}/+/backup`;
const buttonTopic = ({ topic }: TopicConfig, mac: Mac) => `${topic}/${digits(mac)}/backup`;

const nodeId = ({ topic }: TopicConfig) => topic.replaceAll('/', '-');

export const deviceTopic = (config: TopicConfig, mac: Mac) =>
  `${config.discovery}/device/${nodeId(config)}/${digits(mac)}/config`;

/** The board whose button a topic is; undefined where it is none. */
export function boardOfButton(config: TopicConfig, topic: string): Mac | undefined {
  const found = /^(?<base>.+)\/(?<mac>[0-9a-f]{12})\/backup$/.exec(topic)?.groups;
  return found?.['base'] === config.topic ? parseMac(found['mac'] ?? '') : undefined;
}

/** @param version espd's */
export function deviceDocument(config: TopicConfig, board: BoardFacts, version: string): object {
  const id = `${nodeId(config)}_${digits(board.mac)}`;
  const chip = shown(board.chip);
  const firmware = firmwareOf(board);
  const entity = (platform: string, key: string, name: string, more: object) => ({
    [key]: { platform, unique_id: `${id}_${key}`, name, ...more },
  });
  const from = (key: string) => ({ value_template: `{{ value_json.${key} }}` });
  return {
    device: {
      // By its MAC it would become one with the device of ESPHome or Tasmota, and rename that.
      identifiers: [id],
      name: board.label === null ? `${chip === '' ? 'ESP board' : chip} ${board.mac}` : shown(board.label),
      manufacturer: 'Espressif',
      serial_number: board.mac,
      ...(chip !== '' && { model: chip }),
      ...(firmware !== null && { sw_version: firmware }),
    },
    origin: { name: 'espd', sw_version: version },
    availability_topic: statusTopic(config),
    state_topic: stateTopic(config, board.mac),
    qos: 1,
    components: {
      ...entity('sensor', 'last_backup', 'Last backup', { ...from('last_backup'), device_class: 'timestamp' }),
      ...entity('sensor', 'firmware', 'Firmware', { ...from('firmware'), icon: 'mdi:chip' }),
      ...entity('binary_sensor', 'problem', 'Backup problem', {
        ...from('problem'),
        device_class: 'problem',
        json_attributes_topic: stateTopic(config, board.mac),
        json_attributes_template: '{{ value_json.why | tojson }}',
      }),
      ...(config.button && {
        ...entity('button', 'backup', 'Back up now', {
          command_topic: buttonTopic(config, board.mac),
          payload_press: PRESS,
          icon: 'mdi:content-save',
        }),
        ...entity('sensor', 'answer', 'Answer to the button', {
          ...from('answer'),
          entity_category: 'diagnostic',
          icon: 'mdi:message-reply-text',
        }),
      }),
    },
  };
}

/** @param answer what became of the last press of the button; null = there was none */
export function stateDocument(board: BoardFacts, answer: string | null): object {
  const { lastBackupMs, problem } = board;
  return {
    last_backup: lastBackupMs === null ? null : new Date(lastBackupMs).toISOString(),
    firmware: firmwareOf(board),
    problem: problem === null ? 'OFF' : 'ON',
    why: problem === null ? {} : { code: problem.code, message: shown(problem.message), hint: shown(problem.hint) },
    answer: answer === null ? null : shown(answer),
  };
}

function firmwareOf({ firmware }: BoardFacts): string | null {
  if (firmware === null) return null;
  return shown(firmware.version === null ? firmware.name : `${firmware.name} ${firmware.version}`);
}

function shown(text: string): string {
  const characters = Array.from(printable(text));
  return characters.length <= MAX_CHARACTERS
    ? characters.join('')
    : `${characters.slice(0, MAX_CHARACTERS - 3).join('')}...`;
}
