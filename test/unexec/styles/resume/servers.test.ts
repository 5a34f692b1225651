import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { chmodSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { connect, type NetConnectOpts } from 'node:net';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import test from 'ava';
import { run } from '../../../support/run.ts';
import { freezeFixture } from '../../../support/same-result.ts';

/** What a server says to a client; it is waited for until it listens. */
async function ask(options: NetConnectOpts): Promise<string> {
  for (let tries = 0; tries < 500; tries++) {
    const answer = await new Promise<string | undefined>(resolve => {
      let text = '';
      const client = connect(options);
      client.setEncoding('utf8');
      client.on('data', data => {
        text += data;
      });
      client.on('error', () => resolve(undefined));
      client.on('end', () => resolve(text));
    });
    if (answer !== undefined) return answer;
    await setTimeout(10);
  }
  return 'nobody listens';
}

test('resume listens again on TCP, unix and UDP sockets, and answers who comes then', async t => {
  const { directory, frozen } = await freezeFixture('files/servers.c');
  const path = join(directory, 'socket');
  const [tcp4 = 0, tcp6 = 0, udp = 0] = frozen.written.split(' ').map(Number);
  const name = frozen.written.trim().split(' ')[3];
  const child = spawn(frozen.path, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill());
  let stdout = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  const status = new Promise(resolve => {
    child.on('close', resolve);
  });
  t.is(await ask({ host: '127.0.0.1', port: tcp4 }), 'tcp4 answers');
  t.is(await ask({ host: '::1', port: tcp6 }), 'tcp6 answers');
  t.is(await ask({ path }), 'unix answers');
  t.is(await ask({ path: `\0${name}` }), 'abstract answers');
  const client = createSocket('udp4');
  client.send('a datagram', udp, '127.0.0.1', () => client.close());
  t.is(await status, 0);
  t.is(stdout, "udp: 10 'a datagram'\nmode 140640\nconnect: EINPROGRESS\n");
  t.is(statSync(path).mode & 0o777, 0o640);
});

test('resume does not remove what took the place of its unix socket', async t => {
  const { directory, frozen } = await freezeFixture('files/servers.c');
  const path = join(directory, 'socket');
  unlinkSync(path);
  writeFileSync(path, 'precious');
  chmodSync(path, 0o640);
  const { status, stderr } = await run(frozen.path);
  t.is(status, 125);
  t.regex(stderr, /bind the socket of descriptor 5 \(socket\): there is something else by that name\n$/);
  t.is(statSync(path).size, 8);
});
