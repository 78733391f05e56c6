/** How the page is built: to dist/web, which `espd web` serves. Nothing of Vite is in what it makes. */

import fs from 'node:fs';
import path from 'node:path';
import { defineConfig } from 'vite';

const root = path.dirname(import.meta.dirname);
/** Packages that become part of the built page, whose licences want to be handed on with it. */
const BUNDLED = ['preact', '@preact/signals', '@preact/signals-core'];

const licences = {
  name: 'licences',
  generateBundle() {
    const texts = BUNDLED.map((name) => {
      const text = fs.readFileSync(path.join(root, 'node_modules', name, 'LICENSE'), 'utf8');
      return `${name}\n\n${text.trim()}\n`;
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
