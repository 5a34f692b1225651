/** What load commands say about an image. */
import test from 'ava';
import {
  ARM_FLAVOR,
  arm_thread_state64,
  build_version_command,
  CPU_TYPE,
  DYLIB_USE,
  DYLIB_USE_MARKER,
  dylib_use_command,
  FormatError,
  findCommand,
  LC,
  load_command,
  newCommand,
  newMachO,
  PLATFORM,
  readBuildVersion,
  readDylibId,
  readDylibs,
  readEntry,
  readMachO,
  readRpaths,
  readThreadStates,
  readUuid,
  rpath_command,
  thread_flavor,
  version_min_command,
  versionName,
  X86_FLAVOR,
  x86_thread_state64,
} from '../../../formats/macho/index.ts';
import { BASE, tiny, UUID } from './support/tiny.ts';
import { bytesOf, linked } from './support/tools.ts';

const concat = (...parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
const empty = (cputype: number) => newMachO({ cputype, filetype: 2 });

const registers = {
  rax: 0n,
  rbx: 0n,
  rcx: 0n,
  rdx: 0n,
  rdi: 0n,
  rsi: 0n,
  rbp: 0n,
  rsp: 0n,
  r8: 0n,
  r9: 0n,
  r10: 0n,
  r11: 0n,
  r12: 0n,
  r13: 0n,
  r14: 0n,
  r15: 0n,
  rip: 0x1234_5678_9abcn,
  rflags: 0n,
  cs: 0n,
  fs: 0n,
  gs: 0n,
};
const x86State = x86_thread_state64.encode(registers, true);
const armState = arm_thread_state64.encode(
  { x: Array.from({ length: 29 }, () => 0n), fp: 0n, lr: 0n, sp: 0n, pc: 0x4321n, cpsr: 0, pad: 0 },
  true,
);
const flavored = (flavor: number, state: Uint8Array): Uint8Array =>
  concat(thread_flavor.encode({ flavor, count: state.length / 4 }, true), state);
const thread = (...states: readonly Uint8Array[]) =>
  newCommand(LC.LC_UNIXTHREAD, load_command, {}, concat(...states));

test('readUuid() gives 32 digits, or nothing', t => {
  t.is(readUuid(tiny()), UUID);
  t.is(readUuid(empty(CPU_TYPE.CPU_TYPE_ARM64)), undefined);
});

test('readEntry() counts LC_MAIN from the header', t => {
  t.deepEqual(readEntry(tiny()), { address: BASE + 0xff0n, cmd: LC.LC_MAIN });
});

test('readEntry() takes the program counter of LC_UNIXTHREAD', t => {
  const x86 = empty(CPU_TYPE.CPU_TYPE_X86_64);
  x86.commands.push(thread(flavored(X86_FLAVOR.x86_THREAD_STATE64, x86State)));
  t.deepEqual(readEntry(x86), { address: 0x1234_5678_9abcn, cmd: LC.LC_UNIXTHREAD });
  const arm = empty(CPU_TYPE.CPU_TYPE_ARM64);
  arm.commands.push(
    thread(
      flavored(ARM_FLAVOR.ARM_EXCEPTION_STATE64, new Uint8Array(16)),
      flavored(ARM_FLAVOR.ARM_THREAD_STATE64, armState),
    ),
  );
  t.deepEqual(readEntry(arm), { address: 0x4321n, cmd: LC.LC_UNIXTHREAD });
});

test('readEntry() is undefined for what has none', t => {
  t.is(readEntry(empty(CPU_TYPE.CPU_TYPE_ARM64)), undefined);
  const arm = empty(CPU_TYPE.CPU_TYPE_ARM64);
  arm.commands.push(thread(flavored(ARM_FLAVOR.ARM_EXCEPTION_STATE64, new Uint8Array(16))));
  t.is(readEntry(arm), undefined);
  // A state that is too short to hold one.
  const short = empty(CPU_TYPE.CPU_TYPE_ARM64);
  short.commands.push(thread(flavored(ARM_FLAVOR.ARM_THREAD_STATE64, new Uint8Array(16))));
  t.is(readEntry(short), undefined);
});

test('readThreadStates() gives every flavor, and refuses one that is longer than its command', t => {
  const states = readThreadStates(thread(flavored(7, new Uint8Array(16).fill(1)), flavored(6, armState)));
  t.deepEqual(
    states.map(({ flavor, state }) => [flavor, state.length]),
    [
      [7, 16],
      [6, 272],
    ],
  );
  const long = thread(thread_flavor.encode({ flavor: 6, count: 0xffff_ffff }, true));
  t.throws(() => readThreadStates(long), {
    instanceOf: FormatError,
    code: 'MACHO_BAD_COMMAND',
    message: /flavor 6 is 0x3fffffffc bytes/,
  });
});

test('readBuildVersion() reads both commands that there are for it', t => {
  const build = empty(CPU_TYPE.CPU_TYPE_ARM64);
  build.commands.push(
    newCommand(LC.LC_BUILD_VERSION, build_version_command, {
      platform: 1,
      minos: 0xb_0000,
      sdk: 0xf_0501,
      ntools: 0,
    }),
  );
  t.deepEqual(readBuildVersion(build), { platform: PLATFORM.PLATFORM_MACOS, minos: 0xb_0000, sdk: 0xf_0501 });
  const min = empty(CPU_TYPE.CPU_TYPE_X86_64);
  min.commands.push(newCommand(LC.LC_VERSION_MIN_MACOSX, version_min_command, { version: 0xa_0c00, sdk: 0 }));
  t.deepEqual(readBuildVersion(min), { platform: PLATFORM.PLATFORM_MACOS, minos: 0xa_0c00, sdk: 0 });
  t.is(readBuildVersion(tiny()), undefined);
});

test('versionName() has as many parts as matter', t => {
  t.deepEqual([0xf_0501, 0xb_0000, 0xa_0c00, 0xffff_ffff].map(versionName), [
    '15.5.1',
    '11.0',
    '10.12',
    '65535.255.255',
  ]);
});

test('readDylibs() gives libraries in the order of their ordinals', t => {
  const [system, ...others] = readDylibs(readMachO(bytesOf(linked({ arch: 'arm64', fixups: 'chained' }))));
  t.deepEqual(others, []);
  t.like(system, { path: '/usr/lib/libSystem.B.dylib', cmd: LC.LC_LOAD_DYLIB, flags: 0 });
  t.is(versionName(system?.currentVersion ?? 0), '1311.0');
});

test('readDylibs() reads the newer form of LC_LOAD_DYLIB', t => {
  const file = empty(CPU_TYPE.CPU_TYPE_ARM64);
  const path = new TextEncoder().encode('@rpath/libx.dylib\0');
  const use = {
    nameoff: 28,
    marker: DYLIB_USE_MARKER,
    current_version: 0x1_0000,
    compat_version: 0,
    flags: 8,
  };
  file.commands.push(newCommand(LC.LC_LOAD_DYLIB, dylib_use_command, use, path));
  t.like(readDylibs(file)[0], { path: '@rpath/libx.dylib', flags: DYLIB_USE.DYLIB_USE_DELAYED_INIT });
});

test('readDylibId() is the name of a library, and of nothing else', t => {
  const library = readMachO(
    bytesOf(
      linked({ arch: 'arm64', fixups: 'chained', kind: 'dylib', linkFlags: ['-install_name', '@rpath/x'] }),
    ),
  );
  t.is(readDylibId(library)?.path, '@rpath/x');
  t.is(readDylibId(tiny()), undefined);
});

test('readRpaths() gives them in order', t => {
  const file = readMachO(
    bytesOf(
      linked({ arch: 'x86_64', fixups: 'chained', linkFlags: ['-rpath', '/a', '-rpath', '@loader_path/b'] }),
    ),
  );
  t.deepEqual(readRpaths(file), ['/a', '@loader_path/b']);
  const bad = empty(CPU_TYPE.CPU_TYPE_ARM64);
  bad.commands.push(newCommand(LC.LC_RPATH, rpath_command, { path: 1000 }));
  t.throws(() => readRpaths(bad), { instanceOf: FormatError, code: 'MACHO_BAD_COMMAND' });
});

test('a linked program has all of it', t => {
  const file = readMachO(bytesOf(linked({ arch: 'x86_64', fixups: 'chained' })));
  t.is(readUuid(file)?.length, 32);
  t.is(readEntry(file)?.cmd, LC.LC_MAIN);
  t.like(readBuildVersion(file), { platform: PLATFORM.PLATFORM_MACOS, minos: 0xb_0000, sdk: 0xb_0000 });
  t.truthy(findCommand(file, LC.LC_LOAD_DYLINKER));
});
