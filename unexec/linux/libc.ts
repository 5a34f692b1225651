/**
 * The only file with FFI: the handful of libc calls that Node does not offer, each with a type. All
 * calls are synchronous and run on the calling thread, because ptrace belongs to a thread; koffi's
 * asynchronous calls run on another one and must not be used for it.
 *
 * Facts: ptrace(2), process_vm_readv(2), pidfd_getfd(2), kcmp(2), posix_spawn(3).
 *
 * @module
 */
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { default as Koffi, LibraryHandle } from 'koffi';
import { UnexecError } from '../errors.ts';
import { errnoName } from './errno.ts';
import { numberOf, type SystemCall } from './system-calls.ts';
import { ARCH } from './this-machine.ts';

interface Libc {
  readonly koffi: typeof Koffi;
  readonly lib: LibraryHandle;
}

let loaded: Libc | undefined;

/**
 * koffi and libc, when they are first needed: cores are also read, and programs prepared, on systems for which
 * there is neither.
 *
 * @throws UnexecError `UNSUPPORTED_MACHINE`, `FFI_MISSING`
 */
function libc(): Libc {
  loaded ??= loadLibc();
  return loaded;
}

function loadLibc(): Libc {
  if (process.platform !== 'linux') {
    throw new UnexecError(
      'UNSUPPORTED_MACHINE',
      `processes can be traced on linux only, and this is ${process.platform}`,
      { hint: 'take a core of the process, and give that' },
    );
  }
  let koffi: typeof Koffi;
  try {
    koffi = createRequire(import.meta.url)('koffi');
  } catch (cause) {
    throw new UnexecError(
      'FFI_MISSING',
      `koffi, which calls libc for us, cannot be loaded: ${firstLine(cause)}`,
      {
        cause,
        hint: 'install unexec anew on this machine, with optional dependencies: npm install unexec',
      },
    );
  }
  return { koffi, lib: loadLibrary(koffi) };
}

const firstLine = (cause: unknown): string =>
  (cause instanceof Error ? cause.message : String(cause)).split('\n', 1)[0] ?? '';

/** glibc by its name, musl by its own. */
function loadLibrary(koffi: typeof Koffi): LibraryHandle {
  try {
    return koffi.load('libc.so.6');
  } catch {
    return koffi.load(`libc.musl-${ARCH}.so.1`);
  }
}

type Pointer = Uint8Array | null;

/** A function of libc, looked up at its first call. */
function bind<F extends (...args: never) => unknown>(prototype: string): F {
  let found: ((...args: unknown[]) => unknown) | undefined;
  const call = (...args: unknown[]): unknown => {
    found ??= libc().lib.func(prototype);
    return found(...args);
  };
  // koffi returns untyped functions: this is the one place where each gets its type.
  return call as unknown as F;
}

const errno = (): number => libc().koffi.errno();

const ptraceValues = bind<(request: number, pid: number, addr: bigint, data: bigint) => number>(
  'long ptrace(int request, int pid, int64_t addr, int64_t data)',
);
const ptraceBuffer = bind<(request: number, pid: number, addr: bigint, data: Pointer) => number>(
  'long ptrace(int request, int pid, int64_t addr, void *data)',
);
const waitpidRaw = bind<(pid: number, status: Pointer, options: number) => number>(
  'int waitpid(int pid, void *status, int options)',
);
const syscallRaw = bind<
  (nr: number, a: bigint, b: bigint, c: bigint, d: bigint, e: bigint, f: bigint) => bigint | number
>('int64_t syscall(long nr, int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f)');
const posixSpawn = bind<
  (pid: Pointer, path: string, actions: Pointer, attr: Pointer, argv: Pointer, envp: Pointer) => number
>('int posix_spawn(void *pid, const char *path, void *actions, void *attr, void *argv, void *envp)');
const actionsInit = bind<(actions: Pointer) => number>('int posix_spawn_file_actions_init(void *actions)');
const actionsDestroy = bind<(actions: Pointer) => number>(
  'int posix_spawn_file_actions_destroy(void *actions)',
);
const actionsDup2 = bind<(actions: Pointer, from: number, to: number) => number>(
  'int posix_spawn_file_actions_adddup2(void *actions, int from, int to)',
);
const actionsClose = bind<(actions: Pointer, fd: number) => number>(
  'int posix_spawn_file_actions_addclose(void *actions, int fd)',
);
const attrInit = bind<(attr: Pointer) => number>('int posix_spawnattr_init(void *attr)');
const attrDestroy = bind<(attr: Pointer) => number>('int posix_spawnattr_destroy(void *attr)');
const attrSetFlags = bind<(attr: Pointer, flags: number) => number>(
  'int posix_spawnattr_setflags(void *attr, short flags)',
);
const attrSetSigDefault = bind<(attr: Pointer, set: Pointer) => number>(
  'int posix_spawnattr_setsigdefault(void *attr, void *set)',
);
const attrSetSigMask = bind<(attr: Pointer, set: Pointer) => number>(
  'int posix_spawnattr_setsigmask(void *attr, void *set)',
);
const ioctlRaw = bind<(fd: number, request: bigint, data: Pointer) => number>(
  'int ioctl(int fd, unsigned long request, void *data)',
);

