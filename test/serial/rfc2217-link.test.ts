import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { describe, test } from 'node:test';
import { systemClock, type Clock } from '../../src/clock.ts';
import { hasCode } from '../../src/errors.ts';
import { type Logger, silentLogger } from '../../src/log.ts';
import type { Link } from '../../src/serial/link.ts';
import { openLink } from '../../src/serial/open-link.ts';
import { describeLinkConformance, readExactly, testBytes } from './link-conformance.ts';
import { listen, Rfc2217Peer, type Rfc2217Behavior } from './peers.ts';

const options = { baudRate: 115_200, clock: systemClock, log: silentLogger };

async function withPeer(
  behavior: Rfc2217Behavior,
  body: (link: Link, peer: Rfc2217Peer) => Promise<void>,
  more: { clock?: Clock; log?: Logger } = {},
): Promise<void> {
  const peer = new Rfc2217Peer(behavior);
  const link = await openLink(await peer.start(), { ...options, ...more });
  try {
    await body(link, peer);
  } finally {
    await link.close();
    await peer.close();
  }
}

/** The system's clock, but two seconds pass in two hundredths: for servers that never confirm. */
const hurriedClock: Clock = {
  ...systemClock,
  schedule: (delayMs, callback) => systemClock.schedule(delayMs === 2000 ? 20 : delayMs, callback),
};

const conformance = (name: string, behavior: Rfc2217Behavior, clock = systemClock) =>
  describeLinkConformance(name, async () => {
    const peer = new Rfc2217Peer(behavior);
    const link = await openLink(await peer.start(), { ...options, clock });
    return {
      link,
      send: (data) => peer.send(data),
      received: (sizeBytes) => peer.inbox.take(sizeBytes),
      vanish: () => peer.vanish(),
      stall: () => peer.stall(),
      baudRates: () => peer.baudRates,
      controlLines: () => peer.controlLines,
      dispose: () => peer.close(),
    };
  });

conformance('RFC 2217', {});
conformance('RFC 2217 in segments of one byte', { byteByByte: true });
conformance('RFC 2217 with a server that confirms nothing', { confirms: () => false }, hurriedClock);
conformance('RFC 2217 with a server that refuses COM-PORT-OPTION', { refuses: true });

