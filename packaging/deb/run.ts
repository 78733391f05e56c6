/** Programs that a package is built with, run to their end. */

import { execFileSync } from 'node:child_process';

export interface RunOptions {
  readonly cwd?: string;
  /** Beyond the environment of this process. */
  readonly env?: NodeJS.ProcessEnv;
}

/** @returns stdout. @throws Error with what the program said */
export function run(command: string, args: readonly string[], { cwd, env }: RunOptions = {}): string {
  try {
    return execFileSync(command, args, {
      cwd,
      env: { ...process.env, ...env },
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      maxBuffer: 64 * 1024 * 1024,
    });
  } catch (error) {
    const { stdout = '', stderr = '', message } = error as Error & { stdout?: string; stderr?: string };
    throw new Error(`${command} failed: ${message}\n${stdout.slice(-2000)}${stderr.slice(-2000)}`, { cause: error });
  }
}
