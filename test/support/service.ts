/**
 * Services under test: a server is started, a real client fills it, it is frozen as it runs by its process id, and what
 * the file makes of it must answer as the first one did.
 *
 * @module
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, closeSync, existsSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { get } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { unexec } from './command.ts';
import { AS_NOBODY, isRoot, PATH } from './run.ts';

const LIMIT_MILLISECONDS = 30_000;
/** Closes what we were given ourselves: a server would keep it open, and could not be frozen. */
const CLOSE_OTHERS = 'for fd in $(ls /proc/$$/fd); do [ $fd -gt 2 ] && eval "exec $fd>&-"; done; exec "$@"';
const ONLY_STDIO: readonly string[] = ['/bin/bash', '-c', CLOSE_OTHERS, 'bash'];

export interface Service {
  readonly pid: number;
  /** What it has said so far. */
  readonly said: () => string;
  /** Sends a signal and waits for the end: exit status, or the name of the signal. */
  readonly end: (signal: NodeJS.Signals) => Promise<number | NodeJS.Signals | null>;
}

export interface StartOptions {
  readonly unprivileged?: boolean;
  /** Its start is measured: nothing is run before it. */
  readonly measured?: boolean;
  readonly env?: Readonly<Record<string, string>>;
}

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

let started = 0;

/** Starts a service whose stdout and stderr go to a file in `directory`; stdin is /dev/null. */
export function startService(
  directory: string,
  program: string,
  args: readonly string[] = [],
  options: StartOptions = {},
): Service {
  const path = join(directory, `said-${started++}`);
  const output = openSync(path, 'w');
  const command = [
    ...(options.measured === true ? [] : ONLY_STDIO),
    ...(options.unprivileged === true && isRoot ? AS_NOBODY : []),
    program,
    ...args,
  ];
  const child = spawn(command[0] ?? '', command.slice(1), {
    stdio: ['ignore', output, output],
    env: options.env ?? { PATH },
    cwd: '/',
  });
  closeSync(output);
  running.add(child);
  child.unref(); // a test that has failed leaves it behind
  const ended = new Promise<number | NodeJS.Signals | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (status, signal) => {
      running.delete(child);
      resolve(signal ?? status);
    });
  });
  ended.catch(() => {});
  const said = (): string => readFileSync(path, 'utf8');
  return {
    pid: child.pid ?? 0,
    said,
    async end(signal) {
      child.ref();
      child.kill(signal);
      const late = sleep(LIMIT_MILLISECONDS, 'late' as const, { ref: false });
      const how = await Promise.race([ended, late]);
      if (how === 'late') throw new Error(`it does not end after ${signal}\n${said()}`);
      return how;
    },
  };
}

/** Tries until it succeeds: a server that has just been started does not listen yet. */
export async function answered<T>(service: Service, ask: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + LIMIT_MILLISECONDS;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (performance.now() > deadline || !existsSync(`/proc/${service.pid}/exe`)) {
        throw new Error(`no answer: ${error}\n${service.said()}`);
      }
    }
    await sleep(2);
  }
}

/** Descriptors of a process that are sockets. */
const socketsOf = (pid: number): number =>
  readdirSync(`/proc/${pid}/fd`).filter(fd => linkOf(`/proc/${pid}/fd/${fd}`).startsWith('socket:')).length;

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ''; // closed meanwhile
  }
}

/** What `--json` says: a report, or the error. */
export interface Told {
  readonly ok: boolean;
  readonly threads?: number;
  readonly error?: {
    readonly code: string;
    readonly reasons: readonly { readonly code: string; readonly what: string }[];
  };
}

/**
 * Freezes a service where it waits for clients, once it has closed what they had open; it goes on. That is done
 * by the command: the service is our child, and libuv, which waits for it, would take the stops of a tracer here.
 */
export async function freezeService(
  service: Service,
  path: string,
  listening: number,
  args: readonly string[] = [],
): Promise<Told> {
  for (let waited = 0; socketsOf(service.pid) > listening && waited < LIMIT_MILLISECONDS; waited += 5)
    await sleep(5);
  const { stdout, stderr } = await unexec(['--json', ...args, `${service.pid}`, path]);
  if (stdout === '') throw new Error(stderr);
  const told: Told = JSON.parse(stdout);
  if (told.ok) chmodSync(path, 0o755);
  return told;
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise(resolve => server.close(resolve));
  return port;
}

export interface HttpAnswer {
  readonly status: number | undefined;
  readonly body: string;
}

/** GET, on a connection of its own; `where` is a port of this machine, or the path of a unix socket. */
export function httpGet(where: number | string, path: string): Promise<HttpAnswer> {
  const target = typeof where === 'number' ? { host: '127.0.0.1', port: where } : { socketPath: where };
  return new Promise((resolve, reject) => {
    const request = get({ ...target, path, agent: false, headers: { connection: 'close' } }, response => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.on('end', () => resolve({ status: response.statusCode, body }));
      response.on('error', reject);
    });
    request.on('error', reject);
  });
}
