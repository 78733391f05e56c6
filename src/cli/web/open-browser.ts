/** The person's browser, where there is one. */

import { spawn } from 'node:child_process';

/** Over ssh, or without a screen, a browser would open where nobody sits, or in the terminal (lynx). */
export function canOpenBrowser(env: NodeJS.ProcessEnv, platform = process.platform): boolean {
  if (env['SSH_CONNECTION'] || env['CI']) return false;
  if (platform === 'darwin' || platform === 'win32') return true;
  return Boolean(env['DISPLAY'] ?? env['WAYLAND_DISPLAY']);
}

export function browserCommand(url: string, platform = process.platform): readonly [string, ...string[]] {
  if (platform === 'darwin') return ['open', url];
  // `start` is a word of cmd, to which & would be the end of the command.
  if (platform === 'win32') return ['rundll32', 'url.dll,FileProtocolHandler', url];
  return ['xdg-open', url];
}

/** Tries to: the link has been printed, so a failure needs no word. */
export function openBrowser(url: string, env: NodeJS.ProcessEnv): void {
  const [file, ...args] = browserCommand(url);
  const child = spawn(file, args, { stdio: 'ignore', detached: true, env });
  child.on('error', () => undefined);
  child.unref();
}
