/** A pseudo-terminal: the device's side here, a path for the host. Written for the tests of the links only. */

import { closeSync, constants, openSync, write } from 'node:fs';
import { ReadStream } from 'node:tty';
import koffi from 'koffi';

// include/uapi/asm-generic/ioctls.h
const TIOCSPTLCK = 0x40045431;
const TIOCGPTN = 0x80045430;

export interface Pty {
  /** What the host opens: `/dev/pts/7`. */
  readonly path: string;
  onData: (chunk: Buffer) => void;
  send(data: Uint8Array): Promise<void>;
  /** The device takes nothing any more. */
  stall(): void;
  /** As an unplug: the host's side is hung up. */
  vanish(): Promise<void>;
}

/** Why no pty can be made here, or false. */
export const noPty: string | false = (() => {
  try {
    closeSync(openSync('/dev/ptmx', constants.O_RDWR | constants.O_NOCTTY));
    return false;
  } catch (error) {
    return `SKIPPED: no pseudo-terminals on this machine (${String(error)})`;
  }
})();

export function openPty(): Pty {
  const fd = openSync('/dev/ptmx', constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
  const ioctl = koffi.load(null).func('int ioctl(int fd, unsigned long request, _Inout_ int *argument)');
  const number = [0];
  if (ioctl(fd, TIOCSPTLCK, [0]) !== 0 || ioctl(fd, TIOCGPTN, number) !== 0) throw new Error('no pty');
  const path = `/dev/pts/${number[0] ?? 0}`;
  const stream = new ReadStream(fd);
  let gone = false;
  const pty: Pty = {
    path,
    onData: () => undefined,
    async send(data) {
      let offset = 0;
      while (offset < data.length && !gone) {
        offset += await new Promise<number>((resolve, reject) => {
          write(fd, data, offset, (error, count) => {
            if (error === null) resolve(count);
            else if (error.code === 'EAGAIN') setTimeout(() => resolve(0), 1);
            else reject(error);
          });
        });
      }
    },
    stall: () => void stream.pause(),
    vanish: async () => {
      if (gone) return;
      gone = true;
      if (stream.closed) return;
      await new Promise<void>((resolve) => {
        stream.once('close', () => resolve());
        stream.destroy();
      });
    },
  };
  stream.on('error', () => undefined);
  stream.on('data', (chunk: Buffer) => pty.onData(chunk));
  return pty;
}
