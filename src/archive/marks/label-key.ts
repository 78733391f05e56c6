/** When two labels are the same. Pure, and below all that knows of boards. */

/** Labels with the same key are the same to a person who types one. */
export function labelKey(label: string): string {
  return label.normalize('NFC').trim().toLowerCase();
}
