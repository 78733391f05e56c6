/** Numbers of jobs: from 1, for all kinds of jobs of one instance of the service. */
export class JobNumbers {
  #last = 0;

  next(): number {
    return ++this.#last;
  }
}
