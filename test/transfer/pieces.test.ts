import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { piecesOf } from '../../src/transfer/pieces.ts';

it('a region in pieces is the region, in order, and no piece is larger than asked for', async () => {
  const content = Buffer.from(Array.from({ length: 300 }, (_, index) => index % 251));
  const image = {
    read: (offset: number, length: number) => Promise.resolve(content.subarray(offset, offset + length)),
  };
  await fc.assert(
    fc.asyncProperty(
      fc.nat(150),
      fc.nat(150),
      fc.integer({ min: 1, max: 200 }),
      async (offset, sizeBytes, pieceBytes) => {
        const pieces: Buffer[] = [];
        let at = offset;
        for await (const piece of piecesOf(image, { offset, sizeBytes }, pieceBytes)) {
          assert.equal(piece.offset, at);
          assert.ok(piece.bytes.length > 0 && piece.bytes.length <= pieceBytes);
          at += piece.bytes.length;
          pieces.push(piece.bytes);
        }
        assert.deepEqual(Buffer.concat(pieces), content.subarray(offset, offset + sizeBytes));
      },
    ),
  );
});
