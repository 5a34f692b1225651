import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { logRatio } from '../support/log-ratio.ts';
import { sandbox } from '../support/sandbox.ts';
import { answered, freePort, freezeService, type Service, startService } from '../support/service.ts';

const SERVER = '/usr/bin/redis-server';
const directory = sandbox('redis');
const KEYS = 20_000;
/** Its sockets: a TCP and a unix one. */
const LISTENING = 2;

interface Place {
  readonly path: string;
  readonly socket: string;
  readonly port: number;
  readonly args: readonly string[];
}

/** A directory and addresses of its own for each server. */
async function newPlace(name: string, ...more: readonly string[]): Promise<Place> {
  const path = join(directory, name);
  mkdirSync(path);
  const socket = join(path, 'socket');
  const port = await freePort();
  const where = ['--dir', path, '--unixsocket', socket, '--unixsocketperm', '777', '--bind', '127.0.0.1'];
  return { path, socket, port, args: ['--port', `${port}`, ...where, ...more] };
}

/** The real client, one connection for all lines, which are commands. */
async function cli(to: readonly string[], ...lines: readonly string[]): Promise<string[]> {
  const asked = promisify(execFile)('/usr/bin/redis-cli', [...to, '--no-raw']);
  asked.child.stdin?.end(`${lines.join('\n')}\n`);
  const { stdout, stderr } = await asked;
  if (/Could not connect|LOADING/.test(stdout + stderr)) throw new Error(stdout + stderr);
  return stdout.trimEnd().split('\n');
}

const bySocket = ({ socket }: Place): string[] => ['-s', socket];
const byPort = ({ port }: Place): string[] => ['-p', `${port}`];

const FILL = [
  `eval "for i = 1, ${KEYS} do redis.call('set', 'key ' .. i, string.rep('v' .. i, 20)) end" 0`,
  `eval "for i = 1, 1000 do redis.call('hset', 'hash', 'field ' .. i, i); redis.call('zadd', 'sorted', i * i, i) end" 0`,
  'rpush list one two three',
  'set later x ex 1000',
];
const ASK = [
  'dbsize',
  'get "key 777"',
  'hget hash "field 12"',
  'zrange sorted 10 12 withscores',
  'lrange list 0 -1',
  'exists later nothing',
  `eval "local n = 0; for i = 1, ${KEYS} do n = n + #redis.call('get', 'key ' .. i) end; return n" 0`,
];

async function filled(place: Place): Promise<Service> {
  const service = startService(place.path, SERVER, place.args);
  await answered(service, () => cli(bySocket(place), ...FILL));
  return service;
}

/** Writes, deletes, expires, a transaction, and a script: the allocator gets much to do. */
async function use(t: ExecutionContext, place: Place): Promise<void> {
  const small = `for i = 1, ${KEYS} do redis.call('set', 'key ' .. i, i) end`;
  const large = `for i = 1, ${KEYS} do redis.call('setrange', 'key ' .. i, 200 + i % 3000, 'end') end`;
  const zeros = `for i = 1, ${KEYS} do local v = redis.call('getrange', 'key ' .. i, 20, 199); if #v ~= 180 or string.find(v, '[^%z]') then return i end end return 'zeros'`;
  const [, , purged, , found] = await cli(
    bySocket(place),
    `eval "${small}" 0`,
    'memory purge',
    'memory purge',
    `eval "${large}" 0`,
    `eval "${zeros}" 0`,
  );
  t.is(purged, 'OK');
  t.is(found, '"zeros"');
  const answers = await Promise.all(
    Array.from({ length: 8 }, (_, i) =>
      cli(
        i % 2 === 0 ? bySocket(place) : byPort(place),
        `set client:${i} ${i}`,
        'incrby sum 5',
        `get client:${i}`,
      ),
    ),
  );
  for (const [i, [set, , got]] of answers.entries()) t.deepEqual([set, got], ['OK', `"${i}"`]);
  t.deepEqual(await cli(byPort(place), 'get sum'), ['"40"']);
  t.deepEqual(await cli(byPort(place), 'set soon x px 60', 'debug sleep 0.1', 'exists soon'), [
    'OK',
    'OK',
    '(integer) 0',
  ]);
}

test.serial('redis-server with data listens again, has it, and serves several clients', async t => {
  const place = await newPlace('memory', '--save', '', '--enable-debug-command', 'yes');
  const first = await filled(place);
  const wanted = await cli(bySocket(place), ...ASK);
  t.is(wanted[0], `(integer) ${KEYS + 4}`);
  const path = join(directory, 'memory.frozen');
  const report = await freezeService(first, path, LISTENING);
  t.true((report.threads ?? 0) > 1, JSON.stringify(report));
  await first.end('SIGKILL');
  for (const how of ['socket', 'port'] as const) {
    const service = startService(place.path, path);
    const to = how === 'socket' ? bySocket(place) : byPort(place);
    t.deepEqual(await answered(service, () => cli(to, ...ASK)), wanted);
    await use(t, place);
    t.is(await service.end('SIGTERM'), 0, service.said());
    t.regex(service.said(), /Redis is now ready to exit/);
  }
});

