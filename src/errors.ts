/**
 * The one error class of espd, and the table of all its codes.
 *
 * Callers tell errors apart by `code`, never by wording. The tables of docs/errors.md are compared with
 * {@link ERROR_CODES} by a test, both ways.
 */

/** Exit statuses of the `espd` command: few, documented and stable. */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  damaged: 4,
  refused: 5,
  interrupted: 130,
} as const;

interface ErrorCodeFacts {
  /** Exit status of a command that ends with this error. */
  readonly exit: number;
  /** What the code means, in one line; printed in the tables of docs/errors.md. */
  readonly meaning: string;
}

export const ERROR_CODES = {
  usage: { exit: EXIT.usage, meaning: 'The command line is wrong: unknown option, missing or malformed value' },
  'config-invalid': {
    exit: EXIT.usage,
    meaning: 'The config file is broken YAML, has an unknown key or a wrong value',
  },
  'config-unreadable': { exit: EXIT.usage, meaning: 'The config file is missing or cannot be read' },

  'import-unclear': {
    exit: EXIT.usage,
    meaning: 'Of which board, chip or day a file is, or how large its flash, must be told',
  },
  'output-exists': { exit: EXIT.usage, meaning: 'The file that is to be written exists, and none is overwritten' },
  'board-not-found': { exit: EXIT.notFound, meaning: 'No attached board answers, or none has this MAC' },
  'board-ambiguous': { exit: EXIT.notFound, meaning: 'Several boards are attached, and one is needed' },
  'port-missing': { exit: EXIT.notFound, meaning: 'This serial port or network address does not exist' },
  'archive-missing': {
    exit: EXIT.notFound,
    meaning: 'There is no archive at this path, or it is another one than before',
  },
  'archive-unknown-board': { exit: EXIT.notFound, meaning: 'The archive holds no board with this MAC or label' },
  'label-taken': { exit: EXIT.usage, meaning: 'Another board has this label' },
  'label-ambiguous': { exit: EXIT.notFound, meaning: 'Several boards have this label' },
  'archive-unknown-backup': { exit: EXIT.notFound, meaning: 'The board has no backup with this id, date or position' },
  'archive-elsewhere': {
    exit: EXIT.notFound,
    meaning: 'The backup lies in the object store, and is not in this archive',
  },
  'not-in-image': { exit: EXIT.notFound, meaning: 'The image has no such file, or no file system that espd can read' },

  'port-busy': { exit: EXIT.failed, meaning: 'Another program has the port open' },
  'port-denied': { exit: EXIT.failed, meaning: 'No permission to open the port' },
  'port-vanished': { exit: EXIT.failed, meaning: 'The port went away while it was in use (cable pulled, board reset)' },
  'bad-line': { exit: EXIT.failed, meaning: 'The line at a USB socket loses data, or its port comes and goes' },
  'port-failed': { exit: EXIT.failed, meaning: 'The operating system reports a fault of the port' },
  'no-rfc2217': { exit: EXIT.failed, meaning: 'What answers at a remote of the config does not speak RFC 2217' },
  'no-answer': { exit: EXIT.failed, meaning: 'Nothing that looks like an ESP bootloader answers on the port' },
  'port-flooded': { exit: EXIT.failed, meaning: 'The device sends without pause and never answers' },
  'boot-mode': { exit: EXIT.failed, meaning: 'The board was reset but ran its app instead of download mode' },
  'no-sync': { exit: EXIT.failed, meaning: 'The board is in download mode but does not answer SYNC' },
  'chip-unsupported': { exit: EXIT.failed, meaning: 'The chip that answers is not supported' },
  'no-mac': { exit: EXIT.failed, meaning: 'The chip has no MAC of its own to name its backups by' },
  'chip-timeout': { exit: EXIT.failed, meaning: 'The chip stopped answering in the middle of a command' },
  'chip-error': {
    exit: EXIT.failed,
    meaning: 'The chip refused or failed a command; the reason byte is in the message',
  },
  'chip-changed': { exit: EXIT.failed, meaning: 'Another board answers than at the beginning of the job' },
  'stub-failed': { exit: EXIT.failed, meaning: 'The flasher stub could not be loaded or did not start' },
  'no-stub-read': { exit: EXIT.failed, meaning: 'This chip or flash cannot be used without the flasher stub' },
  'secure-download': { exit: EXIT.failed, meaning: 'Secure download mode: the chip does not let its flash be read' },
  'download-disabled': { exit: EXIT.failed, meaning: 'Download mode is switched off in the eFuses of the chip' },
  'flash-unknown': { exit: EXIT.failed, meaning: 'The flash does not identify itself or its size is not known' },
  'read-failed': { exit: EXIT.failed, meaning: 'A region of the flash could not be read in any way' },
  'still-in-bootloader': { exit: EXIT.failed, meaning: 'After the job the board did not leave download mode' },
  'archive-unwritable': { exit: EXIT.failed, meaning: 'The archive folder cannot be written' },
  'archive-unreadable': {
    exit: EXIT.failed,
    meaning: 'The archive, or a part of it, could not be read (no permission, a fault)',
  },
  'archive-taken': {
    exit: EXIT.failed,
    meaning: 'Another backup of this board has the same id here, with other content',
  },
  'archive-newer': { exit: EXIT.failed, meaning: 'A manifest was written by a newer espd than this one' },
  'disk-full': { exit: EXIT.failed, meaning: 'No space left where the archive is' },
  'not-an-image': { exit: EXIT.failed, meaning: 'A file that is to be imported holds no image of a whole flash' },
  'input-unreadable': {
    exit: EXIT.failed,
    meaning: 'A file or folder that is to be imported is missing or cannot be read',
  },
  'output-unwritable': { exit: EXIT.failed, meaning: 'The file named by --output cannot be written' },
  'daemon-running': { exit: EXIT.failed, meaning: 'Another daemon of espd listens at the same socket' },
  'mqtt-missing': { exit: EXIT.failed, meaning: 'The config wants MQTT, and the package `mqtt` is not there' },
  'socket-failed': { exit: EXIT.failed, meaning: "The daemon's socket cannot be made" },
  'setup-problem': {
    exit: EXIT.failed,
    meaning: 'With doctor: something of the set-up of this machine keeps espd from working',
  },
  'wait-timeout': { exit: EXIT.failed, meaning: 'With wait: what was waited for did not happen in time' },
  'listen-refused': {
    exit: EXIT.failed,
    meaning: 'The page in the browser cannot be served: no password, or no such port',
  },
  'login-needed': { exit: EXIT.failed, meaning: 'The page in the browser: nobody has logged in' },
  'login-refused': { exit: EXIT.failed, meaning: 'The page in the browser: a wrong password, token or link' },
  'login-limited': { exit: EXIT.failed, meaning: 'The page in the browser: too many wrong passwords or tokens' },
  forbidden: { exit: EXIT.failed, meaning: 'The page in the browser: a request that is not from the page itself' },
  'daemon-absent': { exit: EXIT.failed, meaning: 'No daemon runs that the command could ask' },
  'daemon-gone': {
    exit: EXIT.failed,
    meaning: 'The daemon, or the process in which it did the command, ended in the middle of it',
  },
  'daemon-busy': { exit: EXIT.failed, meaning: 'The daemon does as many commands as it can at once' },
  'daemon-denied': { exit: EXIT.failed, meaning: 'No permission to speak to the daemon (group espd)' },
  'daemon-protocol': {
    exit: EXIT.failed,
    meaning: 'The daemon and the command do not understand each other: their versions differ',
  },
  'store-off': { exit: EXIT.usage, meaning: 'The config has no section `store`, so there is no store to ask' },
  'store-unknown-backup': {
    exit: EXIT.notFound,
    meaning: 'The backup is not in the object store, or no longer, or not as a whole',
  },
  'store-key': {
    exit: EXIT.failed,
    meaning: 'The key for encryption is missing or malformed, or an object was encrypted with another one',
  },
  'store-unreachable': { exit: EXIT.failed, meaning: 'The object store does not answer, or the connection was cut' },
  'store-busy': { exit: EXIT.failed, meaning: 'The object store answers that it cannot serve now (503 and the like)' },
  'store-credentials': {
    exit: EXIT.failed,
    meaning: 'The credentials for the object store are missing, unreadable, wrong or expired',
  },
  'store-denied': { exit: EXIT.failed, meaning: 'The credentials do not allow this at the object store' },
  'store-archived': {
    exit: EXIT.failed,
    meaning: 'The object store has moved an object to an archive class, from which it cannot be read at once',
  },
  'store-missing': { exit: EXIT.failed, meaning: 'The object store has no such bucket' },
  'store-region': { exit: EXIT.failed, meaning: 'The bucket is in another region, or at another endpoint' },
  'store-clock': { exit: EXIT.failed, meaning: 'The clock of this machine is too wrong for the object store' },
  'store-removing': {
    exit: EXIT.failed,
    meaning: 'The backup is being removed from the object store, so it cannot be put there now',
  },
  'store-held': { exit: EXIT.failed, meaning: 'Another station, or another process, is pruning the object store' },
  'store-policy': {
    exit: EXIT.failed,
    meaning: 'The object store is pruned by another policy than the config says, or by none yet',
  },
  'store-full': { exit: EXIT.failed, meaning: 'The object store has no room left, or its quota is used up' },
  'store-failed': { exit: EXIT.failed, meaning: 'The object store answers something that espd cannot use' },
  'demo-failed': { exit: EXIT.failed, meaning: 'A step of the demo gave a wrong result' },
  internal: { exit: EXIT.failed, meaning: 'A fault of espd itself; please report it' },

  'archive-damaged': {
    exit: EXIT.damaged,
    meaning: 'A file of the archive is damaged, missing or incomplete',
  },
  'digest-mismatch': {
    exit: EXIT.damaged,
    meaning: 'The digest of the chip differs from that of the bytes that were read',
  },
  'store-damaged': {
    exit: EXIT.damaged,
    meaning: 'The object store gave other bytes than were put there, or confirmed others than were sent',
  },
  'store-lost': {
    exit: EXIT.damaged,
    meaning: 'Backups that were put into the object store are not there any more, and no station has removed them',
  },
  differs: { exit: EXIT.damaged, meaning: 'With diff --exit-code: the two sides differ' },
  'write-mismatch': { exit: EXIT.damaged, meaning: 'After writing, the flash does not hold the image' },

  'other-mac': { exit: EXIT.refused, meaning: 'The board has another MAC than the image' },
  'other-chip': { exit: EXIT.refused, meaning: 'The board has another chip than the image was read from' },
  'other-board': {
    exit: EXIT.refused,
    meaning: 'The board has the MAC of the backup, but another chip or another flash chip',
  },
  'other-size': { exit: EXIT.refused, meaning: "The image's size is not that of the board's flash" },
  'old-revision': { exit: EXIT.refused, meaning: 'The image does not run on this revision of the chip' },
  'other-layout': {
    exit: EXIT.refused,
    meaning: "The board's partition table does not have the partition where the image has it",
  },
  encrypted: { exit: EXIT.refused, meaning: 'Because of flash encryption, the image would not run on this board' },
  'secure-boot': { exit: EXIT.refused, meaning: 'Because of secure boot, the board may not boot with this image' },
  'write-protected': { exit: EXIT.refused, meaning: 'The flash is locked against writing by its own protection' },
  'half-restored': {
    exit: EXIT.refused,
    meaning: 'A restore was interrupted: the board holds neither its old content nor the new',
  },
  unconfirmed: {
    exit: EXIT.refused,
    meaning: 'No chip has confirmed this image, and nobody was asked whether to write it all the same',
  },
  declined: { exit: EXIT.refused, meaning: 'Nobody answered yes to the question whether to write' },

  interrupted: { exit: EXIT.interrupted, meaning: 'Stopped by a signal (Ctrl-C, SIGTERM)' },
} as const satisfies Record<string, ErrorCodeFacts>;

