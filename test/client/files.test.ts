/** The person's files, by this process and over a session: the same behaviour twice. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, describe, test } from 'node:test';
import { RemoteFiles } from '../../src/cli/relay/remote-files.ts';
import { type PersonFiles, chunksOf } from '../../src/client/files.ts';
import { localFiles } from '../../src/client/local-files.ts';
import { ServedFiles } from '../../src/client/serve-files.ts';
import {
  type FileRequest,
  MAX_LINE_BYTES,
  MessageReader,
  encodeMessage,
  errorFrom,
} from '../../src/control/contract/session-messages.ts';
import { type ErrorCode, EspdError, hasCode, systemCode } from '../../src/errors.ts';
import type { TouchableFiles } from '../../src/control/contract/relayed-commands.ts';

const ALL: TouchableFiles = { mayRead: () => true, mayCreate: () => true };

async function folderOf(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'espd-files-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Every request and reply as a line, as they cross a session. */
function remote(served: ServedFiles): RemoteFiles {
  let id = 0;
  return new RemoteFiles(async (request: FileRequest) => {
    const line = encodeMessage({ type: 'file', id: ++id, request });
    assert.ok(Buffer.byteLength(line) <= MAX_LINE_BYTES);
    const [asked] = [...MessageReader.toPerson().push(Buffer.from(line))];
    assert.ok(asked?.message.type === 'file');
    const replyLine = encodeMessage(await served.reply(asked.message.id, asked.message.request));
    assert.ok(Buffer.byteLength(replyLine) <= MAX_LINE_BYTES);
    const [reply] = [...MessageReader.toCommand().push(Buffer.from(replyLine))];
    assert.ok(reply?.message.type === 'file-reply');
    const { error, value } = reply.message;
    if (error === undefined) return value;
    throw 'system' in error ? Object.assign(new Error(error.system), { code: error.system }) : errorFrom(error);
  });
}

const KINDS: readonly [string, () => PersonFiles][] = [
  ['by this process', () => localFiles],
  ['over a session', () => remote(new ServedFiles(localFiles, ALL))],
];

const failsWith = (work: Promise<unknown>, code: ErrorCode) =>
  assert.rejects(work, (error) => hasCode(error, code) && error.hint !== '' && error.message !== '');
const failsBySystem = (work: Promise<unknown>, code: string) =>
  assert.rejects(work, (error) => !(error instanceof EspdError) && systemCode(error) === code);

async function* pieces(...parts: (Uint8Array | string)[]): AsyncGenerator<Uint8Array | string> {
  for (const part of parts) yield await Promise.resolve(part);
}

