/** The command of esptool that writes an image as it is. Pure: words, which the caller quotes for a shell. */

import { hex } from '../bytes.ts';

/**
 * Words of the command, as esptool spells them from version 5 on and before it. Mode, frequency and size in the header stay
 * as they are, or the image would be changed while it is written.
 * https://docs.espressif.com/projects/esptool/en/latest/esp32/migration-guide.html
 *
 * @param family as in a manifest, which are esptool's own names of chips
 * @param offset of the file's first byte, from the start of the flash
 */
export function esptoolWriteCommand({ family, offset, file }: { family: string; offset: number; file: string }): {
  readonly v5: readonly string[];
  readonly v4: readonly string[];
} {
  const place = [hex(offset), file.startsWith('-') ? `./${file}` : file];
  const keep = (dash: string) => ['mode', 'freq', 'size'].flatMap((what) => [`--flash${dash}${what}`, 'keep']);
  return {
    v5: ['esptool', '--chip', family, 'write-flash', ...keep('-'), ...place],
    v4: ['esptool.py', '--chip', family, 'write_flash', ...keep('_'), ...place],
  };
}
