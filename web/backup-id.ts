/** The name of a backup is the moment at which it was made, with dashes for the colons that some file systems forbid. */

/** ISO 8601. A name that is no moment comes back as it is. */
export function momentOf(id: string): string {
  return id.replace(/T(\d\d)-(\d\d)-(\d\d)/, 'T$1:$2:$3');
}