/** Address of a buffer's first byte. The buffer must stay referenced while the address is used. */
export const addressOf = (buffer: Uint8Array): bigint =>
  BigInt(libc().koffi.address(buffer) as bigint | number);

/** An argument of a system call: a value, or a buffer whose address is passed. */
export type Argument = number | bigint | Uint8Array;

/** The result of a system call, also of one that has no libc function; negative: -errno. */
export function syscall(call: SystemCall, ...args: readonly Argument[]): number {
  const value = (i: number): bigint => {
    const arg = args[i] ?? 0;
    return arg instanceof Uint8Array ? addressOf(arg) : BigInt(arg);
  };
  const result = Number(
    syscallRaw(numberOf(call, ARCH), value(0), value(1), value(2), value(3), value(4), value(5)),
  );
  return result === -1 ? -errno() : result;
}

/** ioctl(2) with a buffer; negative: -errno. */
export function ioctl(fd: number, request: number, data: Uint8Array): number {
  const result = ioctlRaw(fd, BigInt(request), data);
  return result === -1 ? -errno() : result;
}

/** ptrace(2) with plain values. Negative: -errno. */
export function ptrace(request: number, tid: number, addr: bigint | number, data: bigint | number): number {
  const result = ptraceValues(request, tid, BigInt(addr), BigInt(data));
  return result === -1 ? -errno() : result;
}

/** ptrace(2) whose data argument is a buffer. Negative: -errno. */
export function ptraceWith(request: number, tid: number, addr: bigint | number, data: Uint8Array): number {
  const result = ptraceBuffer(request, tid, BigInt(addr), data);
  return result === -1 ? -errno() : result;
}

const statusBuffer = new Uint8Array(8);
const statusView = new DataView(statusBuffer.buffer);

/** waitpid(2): the status, undefined when nothing happened (WNOHANG), or -errno. */
export function waitpid(pid: number, options: number): { status: number } | { errno: number } | undefined {
  const result = waitpidRaw(pid, statusBuffer, options);
  if (result === 0) return undefined;
  if (result < 0) return { errno: errno() };
  return { status: statusView.getInt32(0, true) };
}

const POSIX_SPAWN_SETSIGDEF = 0x04;
const POSIX_SPAWN_SETSIGMASK = 0x08;

/**
 * Starts a program with all signals at their defaults and unblocked, and with these descriptors only:
 * a map from its number to ours. Whatever else this process inherited from its caller stays here.
 *
 * @throws UnexecError `SPAWN_FAILED`
 */
export function spawn(
  path: string,
  argv: readonly string[],
  env: readonly string[],
  descriptors: ReadonlyMap<number, number>,
): number {
  const actions = new Uint8Array(256);
  const attr = new Uint8Array(512);
  const allSignals = new Uint8Array(128).fill(0xff);
  const noSignals = new Uint8Array(128);
  const pid = new Uint8Array(8);
  actionsInit(actions);
  attrInit(attr);
  try {
    for (const [to, from] of descriptors) actionsDup2(actions, from, to);
    for (const fd of readdirSync('/proc/self/fd').map(Number)) {
      if (!descriptors.has(fd)) actionsClose(actions, fd);
    }
    attrSetSigDefault(attr, allSignals);
    attrSetSigMask(attr, noSignals);
    attrSetFlags(attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    const args = stringVector(argv);
    const environment = stringVector(env);
    const error = posixSpawn(pid, path, actions, attr, args.pointers, environment.pointers);
    if (error !== 0) {
      throw new UnexecError('SPAWN_FAILED', `cannot start ${path}: ${errnoName(error)}`, { path });
    }
    // Referenced to here: the pointers go into these buffers.
    void args.strings.length;
    void environment.strings.length;
    return new DataView(pid.buffer).getInt32(0, true);
  } finally {
    attrDestroy(attr);
    actionsDestroy(actions);
  }
}

function stringVector(values: readonly string[]): { pointers: Uint8Array; strings: Uint8Array } {
  const encoded = values.map(value => Buffer.from(`${value}\0`));
  const strings = Buffer.concat([...encoded, Buffer.alloc(1)]);
  const pointers = new Uint8Array((values.length + 1) * 8);
  const view = new DataView(pointers.buffer);
  let address = addressOf(strings);
  for (const [i, value] of encoded.entries()) {
    view.setBigUint64(i * 8, address, true);
    address += BigInt(value.length);
  }
  return { pointers, strings };
}