test.serial('redis-server frozen here is resumed by an ordinary user', async t => {
  const place = await newPlace('nobody', '--save', '');
  const first = await filled(place);
  const wanted = await cli(bySocket(place), ...ASK);
  const path = join(directory, 'nobody.frozen');
  t.like(await freezeService(first, path, LISTENING), { ok: true });
  await first.end('SIGKILL');
  // The unix socket is made again in the directory, which is ours.
  execFileSync('chmod', ['-R', 'a+rwX', place.path]);
  const service = startService(place.path, path, [], { unprivileged: true });
  t.deepEqual(await answered(service, () => cli(byPort(place), ...ASK)), wanted);
  t.is(await service.end('SIGTERM'), 0, service.said());
});

for (const [name, more] of [
  ['rdb', ['--save', '3600 1']],
  ['aof', ['--save', '', '--appendonly', 'yes', '--appendfsync', 'always']],
] as const) {
  test.serial(`redis-server with persistence (${name}) goes on writing it`, async t => {
    const place = await newPlace(name, ...more);
    const first = await filled(place);
    const wanted = await cli(bySocket(place), ...ASK);
    const path = join(directory, `${name}.frozen`);
    t.like(await freezeService(first, path, LISTENING), { ok: true });
    await first.end('SIGKILL');
    const second = startService(place.path, path);
    t.deepEqual(await answered(second, () => cli(bySocket(place), ...ASK)), wanted);
    await cli(bySocket(place), 'set written later', 'del list');
    if (name === 'rdb') {
      // By a child that has a copy of its memory.
      t.deepEqual(await cli(bySocket(place), 'bgsave'), ['Background saving started']);
      while (!/rdb_bgsave_in_progress:0/.test((await cli(bySocket(place), 'info persistence')).join('\n')));
      t.regex((await cli(bySocket(place), 'info persistence')).join('\n'), /rdb_last_bgsave_status:ok/);
    }
    const asked = await cli(bySocket(place), ...ASK, 'get written');
    t.is(await second.end('SIGTERM'), 0, second.said());
    t.true(readdirSync(place.path).some(file => /dump\.rdb|appendonlydir/.test(file)));
    // Redis itself reads what the second life has written.
    const third = startService(place.path, SERVER, place.args);
    t.deepEqual(await answered(third, () => cli(bySocket(place), ...ASK, 'get written')), asked);
    t.is(asked.at(-1), '"later"');
    await third.end('SIGTERM');
  });
}

test.serial('redis-server with a client that is connected is refused, or hangs it up', async t => {
  const place = await newPlace('client', '--save', '');
  const first = await filled(place);
  const client = execFile('/usr/bin/redis-cli', [...bySocket(place), 'subscribe', 'channel']);
  const left = new Promise(resolve => client.on('exit', resolve));
  while (!(await cli(bySocket(place), 'pubsub channels')).join().includes('channel'));
  const path = join(directory, 'client.frozen');
  const { error } = await freezeService(first, path, LISTENING + 1);
  t.deepEqual(
    error?.reasons.map(({ code }) => code),
    ['FD_CONNECTED_SOCKET'],
  );
  t.true((await freezeService(first, path, LISTENING + 1, ['--hangup-sockets'])).ok);
  await first.end('SIGKILL');
  client.kill();
  await left;
  const service = startService(place.path, path);
  t.deepEqual(await answered(service, () => cli(bySocket(place), 'pubsub channels')), ['(empty array)']);
  t.is(await service.end('SIGTERM'), 0, service.said());
});

/** PING, once all data is loaded. */
const ping = (port: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'));
    socket.on('error', reject);
    socket.once('data', answer => {
      socket.destroy();
      if (`${answer}` === '+PONG\r\n') resolve();
      else reject(new Error(`${answer}`));
    });
  });

test.serial('redis-server answers sooner than one that reads its data from a file', async t => {
  const place = await newPlace('ratio', '--save', '3600 1');
  const first = await filled(place);
  const path = join(directory, 'ratio.frozen');
  await cli(bySocket(place), 'save');
  t.like(await freezeService(first, path, LISTENING), { ok: true });
  await first.end('SIGKILL');
  const until = (program: string, args: readonly string[]) => async () => {
    const service = startService(place.path, program, args, { measured: true });
    await answered(service, () => ping(place.port));
    await service.end('SIGKILL');
  };
  await logRatio(t, 'first answer', { own: until(SERVER, place.args), resumed: until(path, []) });
});
