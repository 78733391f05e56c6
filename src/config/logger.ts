/** The logger of the process, on winston. Everything goes to stderr: stdout belongs to what a command gives. */

import { fstatSync } from 'node:fs';
import type { Writable } from 'node:stream';
import winston from 'winston';
import { type Clock, systemClock, withTimeout } from '../clock.ts';
import type { LogFields, Logger } from '../log.ts';
import { journalLine, jsonLine, type LogEntry, textLine } from './log-line.ts';
import type { LogFormat, LogLevel } from './schema.ts';

export interface LoggerOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** False (`--no-color`) forbids color; true allows it where `stream` is a terminal. Default true. */
  readonly color?: boolean | undefined;
  /** `NO_COLOR`, `TERM` and `JOURNAL_STREAM` are looked at. Default: that of the process. */
  readonly env?: NodeJS.ProcessEnv | undefined;
  /** Default: stderr of the process. Never ended. */
  readonly stream?: Writable | undefined;
  readonly clock?: Clock | undefined;
}

export interface ClosableLogger extends Logger {
  /** Takes effect at once, also for children. */
  setLevel(level: LogLevel): void;
  /** Resolves when all lines are handed to the system, or after a second; what is logged later is dropped. */
  close(): Promise<void>;
}

const LEVELS: Readonly<Record<LogLevel, number>> = { error: 0, warn: 1, info: 2, debug: 3 };
const CLOSE_TIMEOUT_MS = 1000;

/** Never throws afterwards: a reader of the log that goes away (EPIPE) costs the log, not the daemon. */
export function createLogger(options: LoggerOptions): ClosableLogger {
  const { env = process.env, stream = process.stderr, clock = systemClock } = options;
  const format = options.format === 'auto' ? (isJournal(env, stream) ? 'journald' : 'text') : options.format;
  const color = options.color !== false && hasColor(env, stream);
  const line = { text: (entry: LogEntry) => textLine(entry, color), json: jsonLine, journald: journalLine }[format];

  if (!stream.listeners('error').includes(ignoreStreamError)) stream.on('error', ignoreStreamError);
  // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- winston declares it as an interface
  const transport: winston.transport = new winston.transports.Stream({ stream, eol: '\n' });
  const logger = winston.createLogger({
    levels: LEVELS,
    level: options.level,
    format: winston.format.printf((info) => line(info['entry'] as LogEntry)),
    transports: [transport],
  });
  let isClosed = false;

  const write = (level: LogLevel, message: string, fields: LogFields) => {
    if (isClosed || stream.destroyed || stream.writableEnded || !logger.isLevelEnabled(level)) return;
    const entry: LogEntry = { time: clock.date(), level, message, fields };
    // Beside `entry` nothing of the caller: winston joins a `message` among the fields to the message itself.
    logger.log({ level, message: '', entry });
  };

  const close = async () => {
    if (isClosed) return;
    isClosed = true;
    const flushed = new Promise<void>((resolve) => {
      transport.once('finish', () => {
        if (stream.destroyed || stream.writableEnded) resolve();
        // Written after all lines, so its callback comes after theirs.
        else stream.write('', () => resolve());
      });
      stream.once('close', resolve);
      logger.end();
    });
    await withTimeout(clock, CLOSE_TIMEOUT_MS, flushed, () => new Error('stderr takes nothing')).catch(() => undefined);
  };

  return {
    ...loggerOf(write, {}),
    setLevel: (level) => {
      logger.level = level;
    },
    close,
  };
}

function loggerOf(write: (level: LogLevel, message: string, fields: LogFields) => void, own: LogFields): Logger {
  const at = (level: LogLevel) => (message: string, fields?: LogFields) =>
    write(level, message, fields === undefined ? own : { ...own, ...fields });
  return {
    error: at('error'),
    warn: at('warn'),
    info: at('info'),
    debug: at('debug'),
    child: (fields) => loggerOf(write, { ...own, ...fields }),
  };
}

function ignoreStreamError(): void {
  // There is nowhere left to report it.
}

/**
 * Whether `stream` itself is the journal. The variable alone does not tell: desktop sessions hand it on to programs in
 * terminals, so device and inode are compared, as systemd.exec(5) asks for under `$JOURNAL_STREAM`.
 */
function isJournal(env: NodeJS.ProcessEnv, stream: Writable): boolean {
  const journal = env['JOURNAL_STREAM'];
  if (!journal || !('fd' in stream) || typeof stream.fd !== 'number') return false;
  try {
    const { dev, ino } = fstatSync(stream.fd, { bigint: true });
    return journal === `${dev}:${ino}`;
  } catch {
    return false;
  }
}

/** https://no-color.org: any value but the empty one forbids color. */
function hasColor(env: NodeJS.ProcessEnv, stream: Writable): boolean {
  return 'isTTY' in stream && stream.isTTY === true && !env['NO_COLOR'] && env['TERM'] !== 'dumb';
}
