/**
 * The house's rules, checked on every file of src: who may import whom, which package stays in which room, and a few
 * things that belong in one place only. The tables come first; change them together with ARCHITECTURE.md.
 */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import ts from 'typescript';

/** Files directly in src that every room may import. */
const OPEN_TO_ALL = ['errors.ts', 'log.ts', 'clock.ts', 'mac.ts', 'version.ts', 'flash.ts', 'printable.ts'];

/**
 * What each room may import beside itself and {@link OPEN_TO_ALL}. A room (`esp`) means all its files, a path one file;
 * `type ` in front: types only. A key with a path is an exception of that file, or of that folder, on top of its room's.
 */
const ARROWS: Readonly<Record<string, readonly string[]>> = {
  main: ['cli', 'exit.ts'],
  exit: [],
  cli: [
    'config',
    'client',
    'control',
    'documents',
    'daemon',
    'doctor',
    'front',
    'outbound',
    'plugs',
    'replication',
    'transfer',
    'esp',
    'archive',
    'firmware',
    'serial',
  ],
  'cli/demo': ['simulator'],
  client: ['config', 'control/contract/', 'type daemon'],
  daemon: ['config', 'plugs', 'transfer', 'esp', 'archive', 'firmware', 'serial'],
  doctor: ['config', 'front/credentials.ts', 'transfer', 'type esp', 'archive', 'serial'],
  control: ['config', 'documents', 'doctor', 'transfer', 'archive', 'daemon', 'serial'],
  front: ['client/daemon-errors.ts', 'control/problem.ts'],
  outbound: ['type config', 'type daemon', 'type archive'],
  documents: ['transfer', 'archive', 'firmware'],
  plugs: ['transfer', 'esp', 'serial'],
  config: ['serial/rules.ts', 'serial/remotes.ts', 'type archive'],
  transfer: ['esp', 'archive', 'firmware', 'serial'],
  esp: ['serial/link.ts'],
  archive: [],
  firmware: [],
  store: [],
  replication: ['store', 'archive', 'type config'],
  serial: [],
  simulator: ['serial/link.ts'],
  // The page: data only by the API. What it takes as code is pure, so that page and commands say and sort alike.
  web: [
    'daemon/station.ts',
    'cli/station/words.ts',
    'cli/station/rates.ts',
    'cli/progress.ts',
    'cli/text.ts',
    'cli/list-filter.ts',
    'archive/station-text.ts',
    'firmware/versions.ts',
    'type daemon',
    'type documents',
    'type firmware',
  ],
};

/** Where a third-party package may be imported: rooms, files, or folders. What is not named here may not be used at all. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  serialport: ['serial'],
  usb: ['serial'],
  chokidar: ['serial', 'config', 'daemon'],
  'node-cron': ['daemon'],
  winston: ['config/logger.ts', 'log'],
  yaml: ['config'],
  zod: ['config', 'archive', 'control', 'outbound/spool.ts', 'replication', 'front/credentials.ts'],
  aws4fetch: ['store/signed-http.ts'],
  zstddec: ['archive'],
  commander: ['cli'],
  mqtt: ['outbound/mqtt/broker.ts'],
  koffi: [
    'serial',
    'archive/fiemap.ts',
    'daemon/notify.ts',
    'daemon/freed-memory.ts',
    'simulator/serve/pty',
    'exit.ts',
  ],
  preact: ['web'],
  '@preact/signals': ['web'],
  vite: ['web/vite.config.mjs'],
  // Its stub images are data, read through the file system; its code is not for us.
  'esptool-js': [],
};

/** Packages that one decision hides: at most one file in each of these places. */
const ONE_FILE_EACH: Readonly<Record<string, readonly (readonly string[])[]>> = {
  chokidar: [['serial'], ['config', 'daemon']],
  'node-cron': [['daemon']],
};

const MAX_LINES = 400;

/** Folders of somebody's machine; `~` and `$HOME` are how to say it. */
const MACHINE_PATHS = /(?<![\w.~>)\]}*$-])\/(?:work|root|home\/\w+|Users\/\w+)(?![\w-])/;

/** Files by their path inside src; those of the page by that inside the project, which begins with `web/`. */
type Sources = ReadonlyMap<string, string>;

interface Import {
  readonly specifier: string;
  readonly typeOnly: boolean;
  readonly line: number;
}

