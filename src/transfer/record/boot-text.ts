/** What a ROM says at a reset, told from what an app says: that may be the password of a Wi-Fi. Pure. */

/** Whole lines as ROMs print them; test/traces/*-bootlog-*.jsonl, and those of an ESP8266. */
const ROM_LINES: readonly RegExp[] = [
  /^ets [A-Z][a-z]{2} [ \d]\d \d{4} \d\d:\d\d:\d\d$/,
  /^ ?ets [A-Z][a-z]{2} [ \d]\d \d{4},rst cause:\d{1,2}, boot mode:\(\d{1,2},\d{1,2}\)$/,
  /^load 0x[0-9a-f]{8}, len \d{1,6}, room \d{1,4} ?$/,
  /^(?:load:0x[0-9a-f]{8},len:0x[0-9a-f]{1,6}|entry 0x[0-9a-f]{8})$/,
  /^(?:tail \d{1,4}|chksum 0x[0-9a-f]{2}|csum 0x[0-9a-f]{2})$/,
  /^ESP-ROM:[a-z0-9]+-\d{8}$/,
  /^Build:[A-Z][a-z]{2} [ \d]\d \d{4}$/,
  /^rst:0x[0-9a-f]{1,4} \([\w ]{1,40}\),boot:0x[0-9a-f]{1,4} \([\w()/ ]{1,60}\)$/,
  /^waiting for download$/,
  /^Download mode is disabled\. Restarting with GPIO\d{1,2} high\.$/,
  /^wait usb download$/,
  /^invalid header: 0x[0-9a-f]{1,8}$/,
  /^flash read err, \d{1,8}$/,
];

/** As long as it was; each letter of a line that is no ROM's is an x. */
export function onlyRomText(bytes: Buffer): Buffer {
  // Latin-1 has one character for each byte, so that the length stays.
  const text = bytes.toString('latin1').replace(/[^\r\n]+/g, (line) => {
    return ROM_LINES.some((known) => known.test(line)) ? line : 'x'.repeat(line.length);
  });
  return Buffer.from(text, 'latin1');
}
