/** Flash contents for the tests, always the same: what firmware is made of, and what compressors trip over. */

/** Numbers below 2^32 by xorshift, from a seed other than 0. */
export function randomWords(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state;
  };
}

export function noise(length: number, seed = 1): Buffer {
  const next = randomWords(seed);
  return Buffer.from(Array.from({ length }, () => next() >>> 24));
}

/** Instructions out of few forms, tables of addresses, texts, blank rests: about as dense as real firmware. */
export function firmware(length: number, seed = 7): Buffer {
  const next = randomWords(seed);
  const parts: Buffer[] = [];
  const names = [
    'wifi',
    'http',
    'esp_',
    'mqtt',
    'error',
    ' failed: ',
    '%s',
    'nvs',
    'task',
    '\n',
    '\0',
    'init',
    'timeout',
  ];
  let total = 0;
  const add = (part: Buffer) => {
    parts.push(part);
    total += part.length;
  };
  // What compilers write again and again: beginnings and ends of functions, calls of the same helpers.
  const idioms = Array.from({ length: 400 }, () => noise(4 + (next() % 24), next() | 1));
  while (total < length) {
    const kind = next() % 16;
    if (kind < 9) {
      for (let instructions = next() % 400; instructions > 0; instructions--) {
        if (next() % 12 === 0) {
          add(idioms[next() % (1 + (next() % idioms.length))]!);
          continue;
        }
        const code = Buffer.alloc(3);
        code.writeUIntLE(((next() % 61) << 16) | ((next() & next() & 0xff) << 8) | (next() % 23), 0, 3);
        add(code);
      }
    } else if (kind < 12) {
      const words = 8 + (next() % 64);
      const base = 0x400d0000 + (next() & 0xfff0);
      const table = Buffer.alloc(4 * words);
      for (let index = 0; index < words; index++) table.writeUInt32LE(base + index * 12 + (next() & 7), 4 * index);
      add(table);
    } else if (kind < 14) {
      const count = 8 + (next() % 40);
      add(Buffer.from(Array.from({ length: count }, () => names[next() % names.length]).join('')));
    } else if (kind < 15) {
      add(Buffer.alloc(next() % 2000, next() & 1 ? 0xff : 0));
    } else {
      add(noise(next() % 700, next() | 1));
    }
    const earlier = parts[next() % parts.length];
    if (kind === 3 && earlier) add(earlier);
  }
  return Buffer.concat(parts).subarray(0, length);
}

/** Frequencies like Fibonacci's, for which the best code would have more than 15 bits. */
export function fibonacci(): Buffer {
  const parts: Buffer[] = [];
  for (let a = 1, b = 1, byte = 0; a < 1200; byte++, [a, b] = [b, a + b]) parts.push(Buffer.alloc(a, byte));
  const all = Buffer.concat(parts);
  // Shuffled, so that hardly anything repeats.
  const next = randomWords(99);
  for (let index = all.length - 1; index > 0; index--) {
    const other = next() % (index + 1);
    [all[index], all[other]] = [all[other]!, all[index]!];
  }
  return all;
}

/** The same bytes again after each of those distances, with other noise in between. */
export function echoes(distances: readonly number[]): Buffer {
  const parts: Buffer[] = [];
  distances.forEach((distance, index) => {
    const sound = noise(40, 1000 + index);
    parts.push(sound, noise(distance - sound.length, 2000 + index), sound);
  });
  return Buffer.concat(parts);
}

/** The test pattern of reader/PROTOCOL.md. */
export function pattern(address: number, length: number): Buffer {
  const h = (value: number) => {
    let x = Math.imul(value, 0x9e3779b1);
    x ^= x >>> 15;
    x = Math.imul(x, 0x85ebca6b);
    return (x ^ (x >>> 13)) >>> 0;
  };
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at += 4) {
    const w = (address + at) >>> 2;
    const kind = ((address + at) >>> 8) & 3;
    const word =
      kind === 0 ? h(w) : kind === 1 ? h(w & 15) : kind === 2 ? 0x41414141 + (h(w >>> 2) & 0x0f0f0f0f) : 0xffffffff;
    bytes.writeUInt32LE(word >>> 0, at);
  }
  return bytes;
}
