/** What the app is that boots: by what it carries, or by what it says of itself. Reads the app, and hands on what it has found. */

import type { BoundedFlash } from './bytes.ts';
import type { AppDescription } from './descriptions.ts';
import { recognize } from './names/recognize.ts';
import { esp8266SdkVersion, WANTED } from './names/recognizers.ts';
import { TextScan, type Findings } from './names/scan.ts';

/** All texts are printable ASCII. */
export interface FirmwareName {
  /** The project's name; `unknown` where only the SDK is known. */
  name: string;
  version: string | null;
  /** What it was built with: `ESP-IDF v5.1.4`, `ESP8266 SDK 2.2.2-dev(38a443e)`. */
  sdk: string | null;
}

/** Of a flash, in bytes. */
export interface Extent {
  readonly offset: number;
  readonly sizeBytes: number;
}

/** The most of one app that is searched; longer ones are rare, and their versions are not told by what stands alone. */
export const APP_SEARCH_BYTES = 4 * 1024 * 1024;
/** Under a millisecond of work each; the next one comes from disk, so others get their turn. */
const PIECE_BYTES = 128 * 1024;

/** Reads the extent, at most {@link APP_SEARCH_BYTES} of it, and says which texts are in it. */
export async function scanApp(flash: BoundedFlash, { offset, sizeBytes }: Extent): Promise<Findings> {
  const scan = new TextScan(WANTED);
  const end = offset + Math.min(sizeBytes, APP_SEARCH_BYTES);
  let seen = offset;
  while (seen < end) {
    const piece = await flash.read(seen, Math.min(PIECE_BYTES, end - seen));
    if (piece.length === 0) break;
    scan.add(piece);
    seen += piece.length;
  }
  return scan.finish(seen - offset >= sizeBytes);
}

/**
 * The project that Arduino's prebuilt libraries come from; its name and version are in every app that is linked with
 * them, and say nothing of the app. The name is that of the folder it was built in, which forks change
 * (`esp32-arduino-lib-builder` for Tasmota's).
 * https://github.com/espressif/esp32-arduino-lib-builder
 */
const LIBRARY_PROJECT = /arduino-lib-builder/i;
export const NAME_OF_LIBRARY_USER = 'Arduino app';

/**
 * Well-known firmware goes before the project's name: that of ESPHome's builds is the name of the node.
 *
 * @param findings of the app
 * @param description of the app, where it has one
 * @returns null where the app says nothing at all
 */
export function nameByDescription(
  findings: Findings,
  description: AppDescription | null,
  family: string,
): FirmwareName | null {
  const framework = family === 'esp8266' ? 'ESP8266_RTOS_SDK' : 'ESP-IDF';
  const sdk = description?.idfVersion ? `${framework} ${description.idfVersion}` : null;
  const isLibrary = description?.project ? LIBRARY_PROJECT.test(description.project) : false;
  // What the library's description says is not said by the app; but its IDF is the app's.
  const own = isLibrary && description !== null ? { ...description, project: null, version: null } : description;

  const known = recognize(findings, own);
  if (known !== null) return { ...known, sdk };
  if (isLibrary) return { name: NAME_OF_LIBRARY_USER, version: null, sdk };
  if (description === null) return null;
  return { name: description.project ?? 'unknown', version: description.version, sdk };
}

/**
 * Of an app for ESP8266 without a description.
 *
 * @param slots what each app carries of which one boots: more than one where that is not known
 * @param isArduino whether Arduino's tools made the image
 */
export function nameByTexts(slots: readonly Findings[], isArduino: boolean): FirmwareName | null {
  const [first] = slots;
  if (first === undefined) return null;
  const sdkVersion = sameOrNull(slots.map(esp8266SdkVersion).filter((version) => version !== null));
  const sdk = sdkVersion === null ? null : `ESP8266 SDK ${sdkVersion}`;
  const known = slots.map((findings) => recognize(findings, null)).filter((firmware) => firmware !== null);
  const name = sameOrNull(known.map((firmware) => firmware.name));
  if (name !== null) return { name, version: sameOrNull(known.map(({ version }) => version)), sdk };
  if (isArduino) return { name: NAME_OF_LIBRARY_USER, version: null, sdk };
  return sdk === null ? null : { name: 'unknown', version: null, sdk };
}

/** What all say, or null where one says nothing or another thing. */
function sameOrNull(answers: readonly (string | null)[]): string | null {
  return new Set(answers).size === 1 ? (answers[0] ?? null) : null;
}