export type ErrorCode = keyof typeof ERROR_CODES;

/** A failure that a person or a caller can act on. */
export class EspdError extends Error {
  override readonly name = 'EspdError';
  readonly code: ErrorCode;
  /** What the person can do about it, one sentence; empty where nothing useful can be said. */
  readonly hint: string;

  /**
   * @param code why, for programs
   * @param message one clear sentence for people, without a trailing full stop
   */
  constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint ?? '';
  }

  /** Exit status of a command that ends with this error. */
  get exitStatus(): number {
    return ERROR_CODES[this.code].exit;
  }

  toJSON(): { code: ErrorCode; message: string; hint: string } {
    return { code: this.code, message: this.message, hint: this.hint };
  }
}

/** `error` as an {@link EspdError}: itself, `interrupted` for an abort, or `internal` with the original as cause. */
export function toEspdError(error: unknown): EspdError {
  if (error instanceof EspdError) return error;
  if (error instanceof Error && error.name === 'AbortError') {
    return new EspdError('interrupted', 'Interrupted', { cause: error });
  }
  const message = error instanceof Error ? error.message : String(error);
  return new EspdError('internal', message, {
    cause: error,
    hint: 'This looks like a fault of espd: please report it',
  });
}

/** Whether `error` is an {@link EspdError} with one of `codes`. */
export function hasCode(error: unknown, ...codes: ErrorCode[]): error is EspdError {
  return error instanceof EspdError && codes.includes(error.code);
}

/** How link(2) fails where a file system has no second names (FAT, some network shares). */
const NO_LINKS: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

export function hasNoLinks(error: unknown): boolean {
  return NO_LINKS.has(systemCode(error) ?? '');
}

/** The `code` that Node gives to errors of the operating system (`ENOENT`, `EACCES`, ...), or undefined. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
