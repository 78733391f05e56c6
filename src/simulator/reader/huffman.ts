/**
 * Huffman codes for {@link deflateRaw}: lengths out of frequencies, and codes out of lengths (RFC 1951, 3.2.2). Bit-reversed,
 * since Huffman codes go out with their first bit lowest.
 */

export interface HuffmanCode {
  readonly lengths: Uint8Array;
  readonly codes: Uint16Array;
}

/**
 * Lengths of at most `maxBits` for symbols that occur so often; 0 for those that do not. One that occurs alone gets one
 * bit. Frequencies are flattened until the tree is no deeper.
 */
export function huffmanLengths(frequencies: Uint32Array, maxBits: number): Uint8Array {
  const weights = Uint32Array.from(frequencies);
  for (;;) {
    const lengths = treeDepths(weights);
    if (lengths.every((length) => length <= maxBits)) return lengths;
    for (let symbol = 0; symbol < weights.length; symbol++) {
      const weight = weights[symbol] ?? 0;
      if (weight > 0) weights[symbol] = (weight >> 1) | 1;
    }
  }
}

interface Node {
  readonly weight: number;
  /** Of a leaf. */
  readonly symbol?: number;
  readonly children?: readonly [Node, Node];
}

function treeDepths(weights: Uint32Array): Uint8Array {
  const lengths = new Uint8Array(weights.length);
  const leaves: Node[] = [];
  weights.forEach((weight, symbol) => {
    if (weight > 0) leaves.push({ weight, symbol });
  });
  leaves.sort((one, other) => one.weight - other.weight || (one.symbol ?? 0) - (other.symbol ?? 0));
  // Two queues, both in order of weight: leaves, and pairs that were made of them.
  const pairs: Node[] = [];
  let [nextLeaf, nextPair] = [0, 0];
  const lightest = (): Node | undefined => {
    const [leaf, pair] = [leaves[nextLeaf], pairs[nextPair]];
    if (leaf !== undefined && (pair === undefined || leaf.weight <= pair.weight)) {
      nextLeaf++;
      return leaf;
    }
    if (pair !== undefined) nextPair++;
    return pair;
  };
  let root: Node | undefined;
  for (;;) {
    const one = lightest();
    const other = lightest();
    if (one === undefined || other === undefined) {
      root = one;
      break;
    }
    pairs.push({ weight: one.weight + other.weight, children: [one, other] });
  }
  const open: (readonly [Node, number])[] = root === undefined ? [] : [[root, 0]];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [{ symbol, children }, depth] = next;
    if (symbol !== undefined) lengths[symbol] = Math.max(1, depth);
    for (const child of children ?? []) open.push([child, depth + 1]);
  }
  return lengths;
}

/** The canonical code with these lengths. */
export function huffmanCode(lengths: Uint8Array): HuffmanCode {
  const counts = new Uint16Array(17);
  for (const length of lengths) if (length > 0) counts[length] = (counts[length] ?? 0) + 1;
  const next = new Uint16Array(17);
  for (let bits = 1; bits <= 16; bits++) next[bits] = ((next[bits - 1] ?? 0) + (counts[bits - 1] ?? 0)) << 1;
  const codes = new Uint16Array(lengths.length);
  lengths.forEach((length, symbol) => {
    if (length === 0) return;
    const code = next[length] ?? 0;
    next[length] = code + 1;
    codes[symbol] = reversed(code, length);
  });
  return { lengths, codes };
}

function reversed(code: number, length: number): number {
  let result = 0;
  for (let bit = 0; bit < length; bit++) result |= ((code >> bit) & 1) << (length - 1 - bit);
  return result;
}
