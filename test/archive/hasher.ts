/** A process that hashes files in the thread and has nothing else to do: `hasher.ts FILE...`. Says each MD5. */

import { open } from 'node:fs/promises';
import { sharedHashThread } from '../../src/archive/hash-thread.ts';

for (const path of process.argv.slice(2)) {
  const digests = await sharedHashThread.hash(await open(path), null);
  process.stdout.write(`${digests === undefined || 'failure' in digests.image ? 'none' : digests.image.md5}\n`);
}
