/** Other commands of espd as steps of one: each goes through the daemon, or works by itself, as it would alone. */

import { errorFrom } from '../../control/contract/session-messages.ts';
import { EspdError } from '../../errors.ts';
import type { CommonOptions, Host } from '../host.ts';
import type { RunCommandLine } from '../relay/relay.ts';

/** The JSON document of a step, as far as it is looked into; its error where it ended with one. */
export interface StepResult<T> {
  readonly document: Partial<T>;
  readonly error: EspdError | undefined;
}

export class Steps {
  readonly #common: readonly string[];
  readonly #host: Host;
  readonly #run: RunCommandLine;

  /** @param options of the whole: they are those of each step as well */
  constructor({ archive, color, config, daemon, logLevel }: CommonOptions, host: Host, run: RunCommandLine) {
    this.#common = [
      ...(config === undefined ? [] : ['--config', config]),
      ...(archive === undefined ? [] : ['--archive', archive]),
      ...(daemon === false ? ['--no-daemon'] : []),
      ...(logLevel === undefined ? [] : ['--log-level', logLevel]),
      ...(color === false ? ['--no-color'] : []),
    ];
    this.#host = host;
    this.#run = run;
  }

  /** With `--json`; progress is shown where somebody watches. */
  async json<T>(args: readonly string[]): Promise<StepResult<T>> {
    let text = '';
    const stdout = { isTTY: false, write: (data: string | Uint8Array) => void (text += String(data)) };
    const { terminal } = this.#host;
    const host: Host = { ...this.#host, terminal: { stdout, stderr: terminal.stderr } };
    const status = await this.#run([...args, ...this.#common, '--json'], host);
    this.#host.signal.throwIfAborted();
    const document = documentOf(text) as Partial<T> & { readonly error?: ReturnType<EspdError['toJSON']> };
    if (status === 0) return { document, error: undefined };
    const { error } = document;
    if (error !== undefined) return { document, error: errorFrom(error) };
    return { document, error: new EspdError('internal', `espd ${args[0] ?? ''} ended with status ${status}`) };
  }

  /** For people. @param toStderr what it prints is a remark here, and no result */
  text(args: readonly string[], toStderr: boolean): Promise<number> {
    const { terminal } = this.#host;
    const host = toStderr ? { ...this.#host, terminal: { ...terminal, stdout: terminal.stderr } } : this.#host;
    return this.#run([...args, ...this.#common], host);
  }
}

function documentOf(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value;
  } catch {
    // An interrupted step has none.
  }
  return {};
}
