/** Numbers that look random and are the same every time: noise, garbage and demo content come from here. */

export interface Random {
  /** An integer from 0 to `limit` - 1. */
  below(limit: number): number;
  byte(): number;
  /** 32 bits. */
  word(): number;
  bytes(length: number): Buffer;
}

/** xorshift32 (Marsaglia 2003), started from any integer. */
export function seededRandom(seed: number): Random {
  let state = (seed ^ 0x9e3779b9) >>> 0 || 1;
  const next = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state;
  };
  for (let warmUp = 0; warmUp < 8; warmUp++) next();
  const random: Random = {
    below: (limit) => (limit <= 1 ? 0 : next() % limit),
    byte: () => (next() >>> 11) & 0xff,
    word: next,
    bytes: (length) => {
      const bytes = Buffer.alloc(length);
      for (let index = 0; index < length; index++) bytes[index] = random.byte();
      return bytes;
    },
  };
  return random;
}

/** A seed made of a text (FNV-1a). */
export function seedOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}
