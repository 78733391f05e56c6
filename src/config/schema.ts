/**
 * The config: one zod schema that gives types, defaults, checks and the published JSON Schema.
 *
 * No transforms: what is written in the file is what the program gets, so that input and output have one type.
 * What depends on the machine (where the archive is, relative paths) is resolved in `loader.ts`.
 *
 * Messages of checks begin with "wants ..."; `parse.ts` puts the key in front and what was found behind.
 */

import { z } from 'zod';
import { cronProblem } from './cron.ts';
import { parseListen } from './listen.ts';
import { hooksSchema, metricsSchema, mqttSchema, webhooksSchema } from './outbound.ts';
import { LOCAL_WANTED, parseLocal } from './local.ts';
import { parseQuietHours } from './quiet-hours.ts';
import { retentionSchema } from './retention.ts';
import { remotesSchema } from './remotes.ts';
import { parseSpan } from './span.ts';
import { parseSize } from './size.ts';
import { storeSchema } from './store.ts';

export const LOG_LEVELS = ['error', 'warn', 'info', 'debug'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export const LOG_FORMATS = ['auto', 'text', 'json', 'journald'] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

/** Steps of esptool's `custom_reset_sequence`, as `parseResetSequence` of `esp/reset.ts` takes them. */
const RESET_STEP = String.raw`(?:[DR][01]|U[01],[01]|W(?:\d(?:\.\d{1,3})?|10))`;

const text = (maxLength: number) => z.string().min(1).max(maxLength);
const usbId = () =>
  z
    .string()
    .regex(/^[0-9a-fA-F]{4}$/, "wants four hex digits in quotes, such as '10c4'")
    .toLowerCase();
const glob = () => text(256);

export const portMatcherSchema = z
  .strictObject({
    vendorId: usbId().exactOptional().describe('USB vendor id, four hex digits in quotes.'),
    productId: usbId().exactOptional().describe('USB product id, four hex digits in quotes.'),
    serialNumber: glob().exactOptional().describe('USB serial number; * stands for anything.'),
    manufacturer: glob().exactOptional().describe('USB manufacturer text; * stands for anything.'),
    product: glob().exactOptional().describe('USB product text; * stands for anything.'),
    path: glob().exactOptional().describe('Device path such as /dev/ttyUSB*; * stands for anything.'),
    location: glob().exactOptional().describe('Place of the plug such as 1-1.4:1.0; * stands for anything.'),
  })
  .refine((matcher) => Object.keys(matcher).length > 0, {
    message: 'wants at least one of vendorId, productId, serialNumber, manufacturer, product, path, location',
  })
  .meta({ minProperties: 1, description: 'A port matches when every key given here matches.' });

/** Which ports a rule means: all keys that are given must match. Ids are lower-case hex, the others may hold `*`. */
export type PortMatcher = z.output<typeof portMatcherSchema>;

const SIZE_WANTED = 'wants a size such as 500M, 1G or 0, in powers of 1024; or a number of bytes';

const archiveSchema = z.strictObject({
  path: text(4096)
    .nullable()
    .default(null)
    .describe(
      'Folder of the archive; relative to the folder of this file, ~/ is the home folder. null: /var/lib/espd for root, ' +
        'the service and /etc/espd/config.yaml, else $XDG_DATA_HOME/espd or ~/.local/share/espd.',
    ),
  statePath: text(4096)
    .nullable()
    .default(null)
    .describe(
      'Folder for what this installation knows beside its archive: of the object store, the password of the page, what ' +
        'webhooks wait for, restores from a read-only archive; paths as above. null: /var/lib/espd for the service, ' +
        '/etc/espd/config.yaml and the archive there, else $XDG_STATE_HOME/espd or ~/.local/state/espd.',
    ),
  compression: z
    .enum(['none', 'gzip', 'zstd'])
    .default('none')
    .describe(
      'gzip: flash images are kept as flash.bin.gz; smaller, but other flashers want them unpacked first. zstd: as ' +
        'flash.bin.zst, faster and a little smaller still; needs Node 22.15, with an older one it is gzip.',
    ),
  local: z
    .string()
    .max(32)
    .refine((value) => parseLocal(value) !== null, { message: LOCAL_WANTED })
    .default('all')
    .describe(
      'Which backups stay here once they are safe in the object store: all, newest N (of each board), or days D. The ' +
        'newest, pinned ones and those that a restore needs stay in any case.',
    ),
  reflink: z
    .enum(['auto', 'never'])
    .default('auto')
    .describe(
      'auto: where the file system can (btrfs, XFS, APFS), an uncompressed image shares what is the same with an ' +
        'earlier backup of the board, on the disk once. never: each backup has bytes of its own, which one bad sector ' +
        'of the disk cannot take from two.',
    ),
  minFreeBytes: z
    .union([z.int(), z.string().max(32)], { error: SIZE_WANTED })
    .refine((value) => parseSize(value) !== null, { message: SIZE_WANTED })
    .nullable()
    .default(null)
    .describe(
      'No backup begins that would leave less than this free on the disk of the archive, such as 1G; 0: it may become ' +
        'full. null: 2 % of the disk, at most 256M.',
    ),
  directoryMode: z
    .string()
    .regex(/^0?7[0-7][0145]$/, "wants an octal mode in quotes from '0700' to '0775'")
    .default('0700')
    .describe('Mode of folders in the archive. Flash holds Wi-Fi passwords and keys: open it with care.'),
  fileMode: z
    .string()
    .regex(/^0?6[046][04]$/, "wants an octal mode in quotes from '0600' to '0664', without x")
    .default('0600')
    .describe('Mode of files in the archive.'),
});

const watchSchema = z.strictObject({
  folders: z
    .array(text(4096).describe('A folder.'))
    .max(64)
    .default([])
    .describe('More folders in which device nodes or links to them appear; every one of them is taken for a board.'),
  remotes: remotesSchema,
  allow: z
    .array(portMatcherSchema)
    .max(1000)
    .default([])
    .describe('Ports to touch besides the bridges and ids that espd knows; stronger than the built-in deny list.'),
  deny: z
    .array(portMatcherSchema)
    .max(1000)
    .default([])
    .describe('Ports never to touch; stronger than everything else.'),
  existing: z
    .enum(['known', 'all', 'none'])
    .default('known')
    .describe('Which ports present at the start are touched: those known to be ESP boards, all that match, or none.'),
  graceSeconds: z
    .number()
    .min(0)
    .max(3600)
    .default(0)
    .describe('From a plug-in until the board is touched, in seconds: time to begin something else with it.'),
  quietHours: z
    .string()
    .max(32)
    .refine((value) => parseQuietHours(value) !== null, { message: 'wants hours of the day such as 22:00-06:30' })
    .nullable()
    .default(null)
    .describe(
      'Hours of each day, such as 22:00-06:30, in which no board is touched by itself: what is plugged in then waits ' +
        'for their end. In the time zone of `schedule.timezone`. null: none.',
    ),
  due: z
    .string()
    .max(32)
    .refine((value) => value === 'always' || (parseSpan(value, ['m', 'h', 'd']) ?? 0) > 0, {
      message: 'wants always, or a time such as 30m, 12h or 7d',
    })
    .default('always')
    .describe(
      'always: a board is looked at each time that it is plugged in. 30m, 12h, 7d: not if its last backup or look is ' +
        'younger. Behind a bridge, who it is shows only after a reset: then it is let go at once.',
    ),
  afterRelease: z
    .boolean()
    .default(false)
    .describe('true: a board is looked at again when another program (a flasher, a monitor) has closed its port.'),
});

const jobsSchema = z.strictObject({
  parallel: z.int().min(1).max(64).default(8).describe('How many boards are worked on at once.'),
  connectAttempts: z
    .int()
    .min(1)
    .max(20)
    .default(3)
    .describe('Tries before a device that does not answer is left alone until it is plugged in again.'),
  cooldownMs: z
    .int()
    .min(0)
    .max(600_000)
    .default(10_000)
    .describe(
      "How long a port that comes back after espd's own reset is not taken for a new plug-in, in milliseconds.",
    ),
});

const serialSchema = z.strictObject({
  baudRate: z
    .int()
    .min(115_200)
    .max(3_000_000)
    .default(3_000_000)
    .describe('Highest rate for transfers, in baud; espd uses what a port and its board have been shown to hold.'),
  reset: z
    .enum(['auto', 'classic', 'tight', 'usb-serial-jtag', 'usb-otg', 'none'])
    .default('auto')
    .describe('How boards are put into download mode; auto chooses by the kind of port. none: never touch the lines.'),
  resetSequence: z
    .string()
    .max(256)
    .regex(
      new RegExp(`^${RESET_STEP}(?:\\|${RESET_STEP}){0,31}$`),
      'wants steps like D0|R1|W0.1|D1|R0|W0.05|D0 (D = DTR, R = RTS, U1,0 = both, W = seconds up to 10)',
    )
    .nullable()
    .default(null)
    .describe("Own sequence in esptool's notation, used instead of `reset`; null: none."),
});

const transferSchema = z.strictObject({
  full: z
    .boolean()
    .default(false)
    .describe('true: every byte of flash is read; blank or already archived flash is not skipped by its digest.'),
  reader: z
    .enum(['auto', 'always', 'never'])
    .default('auto')
    .describe(
      "Whether espd's own reader may be put into the RAM of a chip, which sends flash compressed. auto: on chips where it " +
        'was shown to work. always: on every chip that it was built for.',
    ),
});

const cron = () =>
  z
    .string()
    .max(256)
    .superRefine((expression, context) => {
      const problem = expression === 'off' ? null : cronProblem(expression);
      if (problem !== null) context.addIssue({ code: 'custom', message: `wants a cron expression or off: ${problem}` });
    })
    .nullable();

const scheduleSchema = z.strictObject({
  verify: cron()
    .default('30 3 * * 0')
    .describe('When the whole archive is hashed again: minute hour day month weekday, or off.'),
  verifyShare: z
    .int()
    .min(1)
    .max(100)
    .default(25)
    .describe(
      'Percent of the time that hashing the archive again may take; it rests between, and while boards are worked on.',
    ),
  prune: cron()
    .default('0 4 * * *')
    .describe(
      'When backups that `retention` does not keep are removed; nothing happens without such a policy. Or off.',
    ),
  verifyStore: cron()
    .default(null)
    .describe(
      'When a part of what lies in the object store is read back and compared, which may cost money there. Or off.',
    ),
  verifyStorePart: z
    .string()
    .max(16)
    .refine(isPart, { message: 'wants a part such as 5%: above 0%, at most 100%' })
    .default('5%')
    .describe('How much of the backups there is read each time: what was read longest ago.'),
  timezone: z
    .string()
    .max(64)
    .refine(isTimezone, { message: 'wants the name of a time zone such as Europe/Berlin' })
    .nullable()
    .default(null)
    .describe('Time zone of the schedules; null: that of the machine.'),
});

/** `sun_path` of unix(7) has 108 bytes, the last one a zero. */
const SOCKET_PATH_BYTES = 107;

const apiSchema = z.strictObject({
  socket: text(4096)
    .refine((path) => Buffer.byteLength(path) <= SOCKET_PATH_BYTES, {
      message: `wants a path of at most ${SOCKET_PATH_BYTES} bytes, as long as the system takes`,
    })
    .nullable()
    .default('auto')
    .describe(
      'Unix socket at which the daemon can be asked, and which commands look for. auto: espd.sock in $RUNTIME_DIRECTORY ' +
        'of systemd for the daemon, /run/espd/espd.sock for commands. null: the daemon cannot be asked, and commands ask none.',
    ),
  listen: text(100)
    .refine((place) => parseListen(place) !== undefined, {
      message: 'wants an address in numbers and a port, such as 127.0.0.1:8266 or [::]:8266',
    })
    .nullable()
    .default(null)
    .describe(
      'Address and port at which the daemon serves its page for browsers; only with a password (espd web set-password). ' +
        'null: nowhere.',
    ),
  names: z
    .array(
      text(253)
        .regex(/^[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?$/, 'wants the name of a host, without port')
        .describe('Name of a host, without port.'),
    )
    .max(100)
    .default([])
    .describe('Names by which the page is opened, besides localhost and addresses: station.local.'),
});

const logSchema = z.strictObject({
  level: z.enum(LOG_LEVELS).default('info').describe('What is logged: this level and those before it.'),
  format: z
    .enum(LOG_FORMATS)
    .default('auto')
    .describe('auto: journald where stderr is the journal, else text. json: one object a line.'),
});

export const configSchema = z
  .strictObject({
    archive: archiveSchema.prefault({}).describe('Where backups are kept.'),
    watch: watchSchema.prefault({}).describe('Which ports the daemon touches.'),
    jobs: jobsSchema.prefault({}).describe("The daemon's work."),
    serial: serialSchema.prefault({}).describe('How boards are spoken to.'),
    transfer: transferSchema.prefault({}).describe('How flash is read.'),
    retention: retentionSchema
      .prefault({})
      .describe('Which backups are kept. Without any of its keys all are, for ever.'),
    store: storeSchema
      .nullable()
      .default(null)
      .describe('An object store into which every complete backup is copied; null: none.'),
    schedule: scheduleSchema.prefault({}).describe('What the daemon does by the clock.'),
    api: apiSchema.prefault({}).describe('How a running daemon is asked.'),
    log: logSchema.prefault({}).describe('What is logged, always on stderr.'),
    metrics: metricsSchema.prefault({}).describe('What /metrics says.'),
    hooks: hooksSchema.describe('Programs that the daemon runs when something has happened.'),
    webhooks: webhooksSchema.describe('Servers that the daemon tells what has happened.'),
    mqtt: mqttSchema.describe('A broker by which Home Assistant is told of the boards; null: none.'),
  })
  .meta({ title: 'espd config', description: 'Config of espd. Every key has a default.' });

/** A checked config with all defaults, as the file says it. */
export type ConfigFile = z.output<typeof configSchema>;
/** Some keys of a config, as a person or the command line gives them. */
export type ConfigInput = z.input<typeof configSchema>;

/**
 * The JSON Schema for editors. `io: 'input'`, because a file may leave out every key; in zod's default view of the
 * output each key with a default would be required.
 */
export function configJsonSchema(): object {
  return z.toJSONSchema(configSchema, { io: 'input' });
}

/** The permission bits of a checked mode: `'0700'` is 0o700. */
export function modeBits(mode: string): number {
  return Number.parseInt(mode, 8);
}

function isTimezone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

function isPart(part: string): boolean {
  const percent = Number(/^(\d{1,3}(?:\.\d{1,3})?)%$/.exec(part)?.[1] ?? Number.NaN);
  return percent > 0 && percent <= 100;
}
