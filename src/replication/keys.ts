/** The key file of a fleet: the first key encrypts, all of them decrypt. */

import { EspdError } from '../errors.ts';
import { type SecretPlace, readSecret } from '../store/credentials.ts';
import { type FleetKey, makeKey } from './encryption.ts';

/** @throws EspdError `store-key` */
export async function readKeys(
  place: SecretPlace,
  env: NodeJS.ProcessEnv,
): Promise<readonly [FleetKey, ...FleetKey[]]> {
  const { path, text } = await readSecret(place, env, 'store-key');
  const lines = text.split(/\r?\n/).map((line) => line.replace(/#.*/, '').trim());
  const keys = lines
    .filter((line) => line !== '')
    .map((line) => {
      if (!/^[0-9a-fA-F]{64}$/.test(line)) {
        throw new EspdError('store-key', `${path} has a line that is no key`, {
          hint: 'A key is 64 hex digits in a line of its own: openssl rand -hex 32',
        });
      }
      return makeKey(Buffer.from(line, 'hex'));
    });
  const [first, ...others] = keys;
  if (first !== undefined) return [first, ...others];
  throw new EspdError('store-key', `${path} holds no key`, { hint: `Make one: openssl rand -hex 32 > ${path}` });
}
