/** MAC addresses: the name of a board everywhere in espd. */

/** Lower-case hex with colons: `50:02:91:c3:37:a5`. */
export type Mac = string & { readonly __brand: 'Mac' };

/**
 * `50:02:91:c3:37:a5`, `50-02-91-C3-37-A5` or `500291c337a5` as a {@link Mac}; undefined for anything else.
 *
 * The EUI-64 that esptool prints as the MAC of chips with IEEE 802.15.4 (`50:02:91:ff:fe:c3:37:a5`) stands for the MAC that
 * it is made of. Others than `ff:fe` in its middle are none: a board's own name must not be guessed.
 * https://github.com/espressif/esptool/blob/v5.1.0/esptool/targets/esp32c6.py (`read_mac`)
 */
export function parseMac(text: string): Mac | undefined {
  if (!/^[0-9a-f]{2}([:-]?)(?:[0-9a-f]{2}\1){4}(?:[0-9a-f]{2}\1[0-9a-f]{2}\1)?[0-9a-f]{2}$/i.test(text))
    return undefined;
  const hex = text.replace(/[:-]/g, '').toLowerCase();
  if (hex.length === 12) return macFromBytes(Buffer.from(hex, 'hex'));
  return hex.slice(6, 10) === 'fffe' ? macFromBytes(Buffer.from(hex.slice(0, 6) + hex.slice(10), 'hex')) : undefined;
}

/** Six bytes in the order they are written. Throws RangeError for any other number of bytes. */
export function macFromBytes(bytes: Uint8Array): Mac {
  if (bytes.length !== 6) throw new RangeError(`a MAC has 6 bytes, not ${bytes.length}`);
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':') as Mac;
}

/** The folder name of a board: dashes, legal on every filesystem. */
export function macToFolder(mac: Mac): string {
  return mac.replaceAll(':', '-');
}

/** The inverse of {@link macToFolder}; undefined for a name that is not exactly such a folder name. */
export function macFromFolder(name: string): Mac | undefined {
  return /^[0-9a-f]{2}(?:-[0-9a-f]{2}){5}$/.test(name) ? (name.replaceAll('-', ':') as Mac) : undefined;
}
