/**
 * Builds the program for every chip: `node reader/build.mjs` writes reader/built/<chip>.json (described in
 * PROTOCOL.md), `node reader/build.mjs --check` compares instead, and fails if a file is not what the sources give.
 * Names of chips as further arguments: only those.
 *
 * Where a compiler is missing, or is another one than the file was built with, the check can say only whether the
 * sources are those of the file; it says so.
 */

import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import { CHIPS } from './chips.mjs';
import { readElf } from './elf.mjs';
import { compilerArguments, entrySymbol, historyBytes, linkerScript } from './toolchain.mjs';

const PROTOCOL = 1;
const FIRST_OPCODE = 0xd5;
const OPCODES = [0xe0, 0xe1, 0xe2];
/** Handlers of the opcodes D5 to EF (esp-flasher-stub, src/plugin_table.h). */
const TABLE_ENTRIES = 27;
const STUB_PACKAGE = 'esptool-js';

const here = import.meta.dirname;
const source = path.join(here, 'src');
const built = path.join(here, 'built');

/** @param {...(string | Buffer)} parts */
function sha256(...parts) {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
}

/** Of all that decides on the bytes. */
export function sourceDigest() {
  const files = ['chips.mjs', 'toolchain.mjs', ...fs.readdirSync(source).map((name) => `src/${name}`)].sort();
  return sha256(...files.flatMap((file) => [`${file}\0`, fs.readFileSync(path.join(here, file)), '\0']));
}

/**
 * The stub that the program lies beside: its digest, and where its table of handlers stands, which is the one place
 * where the same address stands 27 times.
 * @param {string} name
 */
function stubFacts(name) {
  const entry = createRequire(import.meta.url).resolve(STUB_PACKAGE);
  const file = path.join(path.dirname(entry), 'targets', 'stub_flasher', `${name}.json`);
  const image = JSON.parse(fs.readFileSync(file, 'utf8'));
  const text = Buffer.from(image.text, 'base64');
  const data = Buffer.from(image.data, 'base64');
  const found = [];
  for (let at = 0; at + 4 * TABLE_ENTRIES <= data.length; at += 4) {
    const word = data.readUInt32LE(at);
    const inText = word >= image.text_start && word < image.text_start + text.length;
    const same = (/** @type {number} */ index) => data.readUInt32LE(at + 4 * index) === word;
    if (inText && Array.from({ length: TABLE_ENTRIES }, (_, index) => index).every(same)) found.push({ at, word });
  }
  if (found.length !== 1) throw new Error(`the stub of ${name} has ${found.length} tables of handlers`);
  const [{ at, word }] = found;
  return {
    stub: { package: STUB_PACKAGE, name, sha256: sha256(text, data) },
    table: { address: image.data_start + at, unused: word },
  };
}

/** First line of what the compiler says of itself, or null if there is none. @param {string} compiler */
function compilerVersion(compiler) {
  const told = spawnSync(compiler, ['--version'], { encoding: 'utf8' });
  return told.status === 0 ? told.stdout.split('\n')[0].trim() : null;
}

/**
 * The artefact of one chip. The compiler must be there.
 * @param {string} name @param {string} digest @param {string} version
 */
function artefact(name, digest, version) {
  const chip = CHIPS[name];
  const build = Buffer.from(digest, 'hex').readUInt32LE(0);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'espd-reader-'));
  try {
    const script = path.join(folder, 'script.ld');
    const output = path.join(folder, 'reader.elf');
    fs.writeFileSync(script, linkerScript(chip));
    execFileSync(chip.toolchain.compiler, compilerArguments(chip, build, script, output), { cwd: source });
    const { sections, symbols } = readElf(fs.readFileSync(output));
    const segments = sections.filter((section) => section.bytes !== null);
    if (segments.length !== 2) throw new Error(`${name}: code and constants should be all that is loaded`);
    const [text, constants] = segments.map((segment) => segment.bytes);
    const crcAt = constants.length - 4;
    if (segments[1].address + crcAt !== symbols.get('image_crc'))
      throw new Error(`${name}: the CRC is not the last word`);
    const crc = crc32(constants.subarray(0, crcAt), crc32(text));
    constants.writeUInt32LE(crc, crcAt);
    const bssEnd = symbols.get('bss_end');
    const { stub, table } = stubFacts(name);
    return {
      chip: name,
      protocol: PROTOCOL,
      build,
      sourceSha256: digest,
      compiler: version,
      stub,
      table,
      slots: OPCODES.map((opcode) => ({
        opcode,
        address: table.address + 4 * (opcode - FIRST_OPCODE),
        value: symbols.get(entrySymbol(chip)),
      })),
      segments: segments.map(({ address, bytes }) => ({ address, dataBase64: bytes.toString('base64') })),
      memory: [
        { address: segments[0].address, bytes: text.length },
        { address: segments[1].address, bytes: bssEnd - segments[1].address },
      ],
      crc32: crc,
      historyBytes: historyBytes(chip.sizes),
      maxRuns: chip.sizes.MAX_RUNS,
    };
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

/** @param {unknown} document */
const print = (document) => `${JSON.stringify(document, null, 2)}\n`;

/**
 * Looks at one chip; returns what is wrong, or null.
 * @param {string} name @param {boolean} check @param {string} digest
 */
function one(name, check, digest) {
  const file = path.join(built, `${name}.json`);
  const old = fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : null;
  const { compiler } = CHIPS[name].toolchain;
  const version = compilerVersion(compiler);
  if (!check) {
    if (version === null) return `${compiler} is not installed`;
    const document = artefact(name, digest, version);
    fs.writeFileSync(file, print(document));
    const [text, data] = document.memory;
    console.log(`${name}: ${text.bytes} bytes of code, ${data.bytes} of data`);
    return null;
  }
  if (old === null) return 'has not been built';
  const told = JSON.parse(old);
  if (told.sourceSha256 !== digest) return 'was built from other sources: npm run reader:build';
  if (told.stub.sha256 !== stubFacts(name).stub.sha256) return 'was built for another stub: npm run reader:build';
  if (version === told.compiler)
    return print(artefact(name, digest, version)) === old ? null : 'is not what the sources give';
  console.log(
    `${name}: NOT REBUILT, only its sources are compared: ${told.compiler} is wanted, ${version ?? 'none'} is here`,
  );
  return null;
}

function main() {
  const names = process.argv.slice(2).filter((word) => !word.startsWith('-'));
  const check = process.argv.includes('--check');
  const digest = sourceDigest();
  fs.mkdirSync(built, { recursive: true });
  let failed = 0;
  for (const name of names.length > 0 ? names : Object.keys(CHIPS)) {
    if (!(name in CHIPS)) throw new Error(`unknown chip ${name}: one of ${Object.keys(CHIPS).join(', ')}`);
    const wrong = one(name, check, digest);
    if (wrong === null) continue;
    failed++;
    console.error(`${name}: ${wrong}`);
  }
  if (check && failed === 0) console.log('reader/built is what reader/src gives');
  process.exitCode = failed > 0 ? 1 : 0;
}

if (process.argv[1] === import.meta.filename) main();