for (const [kind, filesOf] of KINDS) {
  describe(`files ${kind}`, () => {
    test('a new file: all of it, for its owner alone, and nothing else in the folder', async (t) => {
      const folder = await folderOf(t);
      const path = join(folder, 'out.bin');
      const large = Buffer.alloc(600 * 1024 + 1, 0xa5);
      const files = filesOf();
      await files.checkNewFile(path);
      await files.writeNewFile(path, pieces(large, 'text \u00e9\n', Buffer.alloc(0)));
      assert.ok((await readFile(path)).equals(Buffer.concat([large, Buffer.from('text \u00e9\n')])));
      assert.equal((await stat(path)).mode & 0o777, 0o600);
      await files.writeNewFile(join(folder, 'empty'), pieces());
      assert.deepEqual((await readdir(folder)).sort(), ['empty', 'out.bin']);
    });

    test('nothing is overwritten, also what comes meanwhile', async (t) => {
      const folder = await folderOf(t);
      const path = join(folder, 'out.bin');
      const files = filesOf();
      const content = async function* () {
        yield Buffer.from('new');
        await writeFile(path, 'of somebody else');
      };
      await failsWith(files.writeNewFile(path, content()), 'output-exists');
      await failsWith(files.checkNewFile(path), 'output-exists');
      assert.equal(await readFile(path, 'utf8'), 'of somebody else');
      assert.deepEqual(await readdir(folder), ['out.bin']);
      await symlink(join(folder, 'nowhere'), join(folder, 'link'));
      await failsWith(files.checkNewFile(join(folder, 'link')), 'output-exists');
    });

    test('a content that fails leaves nothing, and is what is thrown', async (t) => {
      const folder = await folderOf(t);
      const files = filesOf();
      const content = async function* () {
        yield Buffer.from('half');
        await Promise.resolve();
        throw new EspdError('archive-damaged', 'rotten', { hint: 'oh' });
      };
      await failsWith(files.writeNewFile(join(folder, 'out.bin'), content()), 'archive-damaged');
      const aborted = async function* () {
        yield Buffer.from('half');
        await Promise.resolve();
        throw new DOMException('aborted', 'AbortError');
      };
      await assert.rejects(files.writeNewFile(join(folder, 'out.bin'), aborted()), { name: 'AbortError' });
      assert.deepEqual(await readdir(folder), []);
    });

    test('a folder that is none, or is missing', async (t) => {
      const folder = await folderOf(t);
      await writeFile(join(folder, 'file'), '');
      const files = filesOf();
      for (const path of [join(folder, 'missing', 'out.bin'), join(folder, 'file', 'out.bin')]) {
        await failsWith(files.checkNewFile(path), 'output-unwritable');
        let isRead = false;
        const content = async function* () {
          isRead = true;
          yield await Promise.resolve('x');
        };
        await failsWith(files.writeNewFile(path, content()), 'output-unwritable');
        assert.equal(isRead, false, 'the content is not begun');
      }
    });

    test('reading: any place, any length, until the end', async (t) => {
      const folder = await folderOf(t);
      const path = join(folder, 'in.bin');
      const bytes = Buffer.from(Array.from({ length: 700_001 }, (_, at) => at % 251));
      await writeFile(path, bytes);
      const file = await filesOf().open(path, { followLinks: false });
      const { size, mtimeMs } = await stat(path);
      assert.deepEqual(await file.stat(), { kind: 'file', sizeBytes: size, modifiedAtMs: mtimeMs });
      assert.ok((await file.read(0, bytes.length)).equals(bytes));
      assert.ok((await file.read(3, 5)).equals(bytes.subarray(3, 8)));
      assert.ok((await file.read(bytes.length - 2, 10)).equals(bytes.subarray(-2)));
      assert.equal((await file.read(bytes.length, 10)).length, 0);
      assert.equal((await file.read(5, 0)).length, 0);
      const chunks: Buffer[] = [];
      for await (const chunk of chunksOf(file)) chunks.push(chunk);
      assert.ok(Buffer.concat(chunks).equals(bytes));
      await file.close();
    });

    test('links are followed where they may be, and nothing waits for a pipe', async (t) => {
      const folder = await folderOf(t);
      const files = filesOf();
      await writeFile(join(folder, 'file'), 'content');
      await symlink('file', join(folder, 'link'));
      await failsBySystem(files.open(join(folder, 'link'), { followLinks: false }), 'ELOOP');
      const followed = await files.open(join(folder, 'link'), { followLinks: true });
      assert.equal((await followed.read(0, 100)).toString(), 'content');
      await followed.close();
      await failsBySystem(files.open(join(folder, 'missing'), { followLinks: true }), 'ENOENT');
      execFileSync('mkfifo', [join(folder, 'pipe')]);
      for (const [name, kind] of [
        ['pipe', 'pipe'],
        ['.', 'folder'],
      ] as const) {
        const file = await files.open(join(folder, name), { followLinks: false });
        assert.equal((await file.stat()).kind, kind);
        await file.close();
      }
      const device = await files.open('/dev/null', { followLinks: false });
      assert.equal((await device.stat()).kind, 'device');
      await device.close();
    });

    test('a folder of many names', async (t) => {
      const folder = await folderOf(t);
      const names = Array.from({ length: 601 }, (_, number) => `board ${number}.bin`);
      for (const name of names) await writeFile(join(folder, name), '');
      await mkdir(join(folder, 'sub'));
      const files = filesOf();
      const entries = await files.list(folder);
      assert.deepEqual(entries.map(({ name }) => name).sort(), [...names, 'sub'].sort());
      assert.deepEqual(
        entries.filter(({ isFolder }) => isFolder),
        [{ name: 'sub', isFolder: true }],
      );
      await failsBySystem(files.list(join(folder, 'board 1.bin')), 'ENOTDIR');
      await failsBySystem(files.list(join(folder, 'missing')), 'ENOENT');
    });
  });
}

describe('files that are served', () => {
  test('nothing that the command line does not name', async (t) => {
    const folder = await folderOf(t);
    await writeFile(join(folder, 'secret'), 'secret');
    const served = new ServedFiles(localFiles, { mayRead: () => false, mayCreate: () => false });
    const files = remote(served);
    await failsWith(files.open(join(folder, 'secret'), { followLinks: true }), 'daemon-protocol');
    await failsWith(files.list(folder), 'daemon-protocol');
    await failsWith(files.checkNewFile(join(folder, 'new')), 'daemon-protocol');
    await failsWith(files.writeNewFile(join(folder, 'new'), pieces('x')), 'daemon-protocol');
    assert.deepEqual(await readdir(folder), ['secret']);
  });

  test('no file that is not open, none twice, and no more than a few', async (t) => {
    const folder = await folderOf(t);
    await writeFile(join(folder, 'file'), 'content');
    const served = new ServedFiles(localFiles, ALL);
    t.after(() => served.close());
    const isRefused = async (request: FileRequest) => {
      const { error } = await served.reply(1, request);
      assert.ok(error !== undefined && 'code' in error && error.code === 'daemon-protocol', JSON.stringify(error));
    };
    for (const op of ['finish', 'discard', 'stat'] as const) await isRefused({ op, file: 7 });
    await isRefused({ op: 'write', file: 7, data: 'AAAA' });
    await isRefused({ op: 'read', file: 7, offset: 0, length: 1 });
    await isRefused({ op: 'entries', file: 7, from: 0 });
    const open = (file: number) => ({ op: 'open', file, path: join(folder, 'file'), followLinks: false }) as const;
    for (let file = 0; file < 16; file++) assert.equal((await served.reply(1, open(file))).error, undefined);
    await isRefused(open(0));
    await isRefused(open(16));
    await served.reply(1, { op: 'close', file: 3 });
    assert.equal((await served.reply(1, open(16))).error, undefined);
  });

  test('when the session ends, nothing half written is left, whatever was under way', async (t) => {
    const folder = await folderOf(t);
    const path = join(folder, 'out.bin');
    for (const steps of [1, 2, 3]) {
      const served = new ServedFiles(localFiles, ALL);
      const begun = served.reply(1, { op: 'create', file: 1, path });
      if (steps > 1) await begun;
      if (steps > 2) await served.reply(2, { op: 'write', file: 1, data: 'AAAA' });
      await served.close();
      assert.deepEqual(await readdir(folder), []);
    }
  });
});
