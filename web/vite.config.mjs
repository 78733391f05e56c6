/** How the page is built: to dist/web, which `espd web` serves. Nothing of Vite is in what it makes. */

import fs from 'node:fs';
import path from 'node:path';
import { defineConfig } from 'vite';

const root = path.dirname(import.meta.dirname);

/**
 * Whatever packages become part of the built page, their licences are handed on with it: each with a line
 * `# NAME VERSION (LICENCE)` before its text. The Debian package reads them there.
 */
const licences = {
  name: 'licences',
  generateBundle(_options, bundle) {
    const files = Object.values(bundle).flatMap((piece) => (piece.type === 'chunk' ? Object.keys(piece.modules) : []));
    const names = files.flatMap((file) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1] ?? []);
    const texts = [...new Set(names)].sort().map((name) => {
      const folder = path.join(root, 'node_modules', name);
      const { version, license } = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8'));
      return `# ${name} ${version} (${license})\n\n${fs.readFileSync(path.join(folder, 'LICENSE'), 'utf8').trim()}\n`;
    });
    this.emitFile({ type: 'asset', fileName: 'licences.txt', source: texts.join('\n\n') });
  },
};

export default defineConfig({
  root: import.meta.dirname,
  logLevel: 'warn',
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  plugins: [licences],
  build: {
    outDir: path.join(root, 'dist', 'web'),
    emptyOutDir: true,
    target: 'es2022',
    // The content security policy of the server allows files of its own, and nothing inline.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rollupOptions: {
      onwarn(warning) {
        // A built-in of Node, or a name that is not exported: the page would fail where nobody looks.
        throw new Error(warning.message);
      },
    },
  },
});
