/**
 * Where many texts occur, in one pass over the bytes, whatever their number: of each text one pair of neighbouring bytes is
 * looked for, the one that is least likely to turn up elsewhere, and only where it stands the whole text is compared.
 */

interface Place {
  /** Of the text, in the list that was asked for. */
  readonly index: number;
  readonly bytes: Buffer;
  /** Of the pair, from the start of the text. */
  readonly pairAt: number;
}

const PAIRS = 0x10000;

export class TextSearch {
  /** 1 for each pair that is looked for; twice as fast to ask as the map. */
  readonly #isWanted = new Uint8Array(PAIRS);
  readonly #places = new Map<number, Place[]>();

  /** @param texts Latin-1, each of at least two characters */
  constructor(texts: readonly string[]) {
    texts.forEach((text, index) => {
      const bytes = Buffer.from(text, 'latin1');
      const pairAt = rarestPair(bytes);
      const pair = bytes.readUInt16LE(pairAt);
      this.#isWanted[pair] = 1;
      this.#places.set(pair, [...(this.#places.get(pair) ?? []), { index, bytes, pairAt }]);
    });
  }

  /**
   * Calls `found` for each occurrence that begins at or behind `from` and before `end` and lies within `bytes`; in no
   * particular order.
   *
   * @param found with the text's place in the list, and where it begins
   */
  each(bytes: Buffer, from: number, end: number, found: (index: number, at: number) => void): void {
    const isWanted = this.#isWanted;
    const last = bytes.length - 1;
    let pair = 0;
    if (from < last) pair = (bytes[from] ?? 0) << 8;
    for (let at = from; at < last; at += 1) {
      pair = (pair >> 8) | ((bytes[at + 1] ?? 0) << 8);
      if (isWanted[pair] !== 1) continue;
      for (const place of this.#places.get(pair) ?? []) {
        const start = at - place.pairAt;
        if (start >= from && start < end && isAt(bytes, start, place.bytes)) found(place.index, start);
      }
    }
  }
}

function isAt(bytes: Buffer, start: number, text: Buffer): boolean {
  if (start + text.length > bytes.length) return false;
  for (let at = 0; at < text.length; at += 1) if (bytes[start + at] !== text[at]) return false;
  return true;
}

function rarestPair(bytes: Buffer): number {
  let best = 0;
  let bestScore = -Infinity;
  for (let at = 0; at + 1 < bytes.length; at += 1) {
    const score = rarity(bytes[at] ?? 0) + rarity(bytes[at + 1] ?? 0);
    if (score > bestScore) {
      best = at;
      bestScore = score;
    }
  }
  return best;
}

/** Filling is everywhere, lower-case letters are in all texts, the rest is rare enough. */
function rarity(byte: number): number {
  if (byte === 0 || byte === 0xff || byte === 0x20) return -2;
  const isLowerCase = byte >= 0x61 && byte <= 0x7a;
  return isLowerCase ? 0 : 1;
}
