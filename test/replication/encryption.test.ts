import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { hasCode } from '../../src/errors.ts';
import {
  CHUNK_BYTES,
  HEADER_BYTES,
  decryptWhole,
  encrypt,
  encryptedSize,
  makeKey,
  openEncrypted,
} from '../../src/replication/encryption.ts';
import { gather } from '../../src/replication/put-image.ts';
import { image } from '../archive/support.ts';

const key = makeKey(Buffer.alloc(32, 7));
const NAME = '50-02-91-c3-37-a5/2026-11-23T10-00-00Z/flash.bin';
const plainOf = (bytes: Buffer, name = NAME) => ({
  name,
  sizeBytes: bytes.length,
  sha256: createHash('sha256').update(bytes).digest('hex'),
});
const seal = (bytes: Buffer, name = NAME, pieces: Iterable<Uint8Array> = [bytes]) =>
  gather(encrypt(key, plainOf(bytes, name), pieces));

const SIZES = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES];

describe('encrypted objects', () => {
  test('come back, whatever their size and the pieces they came in', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.constantFrom(...SIZES), fc.nat(200_000)),
        fc.array(fc.integer({ min: 1, max: 100_000 }), { maxLength: 5 }),
        async (sizeBytes, cuts) => {
          const bytes = image(sizeBytes, sizeBytes + 1);
          const pieces: Buffer[] = [];
          let at = 0;
          for (const cut of cuts) pieces.push(bytes.subarray(at, (at += cut)));
          pieces.push(bytes.subarray(at));
          const sealed = await seal(bytes, NAME, pieces);
          assert.equal(sealed.length, encryptedSize(sizeBytes));
          assert.deepEqual(sealed, await seal(bytes), 'the same content gives the same bytes');
          assert.ok(decryptWhole([key], NAME, sealed).equals(bytes));
        },
      ),
      { numRuns: 60 },
    );
  });

  test('any range can be read by the chunks that hold it', async () => {
    const bytes = image(2 * CHUNK_BYTES + 1000);
    const sealed = await seal(bytes);
    const opened = openEncrypted([key], NAME, sealed.subarray(0, HEADER_BYTES));
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: bytes.length }), (offset, length) => {
        const end = Math.min(bytes.length, offset + length);
        const place = opened.locate(offset, end - offset);
        const chunks = sealed.subarray(place.offset, place.offset + place.length);
        const plain = opened.decrypt(place.first, chunks);
        const from = offset - place.first * CHUNK_BYTES;
        assert.ok(plain.subarray(from, from + end - offset).equals(bytes.subarray(offset, end)));
      }),
    );
  });

  test('one changed bit anywhere, a cut anywhere, another name, swapped chunks: none is taken', async () => {
    const bytes = image(2 * CHUNK_BYTES + 10);
    const sealed = await seal(bytes);
    const refused = (object: Buffer, name = NAME, keys = [key]) =>
      assert.throws(
        () => decryptWhole(keys, name, object),
        (error) => hasCode(error, 'store-damaged', 'store-key'),
      );
    for (let at = 0; at < sealed.length; at += at < 64 ? 1 : 4099) {
      const flipped = Buffer.from(sealed);
      flipped[at] = (flipped[at] ?? 0) ^ 1;
      refused(flipped);
    }
    for (let length = 0; length < sealed.length; length += length < 100 ? 1 : 5003) refused(sealed.subarray(0, length));
    refused(Buffer.concat([sealed, Buffer.alloc(1)]));
    refused(sealed, NAME.replace('flash.bin', 'manifest.json'));
    refused(sealed, NAME, [makeKey(randomBytes(32))]);
    const chunk = CHUNK_BYTES + 16;
    const [head, one, two, rest] = [0, HEADER_BYTES, HEADER_BYTES + chunk, HEADER_BYTES + 2 * chunk].map(
      (at, index, all) => sealed.subarray(at, all[index + 1]),
    );
    refused(Buffer.concat([head!, two!, one!, rest!]));
  });

  test('nothing of the content shows, and two names give two ciphertexts', async () => {
    const secret = Buffer.from('wifi-password '.repeat(5000));
    const sealed = await seal(secret);
    assert.equal(sealed.includes('wifi-password'), false);
    const other = await seal(secret, NAME.replace('flash.bin', 'flash.bin.gz'));
    assert.notDeepEqual(sealed.subarray(16, 32), other.subarray(16, 32));
  });

  test('a key of before still decrypts; the first one encrypts', async () => {
    const sealed = await seal(Buffer.from('old'));
    const now = makeKey(randomBytes(32));
    assert.equal(decryptWhole([now, key], NAME, sealed).toString(), 'old');
    assert.throws(
      () => decryptWhole([now], NAME, sealed),
      (error) => hasCode(error, 'store-key') && error.message.includes(key.id),
    );
  });

  test('the script of FORMAT.md decrypts one with openssl alone', async (t) => {
    try {
      execFileSync('openssl', ['kdf', '-help'], { stdio: 'ignore' });
    } catch {
      process.stderr.write('test/replication/encryption.test.ts SKIPPED: no openssl 3\n');
      t.skip('no openssl 3');
      return;
    }
    const page = await readFile(new URL('../../FORMAT.md', import.meta.url), 'utf8');
    const script = /```sh\n(# decrypt\.sh[^]*?)```/.exec(page)?.[1];
    assert.ok(script !== undefined);
    const folder = await mkdtemp(join(tmpdir(), 'espd-openssl-'));
    try {
      const bytes = image(2 * CHUNK_BYTES + 777);
      await writeFile(join(folder, 'decrypt.sh'), script);
      // Bytes that printf takes for something else, and a newer key in front.
      const odd = makeKey(Buffer.from('25005c2573640a0d7f80ff00255c30270a'.padEnd(64, '25'), 'hex'));
      for (const each of [key, odd]) {
        await writeFile(join(folder, 'flash.bin.enc'), await gather(encrypt(each, plainOf(bytes), [bytes])));
        await writeFile(join(folder, 'key'), `${'ab'.repeat(32)}\n${each.bytes.toString('hex')}\n`);
        // sh: on Debian one whose printf knows no \x.
        for (const shell of ['bash', 'sh']) {
          await rm(join(folder, 'flash.bin'), { force: true });
          execFileSync(shell, ['decrypt.sh', 'key', 'flash.bin.enc', 'flash.bin'], { cwd: folder, stdio: 'pipe' });
          assert.ok((await readFile(join(folder, 'flash.bin'))).equals(bytes), shell);
        }
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
