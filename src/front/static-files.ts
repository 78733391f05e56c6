/** The built page: the files of one folder, by their names and no others. */

import { createHash } from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { extname, join } from 'node:path';
import { HttpError } from '../control/problem.ts';
import { systemCode } from '../errors.ts';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
  '.json': 'application/json; charset=utf-8',
  '.webmanifest': 'application/manifest+json',
  '.txt': 'text/plain; charset=utf-8',
};

const INDEX = '/index.html';
/** Vite puts a hash of the content into these names. */
const HASHED = /^\/assets\//;
/** The whole page is a few hundred KB. */
const MOST_FILES = 500;
const MAX_FILE_BYTES = 8 * 1024 * 1024;

interface Kept {
  readonly bytes: Buffer;
  readonly type: string;
  readonly tag: string;
}

/** Files by path, read once: whatever a request says, it names one of them or nothing. */
export class StaticFiles {
  readonly #files: ReadonlyMap<string, Kept>;

  private constructor(files: ReadonlyMap<string, Kept>) {
    this.#files = files;
  }

  /** @param folder that may be missing: then every page is one sentence */
  static async read(folder: string): Promise<StaticFiles> {
    const files = new Map<string, Kept>();
    const names = await readdir(folder, { recursive: true, withFileTypes: true }).catch((error: unknown) => {
      if (systemCode(error) === 'ENOENT') return [];
      throw error;
    });
    for (const entry of names.slice(0, MOST_FILES)) {
      const type = TYPES[extname(entry.name)];
      if (!entry.isFile() || type === undefined) continue;
      const path = join(entry.parentPath, entry.name);
      const bytes = await readFile(path);
      if (bytes.length > MAX_FILE_BYTES) continue;
      const tag = `"${createHash('sha256').update(bytes).digest('hex').slice(0, 32)}"`;
      files.set(path.slice(folder.length).replaceAll('\\', '/'), { bytes, type, tag });
    }
    return new StaticFiles(files);
  }

  /**
   * @param path of the URL, without its query, as it came
   * @throws HttpError 404, 405
   */
  send(path: string, { method, headers }: IncomingMessage, response: ServerResponse): void {
    if (method !== 'GET' && method !== 'HEAD') {
      throw new HttpError(405, 'The page is only read', '', { Allow: 'GET, HEAD' });
    }
    // The page has paths of its own: whatever looks like no file is the page.
    const isFile = /\.[^/]*$/.test(path);
    const name = isFile ? path : INDEX;
    const file = this.#files.get(name);
    if (file === undefined) {
      throw isFile && this.#files.has(INDEX)
        ? new HttpError(404, 'The page has no such file')
        : new HttpError(404, 'This espd was built without its page', 'Build it: npm run build');
    }
    response.setHeader('ETag', file.tag);
    response.setHeader('Cache-Control', HASHED.test(name) ? 'public, max-age=31536000, immutable' : 'no-cache');
    if (headers['if-none-match'] === file.tag) {
      response.writeHead(304).end();
      return;
    }
    response.writeHead(200, { 'Content-Type': file.type, 'Content-Length': file.bytes.length });
    response.end(method === 'HEAD' ? '' : file.bytes);
  }
}
