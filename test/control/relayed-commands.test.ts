import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { relayedCommand, touchableFiles } from '../../src/control/contract/relayed-commands.ts';

describe('which command lines a daemon does', () => {
  test('commands of boards and archive, with options before and behind', () => {
    assert.equal(relayedCommand(['list']), 'list');
    assert.equal(relayedCommand(['--json', '--no-color', 'show', 'kitchen']), 'show');
    assert.equal(relayedCommand(['restore', '--yes', '--now', 'kitchen@first']), 'restore');
    assert.equal(relayedCommand(['label', 'kitchen', '--', '--config']), 'label');
  });

  test('no other command, and none with a config, archive or log of its own', () => {
    for (const args of [
      [],
      ['--help'],
      ['daemon'],
      ['demo'],
      ['relay'],
      ['help', 'list'],
      ['constructor'],
      ['list', '--config', 'mine.yaml'],
      ['--config=mine.yaml', 'list'],
      ['list', '--archive=/elsewhere'],
      ['--archive', '/elsewhere', 'list'],
      ['--log-level', 'debug', 'backup'],
    ]) {
      assert.equal(relayedCommand(args), undefined, args.join(' '));
    }
  });
});

describe('which files a daemon may ask for', () => {
  test('what is created: what export and backup name', () => {
    for (const args of [
      ['export', 'kitchen', 'out.bin'],
      ['backup', '--output', 'out.bin'],
      ['backup', '--output=out.bin'],
    ]) {
      const files = touchableFiles(args);
      assert.equal(files.mayCreate('out.bin'), true);
      assert.equal(files.mayCreate('./out.bin'), false);
      assert.equal(files.mayCreate('/etc/cron.d/out.bin'), false);
      assert.equal(files.mayRead('out.bin'), false);
    }
  });

  test('a recording: what stands behind --record, and no other operand', () => {
    for (const args of [
      ['identify', '--record', 'out.jsonl'],
      ['restore', 'kitchen', '--record=out.jsonl'],
      ['verify', '--device', '--record', 'out.jsonl'],
    ]) {
      const files = touchableFiles(args);
      assert.equal(files.mayCreate('out.jsonl'), true);
      assert.equal(files.mayCreate('kitchen'), false);
      assert.equal(files.mayRead('out.jsonl'), false);
    }
    assert.equal(touchableFiles(['list', '--record', 'out.jsonl']).mayCreate('out.jsonl'), false);
  });

  test('what is read: what import and diff name, and what is in a folder that import names', () => {
    const imported = touchableFiles(['import', 'dumps', 'a/b.bin', '0x1000=boot.bin', '--mac', 'kitchen']);
    for (const path of ['dumps', 'dumps/x.bin', 'a/b.bin', 'boot.bin'])
      assert.equal(imported.mayRead(path), true, path);
    for (const path of ['/etc/shadow', 'dumps/../secret', 'dumps/x/y.bin', 'dumps/..', '..', '.', 'a/c.bin', '']) {
      assert.equal(imported.mayRead(path), false, path);
    }
    assert.equal(imported.mayCreate('dumps'), false);
    const compared = touchableFiles(['diff', 'kitchen', './old.bin']);
    assert.equal(compared.mayRead('./old.bin'), true);
    assert.equal(compared.mayRead('old.bin'), false);
    assert.equal(compared.mayRead('./old.bin/x'), false);
  });

  test('nothing for commands that have no files, or that no daemon does', () => {
    for (const args of [['list', '/etc/shadow'], ['show', '/etc/shadow'], ['daemon', '/etc/shadow'], []]) {
      const files = touchableFiles(args);
      assert.equal(files.mayRead('/etc/shadow'), false);
      assert.equal(files.mayCreate('/etc/shadow'), false);
    }
  });
});
