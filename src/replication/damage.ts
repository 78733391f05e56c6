/** What lies in a store is not what was put there: `store-damaged`, with the bare problem for whoever lists many. */

import { EspdError } from '../errors.ts';

export class StoredDamage extends EspdError {
  /** A sentence fragment, without what it is about. */
  readonly problem: string;

  constructor(about: string, problem: string, options: { readonly hint: string; readonly cause?: unknown }) {
    super('store-damaged', `${about} in the object store is damaged: ${problem}`, options);
    this.problem = problem;
  }
}
