/**
 * The guest: a small Debian 12 with Debian's own kernel, udev and systemd, built once and kept in a cache outside the
 * repository. Nothing of espd is in it; that comes on a second disk (`payload.ts`).
 */

import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, mkdtemp, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { execute } from './execute.ts';

export interface GuestImage {
  /** Uncompressed kernel: software emulation would need seconds to unpack it. */
  readonly kernel: string;
  readonly initrd: string;
  /** Root file system, never written to: each run works on an overlay. */
  readonly disk: string;
}

const SUITE = 'bookworm';
const PACKAGES = [
  ...['systemd-sysv', 'dbus', 'udev', 'kmod', 'login', 'linux-image-amd64', 'initramfs-tools'],
  // Node's own libraries, and the tools that the tests look around with.
  ...['libstdc++6', 'libudev1', 'iproute2', 'procps', 'psmisc', 'usbutils', 'picocom', 'less'],
];
/** What the kernel needs to find its disk; everything else comes from the disk. */
const INITRD_MODULES = ['virtio_pci', 'virtio_blk', 'ext4'];
const DISK_SIZE = '2G';
/** Half a minute where the mirror is near. */
const DEBOOTSTRAP_LIMIT_MS = 10 * 60_000;
/** Folders in the cache that are being made. */
const WORKSHOP = 'building-';
const ABANDONED_MS = 60 * 60_000;
/** They only cost time at each start. */
const NEEDLESS_UNITS = ['apt-daily.timer', 'apt-daily-upgrade.timer', 'fstrim.timer', 'e2scrub_reap.service'];

/** Files of the guest beyond Debian's. Folders are made as needed. */
const FILES: Readonly<Record<string, string>> = {
  '/etc/hostname': 'espd-guest\n',
  '/etc/fstab': '/dev/vda / ext4 rw 0 1\n/dev/vdb /opt/payload ext4 ro 0 0\n',
  // Whoever looks at the console is root, without a password.
  '/etc/systemd/system/serial-getty@ttyS0.service.d/login.conf':
    '[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin root --keep-baud 115200 - vt220\n',
  '/etc/systemd/system/test-agent.service': [
    '[Unit]',
    'RequiresMountsFor=/opt/payload',
    '[Service]',
    'ExecStart=/usr/bin/node /opt/payload/agent.mjs /dev/virtio-ports/test-agent',
    'Restart=always',
    // Commands of the tests outlive a restart of the agent.
    'KillMode=process',
    '[Install]',
    'WantedBy=multi-user.target',
    '',
  ].join('\n'),
  '/etc/profile.d/welcome.sh':
    'stty cols 120 rows 40\n' +
    'echo "Inside the guest: journalctl -u espd, lsusb -t, espd list, ... Leave with: poweroff"\n',
};

/** This machine gets no Debian: no network, no mirror, no right to make device nodes. */
export class GuestUnavailable extends Error {}

/**
 * The cached image, built now if there is none. Needs root and debootstrap, and takes two to three minutes then.
 *
 * @throws GuestUnavailable
 */
export async function guestImage(log: (line: string) => void): Promise<GuestImage> {
  const folder = join(cacheFolder(), await recipeKey());
  const image = { kernel: join(folder, 'vmlinux'), initrd: join(folder, 'initrd.img'), disk: join(folder, 'disk.img') };
  if (existsSync(folder)) return image;
  await mkdir(cacheFolder(), { recursive: true });
  await removeAbandoned();
  const workshop = await mkdtemp(join(cacheFolder(), WORKSHOP));
  try {
    log(`building the guest (once, some minutes) in ${folder}`);
    await build(workshop);
    // A folder with its final name is complete. Somebody else may have been quicker.
    await rename(workshop, folder).catch((error: unknown) => {
      if (!existsSync(folder)) throw error;
    });
  } finally {
    await remove(workshop);
  }
  return image;
}

/** What builders left that were killed. */
async function removeAbandoned(): Promise<void> {
  for (const name of await readdir(cacheFolder())) {
    const path = join(cacheFolder(), name);
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Infinity }));
    if (name.startsWith(WORKSHOP) && mtimeMs < Date.now() - ABANDONED_MS) await remove(path);
  }
}

/** Without what debootstrap may have left mounted in it. */
async function remove(folder: string): Promise<void> {
  await execute('rm', ['-rf', '--one-file-system', folder]).catch(() => undefined);
}

/** `$XDG_CACHE_HOME/espd-system-tests`; may be removed at any time. */
export function cacheFolder(): string {
  return join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'espd-system-tests');
}