interface Facts {
  readonly imports: readonly Import[];
  /** Uses of `process.exit` and `console`, by line. */
  readonly uses: readonly { readonly what: 'process.exit' | 'console'; readonly line: number }[];
}

function readFacts(file: string, text: string): Facts {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const imports: Import[] = [];
  const uses: { what: 'process.exit' | 'console'; line: number }[] = [];
  const lineOf = (node: ts.Node) => source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1;
  const add = (node: ts.Node, specifier: ts.Node | undefined, typeOnly: boolean) => {
    if (specifier === undefined || !ts.isStringLiteralLike(specifier)) return;
    imports.push({ specifier: specifier.text, typeOnly, line: lineOf(node) });
  };

  let consoleIsOurs = false;
  const visit = (node: ts.Node): void => {
    if (ts.isBindingElement(node) || ts.isVariableDeclaration(node) || ts.isParameter(node)) {
      consoleIsOurs ||= node.name.getText(source) === 'console';
    }
    if (ts.isImportDeclaration(node)) {
      add(node, node.moduleSpecifier, node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword);
      const names = node.importClause?.namedBindings;
      const fromProcess = ['process', 'node:process'].includes((node.moduleSpecifier as ts.StringLiteral).text);
      if (fromProcess && names !== undefined && ts.isNamedImports(names)) {
        for (const { name, propertyName } of names.elements) {
          if ((propertyName ?? name).text === 'exit') uses.push({ what: 'process.exit', line: lineOf(node) });
        }
      }
    } else if (ts.isExportDeclaration(node)) {
      add(node, node.moduleSpecifier, node.isTypeOnly);
    } else if (ts.isImportTypeNode(node)) {
      add(node, ts.isLiteralTypeNode(node.argument) ? node.argument.literal : undefined, true);
    } else if (ts.isCallExpression(node)) {
      const callee = node.expression.getText(source);
      const loads = node.expression.kind === ts.SyntaxKind.ImportKeyword || callee === 'require';
      if (loads) add(node, node.arguments[0], false);
    } else if (ts.isPropertyAccessExpression(node) || ts.isElementAccessExpression(node)) {
      const object = node.expression.getText(source).replace(/^globalThis\./, '');
      const key = ts.isPropertyAccessExpression(node) ? node.name : node.argumentExpression;
      const name = ts.isIdentifier(key) || ts.isStringLiteralLike(key) ? key.text : '';
      if (object === 'process' && (name === 'exit' || name === 'reallyExit')) {
        uses.push({ what: 'process.exit', line: lineOf(node) });
      }
      if (object === 'console') uses.push({ what: 'console', line: lineOf(node) });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  // A chip has a console too: a file that names something so means that (ESLint's no-console knows the scopes).
  return { imports, uses: uses.filter(({ what }) => what !== 'console' || !consoleIsOurs) };
}

const roomOf = (file: string) => (file.includes('/') ? file.slice(0, file.indexOf('/')) : path.basename(file, '.ts'));

/** Whether `place` (`esp`, `esp/slip.ts`, `cli/demo`) holds `file`; a path without `.ts` is a folder or a prefix of names. */
const holds = (place: string, file: string) =>
  place.endsWith('.ts') || !place.includes('/') ? place === file || place === roomOf(file) : file.startsWith(place);

/** The file that a relative import means. */
const targetOf = (file: string, specifier: string) => {
  const target = path.posix.join(path.posix.dirname(file), specifier);
  return roomOf(file) === 'web' ? target.replace(/^src\//, '') : target;
};

const isBuiltIn = (specifier: string) => specifier.startsWith('node:');

const packageOf = (specifier: string) =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');

function mayImport(file: string, target: string, typeOnly: boolean): boolean {
  if (OPEN_TO_ALL.includes(target) || roomOf(file) === roomOf(target)) return true;
  const arrows = Object.entries(ARROWS)
    .filter(([from]) => holds(from, file))
    .flatMap(([, to]) => to);
  return arrows.some((arrow) =>
    arrow.startsWith('type ') ? typeOnly && holds(arrow.slice('type '.length), target) : holds(arrow, target),
  );
}

/** Every violation, as `file:line: what`, in a stable order. */
function check(sources: Sources): string[] {
  const violations: string[] = [];
  const graph = new Map<string, string[]>();
  const usersOf = new Map<string, Set<string>>();

  for (const [file, text] of sources) {
    const { imports, uses } = readFacts(file, text);
    const targets: string[] = [];
    const report = (line: number, what: string) => violations.push(`${file}:${line}: ${what}`);

    const isRoom = roomOf(file) in ARROWS || OPEN_TO_ALL.includes(file);
    if (!isRoom) report(1, `'${roomOf(file)}' is no room of the house`);
    for (const { specifier, typeOnly, line } of imports) {
      if (isBuiltIn(specifier)) continue;
      if (specifier.startsWith('.')) {
        const target = targetOf(file, specifier);
        if (target.startsWith('..')) report(line, `imports ${specifier}, outside src`);
        else if (!sources.has(target)) report(line, `imports ${specifier}, which does not exist`);
        else {
          targets.push(target);
          if (!mayImport(file, target, typeOnly))
            report(line, `may not import ${target}${typeOnly ? '' : ' (as code)'}`);
        }
        continue;
      }
      const name = packageOf(specifier);
      usersOf.set(name, (usersOf.get(name) ?? new Set()).add(file));
      const places = PACKAGES[name];
      if (places === undefined) report(line, `imports ${name}, which no room may use`);
      else if (!places.some((place) => holds(place, file))) report(line, `imports ${name} outside its room`);
    }
    graph.set(file, targets);

    for (const { what, line } of uses) {
      if (what === 'console' || file !== 'main.ts') report(line, `uses ${what}`);
    }
    const lines = text.replace(/\n$/, '').split('\n').length;
    if (lines > MAX_LINES) report(lines, `has ${lines} lines, more than ${MAX_LINES}`);
  }

  for (const [name, places] of Object.entries(ONE_FILE_EACH)) {
    for (const rooms of places) {
      const users = [...(usersOf.get(name) ?? [])].filter((file) => rooms.includes(roomOf(file))).sort();
      if (users.length > 1) violations.push(`${users.join(', ')}: ${name} belongs behind one file`);
    }
  }
  return [...violations, ...findCycles(graph)];
}

/** Files that `from` loads, by way of imports that are more than types; each with one way that leads there. */
function reachedFrom(sources: Sources, from: string): Map<string, string[]> {
  const ways = new Map([[from, [from]]]);
  for (const [file, way] of ways) {
    for (const { specifier, typeOnly } of readFacts(file, sources.get(file) ?? '').imports) {
      if (typeOnly || !specifier.startsWith('.')) continue;
      const target = targetOf(file, specifier);
      if (!ways.has(target)) ways.set(target, [...way, target]);
    }
  }
  return ways;
}

/** The code that erases or programs flash, and what calls it. */
const WRITERS = [
  'esp/flash-write.ts',
  'esp/board-writer.ts',
  'transfer/restore/write.ts',
  'transfer/restore/restore.ts',
];
/** Commands that erase or program. */
const WRITING_OPCODES = /OPCODE\.(?:FLASH_|ERASE_)\w+/;
/** An empty FLASH_BEGIN, which erases nothing, is how the ESP8266's ROM is told to attach its flash. */
const MAY_NAME_OPCODES = ['esp/flash-write.ts', 'esp/spi-flash.ts', 'esp/protocol.ts'];

/** One cycle for each file that closes one, found depth first; types count: a cycle of thoughts is one. */
function findCycles(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const cycles: string[] = [];
  const done = new Set<string>();
  const trail: string[] = [];
  const walk = (file: string): void => {
    const start = trail.indexOf(file);
    if (start !== -1) cycles.push(`import cycle: ${[...trail.slice(start), file].join(' -> ')}`);
    if (start !== -1 || done.has(file)) return;
    trail.push(file);
    for (const target of graph.get(file) ?? []) walk(target);
    trail.pop();
    done.add(file);
  };
  for (const file of [...graph.keys()].sort()) walk(file);
  return cycles;
}

/** Lines of a text that name a folder of somebody's machine. */
function findMachinePaths(file: string, text: string): string[] {
  return text.split('\n').flatMap((line, index) => {
    const found = MACHINE_PATHS.exec(line);
    return found === null ? [] : [`${file}:${index + 1}: ${found[0]}`];
  });
}

const root = path.dirname(import.meta.dirname);

/** What git tracks or would track; in a copy without git, all files but what is installed or built. */
function listProjectFiles(): string[] {
  try {
    const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
      cwd: root,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return listed.split('\0').filter((file) => file !== '' && fs.existsSync(path.join(root, file)));
  } catch {
    const skipped = ['.git', 'node_modules', 'dist'];
    return fs
      .readdirSync(root, { recursive: true, encoding: 'utf8' })
      .filter((file) => !skipped.includes(file.split(path.sep)[0] ?? ''))
      .filter((file) => fs.statSync(path.join(root, file)).isFile());
  }
}

function readSources(): Sources {
  const folder = path.join(root, 'src');
  const files = fs.readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
  const read = (file: string, at: string) => [file.split(path.sep).join('/'), fs.readFileSync(at, 'utf8')] as const;
  const page = fs.readdirSync(path.join(root, 'web'), { recursive: true, encoding: 'utf8' });
  return new Map([
    ...files.sort().map((file) => read(file, path.join(folder, file))),
    ...page
      .filter((file) => /\.tsx?$/.test(file))
      .sort()
      .map((file) => read(path.join('web', file), path.join(root, 'web', file))),
  ]);
}

describe('the house', () => {
  test('src and web keep the rules', () => {
    const sources = readSources();
    assert.ok(sources.size > 5, 'src is there');
    assert.deepEqual(check(sources), []);
  });

  test('the daemon cannot write flash: nothing that it loads leads to the code that does', () => {
    const sources = readSources();
    for (const writer of WRITERS) assert.ok(sources.has(writer), writer);
    const starts = [
      ...['daemon/daemon.ts', 'daemon/job.ts', 'doctor/doctor.ts', 'control/control.ts', 'control/session.ts'],
      ...['outbound/outbound.ts', 'cli/daemon.ts', 'cli/backup.ts', 'cli/identify.ts'],
    ];
    for (const start of starts) {
      const reached = reachedFrom(sources, start);
      assert.ok(reached.size > 5, start);
      for (const writer of WRITERS) assert.equal(reached.get(writer)?.join(' -> '), undefined);
    }
    assert.ok(
      reachedFrom(sources, 'transfer/restore/restore.ts').has('esp/flash-write.ts'),
      'the walk finds what is there',
    );
  });

  test('what the page loads runs in a browser', () => {
    const sources = readSources();
    const reached = reachedFrom(sources, 'web/main.tsx');
    assert.ok(reached.has('web/app.tsx') && reached.has('daemon/station.ts'), 'the walk finds what is there');
    for (const [file, way] of reached) {
      const builtIns = readFacts(file, sources.get(file) ?? '').imports.filter(
        ({ specifier, typeOnly }) => !typeOnly && isBuiltIn(specifier),
      );
      assert.deepEqual(builtIns, [], way.join(' -> '));
    }
  });

  test('commands that erase or program flash are given in one file', () => {
    const users = [...readSources()].filter(
      ([file, text]) => file.startsWith('esp/') && !MAY_NAME_OPCODES.includes(file) && WRITING_OPCODES.test(text),
    );
    assert.deepEqual(
      users.map(([file]) => file),
      [],
    );
  });

  test('no file names a folder of the machine that it was written on', () => {
    const files = listProjectFiles();
    assert.ok(files.includes('package.json'));
    const found = files.flatMap((file) => {
      if (fs.lstatSync(path.join(root, file)).isSymbolicLink()) return [];
      const bytes = fs.readFileSync(path.join(root, file));
      return bytes.includes(0) ? [] : findMachinePaths(file, bytes.toString('utf8'));
    });
    assert.deepEqual(found, []);
  });

  test('every package of the table is a dependency, and every dependency is in the table', () => {
    const { dependencies, devDependencies, optionalDependencies } = JSON.parse(
      fs.readFileSync(path.join(root, 'package.json'), 'utf8'),
    ) as Record<'dependencies' | 'devDependencies' | 'optionalDependencies', Record<string, string>>;
    // What becomes part of the built page is needed at build time only.
    const ofPage = Object.keys(PACKAGES).filter((name) => PACKAGES[name]?.some((place) => holds('web', place)));
    const others = Object.keys(PACKAGES).filter((name) => !ofPage.includes(name));
    assert.deepEqual(others.sort(), Object.keys({ ...dependencies, ...optionalDependencies }).sort());
    for (const name of ofPage) assert.ok(name in devDependencies, name);
  });
});

describe('the checker finds', () => {
  /** A small sound house with `files` added or replaced. */
  const checkWith = (files: Readonly<Record<string, string>>) =>
    check(
      new Map(
        Object.entries({
          'main.ts': "import { run } from './cli/run.ts';\nprocess.exit(run());\n",
          'errors.ts': 'export class EspdError extends Error {}\n',
          'log.ts': 'export interface Logger {}\n',
          'cli/run.ts': "import '../daemon/daemon.ts';\nimport 'commander';\nexport const run = () => 0;\n",
          'cli/demo.ts': "import '../simulator/board.ts';\n",
          'config/schema.ts': "import '../serial/rules.ts';\nimport type { Archive } from '../archive/types.ts';\n",
          'daemon/daemon.ts': "import '../transfer/backup.ts';\nimport '../config/schema.ts';\n",
          'daemon/notify.ts': "const koffi = await import('koffi');\n",
          'transfer/backup.ts': "import '../esp/device.ts';\nimport '../archive/types.ts';\n",
          'esp/device.ts': "import type { Link } from '../serial/link.ts';\nimport '../errors.ts';\n",
          'archive/types.ts': 'export interface Archive {}\n',
          'archive/manifest.ts': "import { z } from 'zod';\nimport fs from 'node:fs';\n",
          'serial/link.ts': 'export interface Link {}\n',
          'serial/rules.ts': 'export {};\n',
          'serial/ports.ts': "import { SerialPort } from 'serialport';\n",
          'simulator/board.ts': "import type { Link } from '../serial/link.ts';\n",
          'simulator/serve/pty-native.ts': "await import('koffi');\n",
          ...files,
        }),
      ),
    );

  test('nothing in a sound house', () => assert.deepEqual(checkWith({}), []));

  const wrong: readonly (readonly [name: string, file: string, text: string, violation: string])[] = [
    [
      'an arrow upward',
      'esp/up.ts',
      "import '../transfer/backup.ts';",
      'esp/up.ts:1: may not import transfer/backup.ts (as code)',
    ],
    [
      'an arrow sideways',
      'archive/side.ts',
      "import '../firmware/x.ts';",
      'archive/side.ts:1: imports ../firmware/x.ts, which does not exist',
    ],
    [
      'serial seen by the archive',
      'archive/a.ts',
      "import type { Link } from '../serial/link.ts';",
      'archive/a.ts:1: may not import serial/link.ts',
    ],
    [
      'more of serial in esp than the link',
      'esp/p.ts',
      "import type { X } from '../serial/ports.ts';",
      'esp/p.ts:1: may not import serial/ports.ts',
    ],
    [
      'code where only types may be taken',
      'config/c.ts',
      "import { a } from '../archive/types.ts';",
      'config/c.ts:1: may not import archive/types.ts (as code)',
    ],
    [
      'a type import with a single `type` inside',
      'config/c.ts',
      "import { type a } from '../archive/types.ts';",
      'config/c.ts:1: may not import archive/types.ts (as code)',
    ],
    [
      'the simulator in the daemon',
      'daemon/s.ts',
      "import '../simulator/board.ts';",
      'daemon/s.ts:1: may not import simulator/board.ts (as code)',
    ],
    [
      'the simulator in a command that is not the demo',
      'cli/s.ts',
      "import '../simulator/board.ts';",
      'cli/s.ts:1: may not import simulator/board.ts (as code)',
    ],
    [
      'esp in the simulator',
      'simulator/e.ts',
      "\nimport '../esp/device.ts';",
      'simulator/e.ts:2: may not import esp/device.ts (as code)',
    ],
    [
      'main reaching past the cli',
      'main.ts',
      "import './daemon/daemon.ts';",
      'main.ts:1: may not import daemon/daemon.ts (as code)',
    ],
    [
      'a re-export',
      'esp/r.ts',
      "export * from '../serial/ports.ts';",
      'esp/r.ts:1: may not import serial/ports.ts (as code)',
    ],
    [
      'a dynamic import',
      'esp/d.ts',
      "await import('../serial/ports.ts');",
      'esp/d.ts:1: may not import serial/ports.ts (as code)',
    ],
    [
      'an import inside a type',
      'esp/t.ts',
      "type X = import('../serial/ports.ts').Y;",
      'esp/t.ts:1: may not import serial/ports.ts',
    ],
    [
      'a file outside src',
      'cli/o.ts',
      "import '../../package.json';",
      'cli/o.ts:1: imports ../../package.json, outside src',
    ],
    ['a file that is in no room', 'util/x.ts', '', "util/x.ts:1: 'util' is no room of the house"],
    [
      'a package outside its room',
      'daemon/w.ts',
      "import winston from 'winston';",
      'daemon/w.ts:1: imports winston outside its room',
    ],
    [
      'zod outside of config and archive',
      'transfer/z.ts',
      "import { z } from 'zod';",
      'transfer/z.ts:1: imports zod outside its room',
    ],
    ['koffi beside the pty', 'simulator/k.ts', "require('koffi');", 'simulator/k.ts:1: imports koffi outside its room'],
    [
      'esptool-js as code',
      'esp/j.ts',
      "import { ESPLoader } from 'esptool-js/lib/x.js';",
      'esp/j.ts:1: imports esptool-js outside its room',
    ],
    [
      'an unknown package',
      'cli/l.ts',
      "import '@scope/left-pad/index.js';",
      'cli/l.ts:1: imports @scope/left-pad, which no room may use',
    ],
    ['a built-in without node:', 'cli/l.ts', "import 'fs';", 'cli/l.ts:1: imports fs, which no room may use'],
    ['process.exit', 'cli/x.ts', 'process.exit(1);', 'cli/x.ts:1: uses process.exit'],
    ['process["exit"]', 'cli/x.ts', 'globalThis.process["exit"](1);', 'cli/x.ts:1: uses process.exit'],
    ['an imported exit', 'cli/x.ts', "import { exit as leave } from 'node:process';", 'cli/x.ts:1: uses process.exit'],
    ['console', 'main.ts', 'console.log(1);', 'main.ts:1: uses console'],
    ['401 lines', 'cli/long.ts', '//\n'.repeat(401), 'cli/long.ts:401: has 401 lines, more than 400'],
  ];
  for (const [name, file, text, violation] of wrong) {
    test(name, () => assert.deepEqual(checkWith({ [file]: text }), [violation]));
  }

  test('not 400 lines, comments, strings, or the console of a chip', () => {
    assert.deepEqual(checkWith({ 'esp/ok.ts': 'export const f = ({ console }: C) => console.uart;\n' }), []);
    assert.deepEqual(checkWith({ 'cli/ok.ts': '//\n'.repeat(400) }), []);
    assert.deepEqual(
      checkWith({ 'cli/ok.ts': "// console.log, import 'x'\nexport const s = 'process.exit(1)';\n" }),
      [],
    );
  });

  test('a package behind two files of one room', () => {
    const importing = "import 'node-cron';\n";
    assert.deepEqual(checkWith({ 'daemon/a.ts': importing }), []);
    assert.deepEqual(checkWith({ 'daemon/a.ts': importing, 'daemon/b.ts': importing }), [
      'daemon/a.ts, daemon/b.ts: node-cron belongs behind one file',
    ]);
    const watching = "import 'chokidar';\n";
    assert.deepEqual(checkWith({ 'serial/w.ts': watching, 'daemon/w.ts': watching }), []);
    assert.deepEqual(checkWith({ 'config/w.ts': watching, 'daemon/w.ts': watching }), [
      'config/w.ts, daemon/w.ts: chokidar belongs behind one file',
    ]);
  });

  test('cycles, of two files and of more, and of one', () => {
    assert.deepEqual(
      checkWith({ 'esp/a.ts': "import './b.ts';", 'esp/b.ts': "import './c.ts';", 'esp/c.ts': "import './a.ts';" }),
      ['import cycle: esp/a.ts -> esp/b.ts -> esp/c.ts -> esp/a.ts'],
    );
    assert.deepEqual(checkWith({ 'esp/a.ts': "import type { B } from './b.ts';", 'esp/b.ts': "import './a.ts';" }), [
      'import cycle: esp/a.ts -> esp/b.ts -> esp/a.ts',
    ]);
    assert.deepEqual(checkWith({ 'esp/a.ts': "import './a.ts';" }), ['import cycle: esp/a.ts -> esp/a.ts']);
  });

  test('folders of a machine, and not what only looks like one', () => {
    const [work, su, home] = ['work', 'root', 'home'].map((name) => `/${name}`);
    for (const line of [`cd ${work}/main`, `"${su}/.npm"`, `path=${home}/ada/espd`, `(${work})`, `file://${work}/x`]) {
      assert.equal(findMachinePaths('x', `fine\n${line}\n`).length, 1, line);
    }
    for (const line of [
      `${home}`,
      `~${work}`,
      `.${work}`,
      'a/root/b',
      '/dev/root',
      '/workshop',
      '/rootfs',
      '<archive>/root',
    ]) {
      assert.deepEqual(findMachinePaths('x', line), [], line);
    }
  });
});