describe('RFC 2217', () => {
  test('sets 8N1 without flow control and the rate at open, and leaves the lines alone', () =>
    withPeer({}, async (link, peer) => {
      assert.deepEqual(link.capabilities, { controlLines: true, baudRate: true });
      await link.write(Buffer.from('!'));
      await peer.inbox.take(1);
      const sent = peer.commands.map(({ command, value }) => [command, ...value]);
      assert.deepEqual(sent, [
        [1, 0, 1, 0xc2, 0],
        [2, 8],
        [3, 1],
        [4, 1],
        [5, 1],
      ]);
      assert.deepEqual(peer.controlLines, []);
    }));

  test('sends DTR and RTS in one segment, in this order', () =>
    withPeer({}, async (link, peer) => {
      await link.setControlLines({ dtr: true, rts: false });
      await link.write(Buffer.from('!'));
      await peer.inbox.take(1);
      const both = Buffer.from([255, 250, 44, 5, 8, 255, 240, 255, 250, 44, 5, 12, 255, 240]);
      assert.ok(peer.segments.some((segment) => segment.includes(both)));
    }));

  test('releases the lines at close when a job left them asserted', async () => {
    const peer = new Rfc2217Peer();
    const link = await openLink(await peer.start(), options);
    await link.setControlLines({ dtr: false, rts: true });
    await link.close();
    await peer.clientGone;
    await peer.close();
    assert.deepEqual(peer.controlLines.at(-1), { dtr: false, rts: false });
  });

  test('does not wait for a confirmation of the lines', () =>
    withPeer({ confirms: (command) => command !== 5 }, async (link, peer) => {
      for (let count = 0; count < 50; count++)
        await link.setControlLines({ dtr: count % 2 === 0, rts: count % 2 === 1 });
      await link.write(Buffer.from('!'));
      await peer.inbox.take(1);
      assert.equal(peer.controlLines.length, 100);
    }));

  test('waits once for a confirmation that never comes, and says so once', async () => {
    const warnings: string[] = [];
    const log: Logger = {
      ...silentLogger,
      warn: (message, fields) => void warnings.push(`${message} ${String(fields?.['command'])}`),
    };
    await withPeer(
      { confirms: () => false },
      async (link) => {
        await link.purge();
        await link.purge();
        await link.setBaudRate(921_600);
        assert.equal(link.baudRate, 921_600);
      },
      { clock: hurriedClock, log },
    );
    assert.deepEqual(
      warnings.map((warning) => warning.split(' ').at(-1)),
      ['setBaudRate', 'purgeData'],
    );
  });

  test('drops what came before the answer to a purge and keeps what came behind it in the same segment', () =>
    withPeer({ aroundPurge: [Buffer.from('old\xff', 'latin1'), Buffer.from('new')] }, async (link, peer) => {
      await peer.send(Buffer.from('older'));
      await link.purge();
      assert.equal((await readExactly(link, 3)).toString(), 'new');
    }));

  test('works with a server that offers the option itself and asks for foreign ones', () =>
    withPeer({ offers: true }, async (link, peer) => {
      assert.equal(link.capabilities.controlLines, true);
      const bytes = testBytes(3000);
      await link.write(bytes);
      assert.deepEqual(await peer.inbox.take(3000), bytes);
      const all = Buffer.concat(peer.segments);
      assert.ok(all.includes(Buffer.from([255, 252, 1])), 'WONT ECHO');
      assert.ok(all.includes(Buffer.from([255, 254, 1])), 'DONT ECHO');
    }));

  test('is a link without capabilities on a server that ignores telnet', () =>
    withPeer(
      { mute: true },
      async (link) => {
        assert.deepEqual(link.capabilities, { controlLines: false, baudRate: false });
        await link.setBaudRate(9600);
        await link.setControlLines({ dtr: true, rts: true });
        assert.equal(link.baudRate, 115_200);
      },
      { clock: hurriedClock },
    ));

  test('ignores notifications, unknown commands and broken subnegotiations between data', () =>
    withPeer({}, async (link, peer) => {
      await peer.raw([97, 255, 250, 44, 106, 3, 255, 240, 98]); // NOTIFY-LINESTATE
      await peer.raw([255, 250, 44, 107, 0xff, 0xff, 255, 240, 99]); // NOTIFY-MODEMSTATE
      await peer.raw([255, 241, 255, 249, 255, 7, 255, 240, 100]); // NOP, GA, nonsense, SE
      await peer.raw([255, 250, 44, 1, 2, 255, 253, 99, 101]); // a request inside a subnegotiation
      await peer.raw([255, 250, ...new Array<number>(100_000).fill(44), 255, 240, 102]); // endless
      await peer.raw([255, 250, 255, 240, 103]); // empty
      assert.equal((await readExactly(link, 7)).toString(), 'abcdefg');
    }));

  test('takes the rate that the server names when it is clearly another one', () =>
    withPeer({ answersRate: 1_000_000 }, async (link) => {
      await link.setBaudRate(2_000_000);
      assert.equal(link.baudRate, 1_000_000);
      await link.setBaudRate(1_000_001);
      assert.equal(link.baudRate, 1_000_001);
    }));

  test('says port-busy when the server does, and port-failed when it just hangs up', async () => {
    for (const [text, code] of [
      ['Port already in use\r\n', 'port-busy'],
      ["Port's device already in use\n\r", 'port-busy'],
      ['', 'port-failed'],
      ['Device open failure: No such file or directory\r\n', 'port-failed'],
      // What the board printed, and not the server.
      ['I (4312) wifi: channel busy\r\n', 'port-failed'],
      ['E (812) i2c: port already in use\r\nI (815) main: ready\r\n', 'port-failed'],
      ['busy\r\n', 'port-failed'],
    ] as const) {
      const peer = await listen((socket) => socket.end(text));
      const opened = openLink(`rfc2217://127.0.0.1:${peer.port}`, options);
      await assert.rejects(opened, (error) => {
        assert.ok(hasCode(error, code), `${text}: ${String(error)}`);
        const words = text.trim();
        if (code === 'port-busy') assert.ok(error.message.endsWith(`its server says "${words}"`), error.message);
        else if (words !== '') assert.match(error.message, /from it or its board$/);
        return true;
      });
      await peer.close();
    }
  });

  test('stops opening when the signal is aborted while the server thinks', async () => {
    const peer = new Rfc2217Peer({ mute: true });
    const abort = new AbortController();
    const reason = new Error('stop');
    const opened = openLink(await peer.start(), { ...options, signal: abort.signal });
    setImmediate(() => abort.abort(reason));
    await assert.rejects(opened, (error) => error === reason);
    await peer.close();
  });
});

