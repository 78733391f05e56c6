/** What the ROM prints at a reset, and what it tells about a board that does not answer. Pure. */

export type BootMode = 'download' | 'app' | 'disabled' | 'unknown';

/**
 * Which mode a boot log speaks of.
 *
 * ESP32 and later: `boot:0x13 (SPI_FAST_FLASH_BOOT)`, or `boot:0x5 (DOWNLOAD(USB/UART0/1))` and `waiting for download`
 * (Espressif's "Boot Mode Selection"); an emulated ESP32 says `UART_BOOT(UART0)`, an emulated C3 `UART0_BOOT`, and with
 * download mode switched off in eFuse `Download mode is disabled` or `Download boot modes disabled`
 * (test/traces/*-bootlog-*.jsonl). ESP8266, at 74880 baud: `boot mode:(1,7)`; of the first number 1 is UART download,
 * 3 is flash.
 */
export function bootModeOf(log: string): BootMode {
  if (/download (?:boot )?modes? (?:is |are )?disabled/i.test(log)) return 'disabled';
  // The newest reset in the log is the one that counts.
  const last = [
    ...log.matchAll(/boot:0x[0-9a-f]+ \(([A-Z0-9_/() ]+)\)|boot mode:\((\d+),\d+\)|wait\w* (?:for |uart0 )download/gi),
  ].at(-1);
  if (last === undefined) return 'unknown';
  if (last[2] !== undefined) return last[2] === '1' ? 'download' : 'app';
  if (last[1] === undefined) return 'download';
  return /DOWNLOAD|UART0?_BOOT|USB_BOOT/i.test(last[1]) ? 'download' : 'app';
}

/**
 * Whether a boot log is that of a ROM without GET_SECURITY_INFO: those of ESP8266 and ESP32 begin with their date, `ets
 * Jul 29 2019 12:21:46`, all later ones with `ESP-ROM:esp32c3-20210207` (test/traces/*-bootlog-*.jsonl). No more than a
 * hint: the log may be that of another rate, or missing.
 */
export function isOldRomLog(log: string): boolean {
  return /ets [A-Z][a-z]{2} +\d/.test(log) && !log.includes('ESP-ROM:');
}

/** Device text for people: printable ASCII only, runs of anything else become one `·`; at most `limit` characters. */
export function printableLog(bytes: Buffer, limit = 400): string {
  const text = bytes
    .toString('latin1')
    .replace(/\r\n?/g, '\n')
    .replace(/[^\x20-\x7e\n]+/g, '·')
    .trim();
  return text.length > limit ? `…${text.slice(-limit)}` : text;
}

/** The line of a boot log that tells most, for people: the newest with a boot mode, or else the newest. */
export function telltaleLine(bytes: Buffer): string {
  const lines = printableLog(bytes, 16384)
    .split('\n')
    .filter((line) => line.trim() !== '');
  const line = lines.findLast((text) => /boot:0x|boot mode:|download/i.test(text)) ?? lines.at(-1) ?? '';
  return printableLog(Buffer.from(line, 'latin1'), 120);
}

/** Whether bytes look like text of a boot log rather than like another baud rate. */
export function isMostlyText(bytes: Buffer): boolean {
  if (bytes.length === 0) return false;
  let printable = 0;
  for (const byte of bytes) if ((byte >= 0x20 && byte <= 0x7e) || byte === 0x0a || byte === 0x0d) printable++;
  return printable / bytes.length > 0.8;
}
