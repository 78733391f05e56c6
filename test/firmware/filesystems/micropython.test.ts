/** littlefs as MicroPython carries it, run here: the reader on images that were not made for it. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';

import { readFileSystem } from '../../../src/firmware/filesystems/index.ts';
import { listingOf, type FileFacts } from './fixtures.ts';

/** Makes a file system in memory, works on it, writes the image to a file, and prints what is in it: one entry a line. */
const SCRIPT = `
import os, sys, hashlib, binascii
try:
    vfs = os.VfsLfs2
except AttributeError:
    import vfs as vfs_module
    vfs = vfs_module.VfsLfs2

class Blocks:
    def __init__(self, size, count):
        self.size = size
        self.count = count
        self.data = bytearray(b'\\xff' * (size * count))
    def readblocks(self, block, buffer, offset=0):
        at = block * self.size + offset
        buffer[:] = self.data[at:at + len(buffer)]
    def writeblocks(self, block, buffer, offset=0):
        at = block * self.size + offset
        self.data[at:at + len(buffer)] = buffer
    def ioctl(self, op, arg):
        if op == 4: return self.count
        if op == 5: return self.size
        if op == 6: return 0

def put(name, text, mode='w'):
    with fs.open(name, mode) as file:
        file.write(text)

def show(folder):
    for entry in fs.ilistdir(folder or '/'):
        name = folder + '/' + entry[0]
        if entry[1] == 0x4000:
            print('D', name)
            show(name)
        else:
            with fs.open(name, 'rb') as file:
                content = file.read()
            print('F', name, len(content), binascii.hexlify(hashlib.sha256(content).digest()).decode())

blocks = Blocks(int(sys.argv[2]), int(sys.argv[3]))
vfs.mkfs(blocks)
fs = vfs(blocks)
fs.mkdir('/lib')
fs.mkdir('/lib/deep')
put('/boot.py', 'print(1)')
put('/main.py', 'x = 1\\n' * 3000)
put('/lib/deep/big.bin', 'abcdefgh' * 6000)
for index in range(40):
    put('/lib/file%d' % index, str(index) * index)
for index in range(0, 40, 3):
    fs.remove('/lib/file%d' % index)
for index in range(1, 40, 9):
    fs.rename('/lib/file%d' % index, '/lib/deep/moved%d' % index)
for index in range(20):
    put('/log', 'line %d\\n' % index, 'a')
fs.rename('/lib/deep', '/deep')
show('')
with open(sys.argv[1], 'wb') as image:
    image.write(blocks.data)
`;

function hasMicroPython(): boolean {
  try {
    return execFileSync('micropython', ['-c', 'print(1)'], { stdio: ['ignore', 'pipe', 'ignore'] }).length > 0;
  } catch {
    return false;
  }
}

const skip = hasMicroPython() ? false : 'SKIPPED: micropython is not installed (package micropython of Debian 13)';

describe('littlefs of MicroPython', { skip }, () => {
  for (const [blockBytes, blocks] of [
    [4096, 64],
    [512, 400],
    [8192, 32],
  ] as const) {
    test(`${blocks} blocks of ${blockBytes} bytes`, () => {
      const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'espd-micropython-'));
      try {
        const script = path.join(folder, 'make.py');
        const image = path.join(folder, 'image.bin');
        fs.writeFileSync(script, SCRIPT);
        const printed = execFileSync('micropython', [script, image, String(blockBytes), String(blocks)], {
          encoding: 'utf8',
        });
        const folders: string[] = [];
        const files: Record<string, FileFacts> = {};
        for (const line of printed.trim().split('\n')) {
          const [kind, name = '', size = '', sha256 = ''] = line.split(' ');
          if (kind === 'D') folders.push(name);
          else files[name] = { size: Number(size), sha256 };
        }
        assert.equal(Object.keys(files).length, 30);
        const reading = readFileSystem(fs.readFileSync(image));
        assert.ok(reading);
        assert.deepEqual(reading.problems, []);
        assert.deepEqual(listingOf(reading), { folders: folders.sort(), files });
      } finally {
        fs.rmSync(folder, { recursive: true });
      }
    });
  }
});
