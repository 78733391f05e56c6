/** The demo's workbench: simulated boards behind RFC 2217, and a watched folder into which they are plugged. */

import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createBoard, demoImage } from '../simulator/index.ts';
import type { Family, SimulatedBoard } from '../simulator/index.ts';
import { serveRfc2217 } from '../simulator/serve/rfc2217.ts';
import type { ServedBoard } from '../simulator/serve/served.ts';

export interface DemoBoard {
  readonly name: string;
  readonly mac: string;
  readonly board: SimulatedBoard;
  readonly served: ServedBoard;
}

const MIB = 1024 * 1024;

/** The boards of the demo. The first one is that of the how-to that espd grew out of. */
const BOARDS: readonly {
  name: string;
  family: Family;
  mac: string;
  jedec: [number, number, number];
  project: string;
}[] = [
  { name: 'esp8266', family: 'esp8266', mac: '50:02:91:c3:37:a5', jedec: [0x5e, 0x40, 0x16], project: 'smart-plug' },
  { name: 'esp32', family: 'esp32', mac: '24:0a:c4:12:45:56', jedec: [0xc8, 0x40, 0x16], project: 'weather-station' },
  { name: 'esp32c3', family: 'esp32c3', mac: '7c:df:a1:be:ef:02', jedec: [0xef, 0x40, 0x16], project: 'door-sensor' },
];

export class DemoHub {
  readonly configPath: string;
  readonly archivePath: string;
  readonly boards: readonly DemoBoard[];
  readonly #portsPath: string;

  private constructor(folder: string, boards: readonly DemoBoard[]) {
    this.configPath = join(folder, 'config.yaml');
    this.archivePath = join(folder, 'archive');
    this.#portsPath = join(folder, 'ports');
    this.boards = boards;
  }

  /** @param folder an empty folder for config, archive and ports */
  static async open(folder: string): Promise<DemoHub> {
    const boards = await Promise.all(
      BOARDS.map(async ({ name, family, mac, jedec, project }, index): Promise<DemoBoard> => {
        const content = demoImage({
          family,
          sizeBytes: 4 * MIB,
          projectName: project,
          appBytes: 400 * 1024,
          seed: index + 1,
        });
        const board = createBoard({ family, mac, jedec, content, line: { latencyMs: 1 } });
        return { name, mac, board, served: await serveRfc2217(board) };
      }),
    );
    const hub = new DemoHub(folder, boards);
    await mkdir(hub.#portsPath);
    await writeFile(hub.configPath, hub.#config());
    return hub;
  }

  /** A link that names the board's network port appears in the watched folder: to the daemon, a plug-in. */
  async plugIn({ name, served }: DemoBoard): Promise<void> {
    served.plug();
    await symlink(served.address, join(this.#portsPath, name));
  }

  async unplug({ name, served }: DemoBoard): Promise<void> {
    await rm(join(this.#portsPath, name), { force: true });
    served.unplug();
  }

  /** The image of a backup, as it lies in the archive. */
  readImage(mac: string, id: string): Promise<Buffer> {
    return readFile(join(this.archivePath, mac.replaceAll(':', '-'), id, 'flash.bin'));
  }

  async close(): Promise<void> {
    await Promise.all(this.boards.map(({ served }) => served.close()));
  }

  /** The defaults, but for a folder to watch, a fast line, and the real ports of this machine, which stay untouched. */
  #config(): string {
    return [
      `archive: { path: ${JSON.stringify(this.archivePath)} }`,
      `watch: { folders: [${JSON.stringify(this.#portsPath)}], deny: [{ path: '/dev/*' }, { path: 'COM*' }] }`,
      'serial: { baudRate: 2000000 }',
      'log: { format: json }',
      '',
    ].join('\n');
  }
}
