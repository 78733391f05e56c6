/**
 * Runs in the guest: shell commands for the tests, over a virtio port that needs no network. JSON, one object a line.
 *
 * In:  {"id", "command", "timeoutMs"?}  run by `sh -c`;  {"id", "follow": command}  its output comes line by line
 * Out: {"ready": true} once; {"id", "line"} of a followed command; {"id", "status", "stdout", "stderr"} at its end
 */

import { spawn } from 'node:child_process';
import { openSync, read, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';

const port = openSync(process.argv[2], 'r+');
const send = (message) => writeSync(port, `${JSON.stringify(message)}\n`);

function run({ id, command, timeoutMs }) {
  const child = spawn('sh', ['-c', command], { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const output = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr']) {
    child[stream].setEncoding('utf8').on('data', (text) => (output[stream] += text));
  }
  const timer = setTimeout(() => {
    output.stderr += `\n(the agent ended it after ${timeoutMs} ms)`;
    process.kill(-child.pid, 'SIGKILL');
  }, timeoutMs);
  child.on('close', (code, signal) => {
    clearTimeout(timer);
    send({ id, status: code ?? signal, ...output });
  });
}

function follow({ id, follow: command }) {
  const child = spawn('sh', ['-c', command], { stdio: ['ignore', 'pipe', 'inherit'] });
  createInterface({ input: child.stdout }).on('line', (line) => send({ id, line }));
}

const requests = new Readable({
  read() {
    read(port, Buffer.allocUnsafe(65536), 0, 65536, null, (error, count, buffer) => {
      if (error) this.destroy(error);
      // 0 bytes: nobody is at the other end yet.
      else if (count === 0) setTimeout(() => this._read(), 100);
      else this.push(buffer.subarray(0, count));
    });
  },
});
createInterface({ input: requests }).on('line', (line) => {
  const request = JSON.parse(line);
  if (request.follow !== undefined) follow(request);
  else run(request);
});
send({ ready: true });