async function build(workshop: string): Promise<void> {
  const root = join(workshop, 'root');
  await debootstrap(root);
  for (const [path, content] of Object.entries(FILES)) await writeInto(root, path, content);
  await mkdir(join(root, 'opt/payload'));
  // The machine's own Node: what the tests run with, espd runs with.
  await copyFile(process.execPath, join(root, 'usr/bin/node'));
  await chmod(join(root, 'usr/bin/node'), 0o755);
  await execute('chroot', [root, 'systemctl', 'enable', 'test-agent.service']);
  await execute('chroot', [root, 'systemctl', 'mask', ...NEEDLESS_UNITS]);
  await buildInitrd(root);
  const kernel = (await readdir(join(root, 'boot'))).find((name) => name.startsWith('vmlinuz-'));
  if (kernel === undefined) throw new Error('debootstrap installed no kernel');
  await unpackKernel(join(root, 'boot', kernel), join(workshop, 'vmlinux'));
  await copyFile(join(root, 'boot', kernel.replace('vmlinuz', 'initrd.img')), join(workshop, 'initrd.img'));
  await execute('rm', ['-rf', join(root, 'var/cache/apt'), join(root, 'var/lib/apt/lists'), join(root, 'boot')]);
  await execute('mke2fs', ['-q', '-t', 'ext4', '-d', root, join(workshop, 'disk.img'), DISK_SIZE]);
  await rm(root, { recursive: true });
}

/** @throws GuestUnavailable with what debootstrap complained about */
async function debootstrap(root: string): Promise<void> {
  const args = ['--variant=minbase', `--include=${PACKAGES.join(',')}`, SUITE, root, await debianMirror()];
  try {
    await execute('debootstrap', args, DEBOOTSTRAP_LIMIT_MS);
  } catch (error) {
    const lines = (error as Error).message.split('\n');
    const complaints = [...new Set(lines.filter((line) => /^[EW]: /.test(line)))].slice(-2);
    throw new GuestUnavailable(`debootstrap: ${complaints.join('; ') || (lines[0] ?? '')}`, { cause: error });
  }
}

/** Debian's initrd with three drivers instead of all: the emulated machine unpacks it in a second instead of ten. */
async function buildInitrd(root: string): Promise<void> {
  await writeInto(root, '/etc/initramfs-tools/modules', `${INITRD_MODULES.join('\n')}\n`);
  await writeInto(
    root,
    '/etc/initramfs-tools/conf.d/small.conf',
    'MODULES=list\nBUSYBOX=n\nCOMPRESS=gzip\nFSTYPE=ext4\n',
  );
  await execute('chroot', [root, 'update-initramfs', '-u', '-k', 'all'], 5 * 60_000);
}

/**
 * The ELF kernel out of a bzImage, which QEMU boots by its PVH entry: protocol offsets 0x1f1 (setup sectors), 0x248 and
 * 0x24c (payload), Documentation/arch/x86/boot.rst of Linux.
 */
async function unpackKernel(bzImage: string, vmlinux: string): Promise<void> {
  const image = await readFile(bzImage);
  const start = (image.readUInt8(0x1f1) + 1) * 512 + image.readUInt32LE(0x248);
  // Behind the packed kernel stands its unpacked size, 4 bytes.
  const payload = image.subarray(start, start + image.readUInt32LE(0x24c) - 4);
  const packed = `${vmlinux}.packed`;
  await writeFile(packed, payload);
  const isXz = payload.subarray(1, 4).toString('latin1') === '7zX';
  await execute('sh', ['-c', `${isXz ? 'xz' : 'zstd'} -dc < '${packed}' > '${vmlinux}'`]);
  await rm(packed);
}

async function writeInto(root: string, path: string, content: string): Promise<void> {
  const target = join(root, path);
  await mkdir(dirname(target), { recursive: true });
  await writeFile(target, content);
}

/** Where this machine itself gets Debian's packages from. @throws GuestUnavailable */
async function debianMirror(): Promise<string> {
  const filter = ['Created-By: Packages', `Codename: ${SUITE}`, 'Component: main'];
  const { stdout } = await execute('apt-get', ['indextargets', '--format', '$(REPO_URI)', ...filter]);
  const [uri] = stdout.split('\n').filter((line) => line !== '');
  if (uri === undefined) throw new GuestUnavailable(`the apt sources of this machine have no Debian ${SUITE}`);
  return uri;
}

/** Of everything that the image is made of. */
async function recipeKey(): Promise<string> {
  const hash = createHash('sha256');
  hash.update(await readFile(new URL(import.meta.url)));
  hash.update(`${process.version} ${process.arch} ${JSON.stringify(FILES)}`);
  return hash.digest('hex').slice(0, 16);
}