describe('a remote of the config', () => {
  const strict = { ...options, clock: hurriedClock, mustSpeakRfc2217: true };
  const isTelnetOnly = (bytes: Buffer) => {
    for (let at = 0; at < bytes.length; at += 3) {
      if (bytes[at] !== 255 || (bytes[at + 1] ?? 0) < 251 || (bytes[at + 1] ?? 0) > 254) return false;
    }
    return bytes.length % 3 === 0;
  };

  test('whose server speaks RFC 2217 is opened as any other', async () => {
    const peer = new Rfc2217Peer({});
    const link = await openLink(await peer.start(), strict);
    assert.deepEqual(link.capabilities, { controlLines: true, baudRate: true });
    await link.close();
    await peer.close();
  });

  for (const [what, behavior] of [
    ['refuses it', { refuses: true }],
    ['says nothing', { mute: true }],
  ] as const) {
    test(`whose server ${what} gets no byte for its device`, async () => {
      const peer = new Rfc2217Peer(behavior);
      await assert.rejects(openLink(await peer.start(), strict), (error) => hasCode(error, 'no-rfc2217'));
      await peer.clientGone;
      assert.deepEqual(peer.commands, []);
      assert.ok(isTelnetOnly(Buffer.concat(peer.segments)));
      await peer.close();
    });
  }

  test('that is something else altogether: garbage, a flood, a banner, an end at once', async () => {
    const chatter: [string, (socket: Socket) => void, string][] = [
      [
        'garbage',
        (socket) => socket.write(Buffer.from(Array.from({ length: 4096 }, (_, at) => (at * 73) & 255))),
        'no-rfc2217',
      ],
      ['half a command', (socket) => socket.write(Buffer.from([255, 250, 44, 101, 0])), 'no-rfc2217'],
      ['a banner', (socket) => socket.write('SSH-2.0-OpenSSH_9.2p1\r\n'), 'no-rfc2217'],
      ['a flood', (socket) => flood(socket), 'no-rfc2217'],
      ['an end at once', (socket) => socket.end(), 'port-failed'],
      ['a reset at once', (socket) => socket.resetAndDestroy(), 'port-failed'],
      ['busy', (socket) => socket.end('Port already in use\r\n'), 'port-busy'],
    ];
    for (const [what, talk, code] of chatter) {
      const bytes: Buffer[] = [];
      let gone: () => void = () => undefined;
      const left = new Promise<void>((resolve) => (gone = resolve));
      const peer = await listen((socket) => {
        socket.on('data', (chunk: Buffer) => bytes.push(chunk));
        socket.on('close', () => gone());
        talk(socket);
      });
      await assert.rejects(
        openLink(`rfc2217://127.0.0.1:${peer.port}`, strict),
        (error) => hasCode(error, code as 'no-rfc2217'),
        what,
      );
      await left;
      assert.ok(isTelnetOnly(Buffer.concat(bytes)), what);
      await peer.close();
    }
  });
});

function flood(socket: Socket): void {
  const block = Buffer.alloc(64 * 1024, 0x55);
  const more = () => {
    while (!socket.destroyed && socket.write(block));
  };
  socket.on('drain', more);
  more();
}
