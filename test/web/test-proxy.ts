/** Serves the built page and relays its requests to a daemon's socket, as `espd web` does, without a login. */

import { createReadStream, existsSync } from 'node:fs';
import { type Server, createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PAGE = fileURLToPath(new URL('../../dist/web', import.meta.url));
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
};
const POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";

export interface Proxy {
  readonly url: string;
  readonly server: Server;
}

export async function startProxy(socketPath: () => string, port = 0): Promise<Proxy> {
  const server = createServer((asked, answer) => {
    const path = (asked.url ?? '/').split('?', 1)[0] ?? '/';
    answer.setHeader('Content-Security-Policy', POLICY);
    if (path === '/web/session') {
      answer.setHeader('Content-Type', 'application/json');
      answer.end(JSON.stringify({ csrf: 'test', kind: 'link', version: 'test' }));
      return;
    }
    if (path.startsWith('/v1/')) {
      const { method, headers, url } = asked;
      const relayed = request({ socketPath: socketPath(), path: url, method, headers }, (response) => {
        answer.writeHead(response.statusCode ?? 500, response.headers);
        response.pipe(answer);
        response.on('error', () => answer.destroy());
      });
      relayed.on('error', () => {
        if (answer.headersSent) return void answer.destroy();
        answer.writeHead(502, { 'Content-Type': 'application/problem+json' });
        answer.end(
          JSON.stringify({ detail: 'The daemon does not answer', code: 'daemon-gone', hint: 'Start it', status: 502 }),
        );
      });
      answer.on('close', () => relayed.destroy());
      asked.pipe(relayed);
      return;
    }
    const file = join(PAGE, path === '/' ? 'index.html' : path);
    if (!existsSync(file)) {
      answer.writeHead(404);
      answer.end();
      return;
    }
    answer.setHeader('Content-Type', TYPES[extname(file)] ?? 'application/octet-stream');
    createReadStream(file).pipe(answer);
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` };
}
