/** What a reader found wrong, for people: a hostile image must not make an endless list of it. */

/** More than that says nothing new to a person, and a partition of 64 MiB could bring a million. */
const MAX_PROBLEMS = 50;

export class Problems {
  readonly #texts: string[] = [];
  readonly #most: number;
  #more = 0;

  constructor(most = MAX_PROBLEMS) {
    this.#most = most;
  }

  add(text: string): void {
    if (this.#texts.length < this.#most) this.#texts.push(text);
    else this.#more += 1;
  }

  /** In the order in which they were found; the last one tells how many were left out. */
  list(): string[] {
    return this.#more === 0 ? [...this.#texts] : [...this.#texts, `${this.#more} more problems`];
  }
}
