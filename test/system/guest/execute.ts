/** Programs of the host, run to their end. */

import { execFile } from 'node:child_process';

/** @throws Error with what the program said, when it fails or takes longer than `timeoutMs` */
export function execute(
  command: string,
  args: readonly string[],
  timeoutMs = 300_000,
  cwd?: string,
): Promise<{ stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const options = { timeout: timeoutMs, maxBuffer: 64 * 1024 * 1024, cwd };
    execFile(command, args, options, (error, stdout, stderr) => {
      if (error === null) {
        resolve({ stdout, stderr });
        return;
      }
      const reason = error.killed === true ? `took longer than ${timeoutMs / 1000} s` : `failed: ${error.message}`;
      reject(new Error(`${command} ${reason}\n${stdout.slice(-2000)}\n${stderr.slice(-2000)}`));
    });
  });
}
