import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { freezeProgram } from '../support/freeze-program.ts';
import { logRatio } from '../support/log-ratio.ts';
import { sandbox } from '../support/sandbox.ts';
import {
  answered,
  freePort,
  freezeService,
  type HttpAnswer,
  httpGet,
  startService,
} from '../support/service.ts';

const NGINX = '/usr/sbin/nginx';
const directory = sandbox('nginx');

interface Place {
  readonly path: string;
  readonly port: number;
  readonly args: readonly string[];
}

/** A configuration with a port, a unix socket, and directories of its own. */
async function newPlace(name: string, processes: string): Promise<Place> {
  const path = join(directory, name);
  mkdirSync(join(path, 'html'), { recursive: true });
  writeFileSync(join(path, 'html/index.html'), '<h1>frozen</h1>\n');
  writeFileSync(join(path, 'html/large.txt'), 'line of a large file\n'.repeat(100_000));
  const port = await freePort();
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map(kind => `${kind}_temp_path ${path}/${kind};`)
    .join(' ');
  writeFileSync(
    join(path, 'nginx.conf'),
    `daemon off; ${processes} pid ${path}/pid; error_log ${path}/error.log info;
     events { worker_connections 64; }
     http {
       access_log ${path}/access.log; ${temporary} gzip on;
       map $arg_word $answer { default unknown; life second; }
       server {
         listen 127.0.0.1:${port}; listen unix:${path}/socket; root ${path}/html;
         location /word { return 200 "$answer\\n"; }
         location /missing { return 404 "no such thing\\n"; }
         location /inside/ { proxy_pass http://unix:${path}/socket:/; }
       }
     }`,
  );
  execFileSync('chmod', ['-R', 'a+rwX', path]);
  return { path, port, args: ['-c', join(path, 'nginx.conf'), '-e', join(path, 'error.log')] };
}

const PATHS = ['/', '/large.txt', '/word?word=life', '/word', '/missing', '/none', '/inside/index.html'];

const askAll = (where: number | string): Promise<HttpAnswer[]> =>
  Promise.all(PATHS.map(path => httpGet(where, path)));

test.serial('nginx in a single process serves files on its port and its socket after its resume', async t => {
  const { path, port, args } = await newPlace('single', 'master_process off;');
  const first = startService(path, NGINX, args);
  const wanted = await answered(first, () => askAll(port));
  t.deepEqual(
    wanted.map(({ status }) => status),
    [200, 200, 200, 200, 404, 404, 200],
  );
  const image = join(directory, 'single.frozen');
  t.like(await freezeService(first, image, 2), { ok: true });
  await first.end('SIGKILL');
  for (const unprivileged of [false, true]) {
    const lines = readFileSync(join(path, 'access.log'), 'utf8').split('\n').length;
    if (unprivileged) execFileSync('chmod', ['-R', 'a+rwX', path]);
    const service = startService(path, image, [], { unprivileged });
    t.deepEqual(await answered(service, () => askAll(port)), wanted);
    t.deepEqual(await askAll(join(path, 'socket')), wanted);
    const many = await Promise.all(Array.from({ length: 40 }, () => httpGet(port, '/')));
    t.true(many.every(({ body }) => body === '<h1>frozen</h1>\n'));
    // A file that is new is served too, and the log goes on.
    writeFileSync(join(path, 'html/new.txt'), 'new\n');
    t.is((await httpGet(port, '/new.txt')).body, 'new\n');
    t.is(await service.end('SIGQUIT'), 0, service.said());
    t.true(readFileSync(join(path, 'access.log'), 'utf8').split('\n').length > lines + 50);
  }
});

test.serial('nginx is frozen where it begins to wait, before its first client', async t => {
  const { path, port, args } = await newPlace('waiting', 'master_process off;');
  const frozen = await freezeProgram(NGINX, join(directory, 'waiting.frozen'), {
    args,
    at: 'symbol:epoll_wait',
  });
  const service = startService(path, frozen.path);
  t.is((await answered(service, () => httpGet(port, '/'))).body, '<h1>frozen</h1>\n');
  t.is(await service.end('SIGTERM'), 0);
  const until = (program: string, more: readonly string[]) => async () => {
    const started = startService(path, program, more, { measured: true });
    await answered(started, () => httpGet(port, '/'));
    await started.end('SIGTERM');
  };
  await logRatio(t, 'first answer', { own: until(NGINX, args), resumed: until(frozen.path, []) });
});

test.serial('nginx with a worker is refused by the name of its child', async t => {
  const { path, port, args } = await newPlace('worker', 'master_process on; worker_processes 1;');
  const first = startService(path, NGINX, args);
  await answered(first, () => httpGet(port, '/'));
  const { error } = await freezeService(first, join(directory, 'worker.frozen'), 99);
  t.true(error?.reasons.some(({ code, what }) => code === 'CHILDREN' && what.includes('nginx')));
  t.is((await httpGet(port, '/')).status, 200, 'it goes on');
  t.is(await first.end('SIGTERM'), 0);
});
