/** A port that somebody else has for a while. */
export interface Hold {
  readonly port: string;
  readonly by: string;
  /** ISO 8601 UTC; null = until it is released. */
  readonly until: string | null;
}
