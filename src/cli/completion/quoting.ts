/** Words as shells take them literally. Pure. */

/** For bash and zsh (POSIX): in single quotes, in which nothing has a meaning but their end. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** For fish, in whose single quotes `\\` and `\'` have a meaning. */
export function fishQuoted(text: string): string {
  return `'${text.replaceAll('\\', String.raw`\\`).replaceAll("'", String.raw`\'`)}'`;
}
