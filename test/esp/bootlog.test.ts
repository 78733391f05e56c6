import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { bootModeOf, isMostlyText, printableLog } from '../../src/esp/bootlog.ts';

function recordedLog(name: string): string {
  return readFileSync(new URL(`../traces/${name}.jsonl`, import.meta.url), 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => Buffer.from((JSON.parse(line) as { hex: string }).hex, 'hex').toString('latin1'))
    .join('');
}

describe('boot logs', () => {
  it('that were recorded tell their mode', () => {
    assert.equal(bootModeOf(recordedLog('esp32-bootlog-download')), 'download');
    assert.equal(bootModeOf(recordedLog('esp32c3-bootlog-download')), 'download');
    assert.equal(bootModeOf(recordedLog('esp32-bootlog-flashboot-noapp')), 'app');
    assert.equal(bootModeOf(recordedLog('esp32-bootlog-download-disabled')), 'disabled');
    assert.equal(bootModeOf(recordedLog('esp32c3-bootlog-download-disabled')), 'disabled');
  });

  it('of other chips tell it, too', () => {
    assert.equal(
      bootModeOf('rst:0x1 (POWERON),boot:0x5 (DOWNLOAD(USB/UART0/1))\r\nwaiting for download\r\n'),
      'download',
    );
    assert.equal(bootModeOf('rst:0x1 (POWERON),boot:0xd (SPI_FAST_FLASH_BOOT)\r\n'), 'app');
    assert.equal(bootModeOf(' ets Jan  8 2013,rst cause:2, boot mode:(1,7)\r\n'), 'download');
    assert.equal(bootModeOf(' ets Jan  8 2013,rst cause:2, boot mode:(3,6)\r\n'), 'app');
    assert.equal(bootModeOf('hello from the app'), 'unknown');
  });

  it('of several resets count by the last one', () => {
    const download = 'boot:0x3 (DOWNLOAD_BOOT(UART0))';
    const app = 'boot:0x13 (SPI_FAST_FLASH_BOOT)';
    assert.equal(bootModeOf(`${download}\n${app}`), 'app');
    assert.equal(bootModeOf(`${app}\n${download}`), 'download');
  });

  it('cannot steer a terminal', () => {
    const text = printableLog(Buffer.from('a\x1b[31mb\x00\x9b\r\nc'));
    assert.match(text, /^[\x20-\x7e\n·]*$/);
    assert.ok(printableLog(Buffer.alloc(10_000, 'x'), 100).length <= 101);
  });

  it('are told from another baud rate', () => {
    assert.ok(isMostlyText(Buffer.from('rst:0x1 (POWERON_RESET)\r\n')));
    assert.ok(!isMostlyText(Buffer.from('8e00f0ff1c80e0fe', 'hex')));
    assert.ok(!isMostlyText(Buffer.alloc(0)));
  });
});
