/** One backup of the bucket: the content of one name, in one folder or, where two stations chose the same, in several. */

import type { Mac } from '../../mac.ts';
import type { StoredCopy } from './stored-copy.ts';

export interface StoredName {
  readonly mac: Mac;
  readonly id: string;
  readonly copies: readonly StoredCopy[];
}

/** In little memory: almost all have one copy, which knows its name. */
export class NamedCopies implements StoredName {
  readonly #first: StoredCopy;
  #others: StoredCopy[] | undefined;

  constructor(first: StoredCopy) {
    this.#first = first;
  }

  get mac(): Mac {
    return this.#first.mac;
  }

  get id(): string {
    return this.#first.id;
  }

  get copies(): readonly StoredCopy[] {
    return [this.#first, ...(this.#others ?? [])];
  }

  add(copy: StoredCopy): void {
    (this.#others ??= []).push(copy);
  }
}

export const nameKey = ({ mac, id }: { readonly mac: Mac; readonly id: string }) => `${mac} ${id}`;

/** By {@link nameKey}, in the order of the list. */
export function namesOf(copies: Iterable<StoredCopy>, isMeant: (copy: StoredCopy) => boolean): Map<string, StoredName> {
  const names = new Map<string, NamedCopies>();
  for (const copy of copies) {
    if (!isMeant(copy)) continue;
    const key = nameKey(copy);
    const name = names.get(key);
    if (name === undefined) names.set(key, new NamedCopies(copy));
    else name.add(copy);
  }
  return names;
}
