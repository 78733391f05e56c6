import { systemClock } from '../../src/clock.ts';
import { silentLogger } from '../../src/log.ts';
import { openS3 } from '../../src/store/s3.ts';
import { type BucketPlace, SignedHttp, type SignedHttpParts } from '../../src/store/signed-http.ts';
import type { ObjectStore } from '../../src/store/types.ts';

/** A client with the keys of one of the users; `close` ends its connections. */
export function clientOf(
  endpoint: string,
  { user = 'writer', ...place }: Partial<BucketPlace> & { readonly user?: string } = {},
  parts: Partial<SignedHttpParts> = {},
): { readonly store: ObjectStore; readonly http: SignedHttp; close(): void } {
  const http = new SignedHttp(
    { endpoint, bucket: 'boards', region: 'us-east-1', addressing: 'path', credentials: null, ...place },
    {
      clock: systemClock,
      log: silentLogger,
      env: { AWS_ACCESS_KEY_ID: user, AWS_SECRET_ACCESS_KEY: `${user}-secret` },
      pace: () => Promise.resolve(),
      ...parts,
    },
  );
  return { store: openS3(http), http, close: () => http.close() };
}
