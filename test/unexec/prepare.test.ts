import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { readMachO } from '../../formats/macho/index.ts';
import { bytesSource } from '../../formats/source.ts';
import { UnexecError } from '../../unexec/errors.ts';
import { findReserve } from '../../unexec/macho/reserve.ts';
import { prepare } from '../../unexec/prepare.ts';
import { MIB, RUNTIME_SOURCE } from '../support/macho/dump.ts';
import { Editor, INITPROT, SECTION, SEGMENT } from '../support/macho/edit.ts';
import { judgeMachO } from '../support/macho/judge.ts';
import { runMachO } from '../support/macho/loader.ts';
import { compileMachO, FIXUP_STYLES, MACHO_ARCHES, type MachOProgram } from '../support/macho/toolchain.ts';
import { sandbox } from '../support/sandbox.ts';

const directory = sandbox('prepare');
const STATE = 'test/support/macho/programs/state.c';
const world = ['samples/restart/world.c', RUNTIME_SOURCE];
const base: MachOProgram = { sources: world, arch: 'x86_64', fixups: 'dyld-info', directory };
/** Of a segment with its section. */
const COMMAND = 152;
const TIGHT = 32;

const readFile = (path: string) => readMachO(bytesSource(new Uint8Array(readFileSync(path))));

for (const arch of MACHO_ARCHES) {
  for (const fixups of FIXUP_STYLES) {
    for (const [headerpad, extend, mode] of [
      [TIGHT, false, 'extend'],
      [COMMAND + TIGHT, false, 'segment'],
      [0x1000, true, 'extend'],
    ] as const) {
      const how = `${headerpad} bytes of room${extend ? ', --extend' : ''}`;
      test(`prepare() gives a program its reserve, ${arch}, ${fixups}, ${how}: ${mode}`, async t => {
        const name = `world.${arch}.${fixups}.${headerpad}`;
        const input = compileMachO({ ...base, arch, fixups, headerpad, name });
        const target = `${input}.prepared`;
        const report = await prepare(input, target, { reserve: 5 * MIB + 1, extend });
        t.like(report, { mode, runtime: true, signed: true, remarks: [], reserve: 5 * MIB + 0x4000 });
        t.is(report.segment, mode === 'segment' ? '__DATA_HEAP' : '__DATA');
        await judgeMachO(target);
        t.like(findReserve(readFile(target)), { base: report.address, size: report.reserve });
        t.is(report.address % 0x4000n, 0n);
        const expected = await runMachO(input, ['2'], { arch });
        t.deepEqual(await runMachO(target, ['2'], { arch }), expected);
        t.regex(expected.stdout, /^started\nround 1 .*\nfault of the zone: none\n/);
        // What is not used takes no room.
        t.true(statSync(target).size < statSync(input).size + 0x8000);
      });
    }
  }
}

test('prepare() prepares a program without runtime and position, unsigned as it was, and says so', async t => {
  const program: MachOProgram = { ...base, sources: [STATE], pie: false, signed: false, name: 'state' };
  const input = compileMachO(program);
  const target = `${input}.prepared`;
  const report = await prepare(input, target, { reserve: MIB });
  t.like(report, { runtime: false, signed: false });
  t.regex(report.remarks.join(), /does not contain unexec's runtime/);
  await judgeMachO(target);
  t.deepEqual(await runMachO(target, [], { arch: 'x86_64' }), await runMachO(input, [], { arch: 'x86_64' }));
});

test('prepare() signs a program for arm64 that was unsigned', async t => {
  const input = compileMachO({ ...base, arch: 'arm64', signed: false, headerpad: 0x400, name: 'unsigned' });
  const target = `${input}.prepared`;
  t.true((await prepare(input, target, { reserve: MIB })).signed);
  await judgeMachO(target);
  t.is((await runMachO(target, ['1'], { arch: 'arm64' })).status, 0);
});

test('prepare() finds the reserve of a stripped program', async t => {
  const input = compileMachO({ ...base, name: 'stripped', headerpad: 0x400 });
  execFileSync('llvm-strip-19', ['-x', input]);
  await prepare(input, input, { reserve: MIB });
  await judgeMachO(input);
  t.like(findReserve(readFile(input)), { size: MIB });
});

test('prepare() writes over its input, whose mode stays', async t => {
  const path = compileMachO({ ...base, name: 'in-place' });
  chmodSync(path, 0o711);
  const { ino } = statSync(path);
  await prepare(path, path, { reserve: MIB });
  t.is(statSync(path).mode & 0o777, 0o711 & ~process.umask());
  t.not(statSync(path).ino, ino); // the kernel remembers signatures by vnode
  await judgeMachO(path);
});

test('prepare() refuses a program that it has prepared, and leaves the target as it was', async t => {
  for (const headerpad of [TIGHT, 0x400]) {
    const input = compileMachO({ ...base, name: `again.${headerpad}`, headerpad });
    const target = `${input}.prepared`;
    await prepare(input, target, { reserve: MIB });
    const before = readFileSync(target);
    await t.throwsAsync(prepare(target, target, { reserve: MIB }), { code: 'RESERVE_EXISTS' });
    t.deepEqual(readFileSync(target), before);
  }
  const input = compileMachO({ ...base, sources: [STATE], name: 'twice', headerpad: 0x400 });
  await prepare(input, input, { reserve: MIB });
  await t.throwsAsync(prepare(input, input, { reserve: MIB }), { code: 'RESERVE_EXISTS' });
});

for (const reserve of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 36 + 1, Number.MAX_SAFE_INTEGER])
  test(`prepare() refuses a reserve of ${reserve} bytes`, async t => {
    const target = join(directory, 'absurd');
    await t.throwsAsync(prepare(process.execPath, target, { reserve }), { code: 'BAD_RESERVE' });
    t.false(existsSync(target));
  });

test('prepare() gives the largest reserve and the smallest', async t => {
  const input = compileMachO({ ...base, name: 'sizes' });
  for (const [reserve, got] of [
    [1, 0x8000],
    [2 ** 36, 2 ** 36],
  ] as const) {
    const target = `${input}.${reserve}`;
    t.is((await prepare(input, target, { reserve })).reserve, got);
    await judgeMachO(target);
    t.is((await runMachO(target, ['1'], { arch: 'x86_64', slide: 0x4000n })).status, 0);
  }
});

const CPUTYPE = 4;
const CPUSUBTYPE = 8;
const FILETYPE = 12;
const LC_IDENT = 0x8;
const LC_DYSYMTAB = 0xb;
const LC_ENCRYPTION_INFO_64 = 0x2c;

/** Renames the section `__data`. */
const sectionNamed = (name: string) => (file: Editor) => {
  const at = file.section('__data');
  file.bytes.fill(0, at, at + 16);
  file.bytes.set(new TextEncoder().encode(name), at);
};

type Refusal = readonly [what: string, code: string, edit: (file: Editor) => void, reason?: string];
const refusals: readonly Refusal[] = [
  ['a file that is no Mach-O file', 'NOT_A_MACHO_EXECUTABLE', file => file.bytes.fill(0x7f, 0, 4)],
  [
    'a file of 3 bytes',
    'NOT_A_MACHO_EXECUTABLE',
    file => {
      file.bytes = file.bytes.subarray(0, 3);
    },
  ],
  [
    'a file that ends in its commands',
    'MACHO_BAD_COMMANDS',
    file => {
      file.bytes = file.bytes.subarray(0, 100);
    },
  ],
  ['a dylib', 'NOT_A_MACHO_EXECUTABLE', file => file.set32(FILETYPE, 6)],
  [
    'arm64e',
    'CANNOT_BE_KEPT',
    file => {
      file.set32(CPUTYPE, 0x0100000c);
      file.set32(CPUSUBTYPE, 2);
    },
    'MACHO_ARM64E',
  ],
  ['Objective-C', 'CANNOT_BE_KEPT', sectionNamed('__objc_classlist'), 'MACHO_OBJC'],
  ['Swift', 'CANNOT_BE_KEPT', sectionNamed('__swift5_types'), 'MACHO_SWIFT'],
  ['an encrypted program', 'CANNOT_BE_KEPT', file => encrypt(file), 'MACHO_ENCRYPTED'],
  ['relocations of the old kind', 'CANNOT_BE_KEPT', relocate, 'MACHO_RELOCATIONS'],
  [
    'a program without __LINKEDIT',
    'CANNOT_BE_KEPT',
    file => rename(file, '__LINKEDIT', '__LINKEDAT'),
    'MACHO_NO_LINKEDIT',
  ],
];

function rename(file: Editor, from: string, to: string): void {
  file.bytes.set(new TextEncoder().encode(to), file.segment(from) + SEGMENT.segname);
}

/** Puts LC_ENCRYPTION_INFO_64 (24 bytes) behind the last command. */
function encrypt(file: Editor): void {
  const at = 32 + file.u32(20);
  for (const [i, word] of [LC_ENCRYPTION_INFO_64, 24, 0x4000, 0x1000, 1, 0].entries())
    file.set32(at + 4 * i, word);
  file.add32(16, 1);
  file.add32(20, 24);
}

/** Says that there is one relocation entry of the old kind, in the first 8 bytes of __LINKEDIT. */
function relocate(file: Editor): void {
  const at = file.command(LC_DYSYMTAB);
  file.set32(at + 72, file.u64(file.segment('__LINKEDIT') + SEGMENT.fileoff));
  file.set32(at + 76, 1);
}

for (const [what, code, edit, reason] of refusals)
  test(`prepare() refuses ${what} by name, and writes nothing`, async t => {
    const name = `refused.${reason ?? what.replaceAll(' ', '-')}`;
    const file = new Editor(compileMachO({ ...base, sources: [STATE], headerpad: 0x400, name }));
    edit(file);
    const input = file.save(join(directory, name));
    const target = `${input}.prepared`;
    writeFileSync(target, 'as it was');
    const error = await t.throwsAsync(prepare(input, target, { reserve: MIB }), { code });
    if (error instanceof UnexecError && reason !== undefined) {
      t.deepEqual(
        error.reasons.map(({ code }) => code),
        [reason],
      );
    }
    t.is(readFileSync(target, 'utf8'), 'as it was');
  });

test('prepare() leaves nothing behind when it is interrupted', async t => {
  const own = join(directory, 'interrupted');
  mkdirSync(own);
  const input = compileMachO({ ...base, name: 'interrupted/program' });
  const before = readdirSync(own);
  const interrupted = prepare(input, join(own, 'target'), { reserve: MIB, signal: AbortSignal.abort() });
  await t.throwsAsync(interrupted, { any: true, name: 'AbortError' });
  t.deepEqual(readdirSync(own), before);
});

test('prepare() refuses a fat file, and says what to do', async t => {
  const thin = MACHO_ARCHES.map(arch =>
    compileMachO({ ...base, sources: [STATE], arch, name: `thin.${arch}` }),
  );
  const fat = join(directory, 'fat');
  execFileSync('llvm-lipo-19', ['-create', ...thin, '-output', fat]);
  const error = await t.throwsAsync(prepare(fat, `${fat}.prepared`, { reserve: MIB }), { code: 'MACHO_FAT' });
  t.true(error instanceof UnexecError && /lipo -thin/.test(error.hint ?? ''));
});

test('prepare() refuses a program whose last segment cannot grow where there is no room for another', async t => {
  const file = new Editor(compileMachO({ ...base, sources: [STATE], signed: false, name: 'read-only' }));
  file.set32(file.segment('__DATA') + INITPROT, 1);
  const input = file.save(join(directory, 'read-only'));
  const said = { code: 'NO_WRITABLE_SEGMENT', message: /__DATA, which is not writable.* \d+ bytes free/ };
  await t.throwsAsync(prepare(input, `${input}.prepared`, { reserve: MIB }), said);
});

test('prepare() refuses a program that has segments above __LINKEDIT', async t => {
  const file = new Editor(compileMachO({ ...base, signed: false, headerpad: 0x400, name: 'above' }));
  // Below __TEXT, in a part of what was __PAGEZERO.
  file.add64(file.segment('__PAGEZERO') + SEGMENT.vmsize, -0x10_0000);
  file.set64(file.segment('__LINKEDIT') + SEGMENT.vmaddr, 0x1_0000_0000 - 0x10_0000);
  const input = file.save(join(directory, 'above'));
  for (const extend of [true, false]) {
    const refused = prepare(input, `${input}.prepared`, { reserve: MIB, extend });
    await t.throwsAsync(refused, { code: 'LINKEDIT_NOT_LAST' });
  }
});

test('prepare() refuses a program that has two runtimes', async t => {
  const file = new Editor(compileMachO({ ...base, signed: false, name: 'two' }));
  const magic = new TextEncoder().encode('unexec reserve 1');
  const data = file.segment('__DATA');
  const end = file.u64(data + SEGMENT.fileoff) + file.u64(data + SEGMENT.filesize);
  file.bytes.set(magic, end - 0x100);
  const input = file.save(join(directory, 'two'));
  await t.throwsAsync(prepare(input, `${input}.prepared`, { reserve: MIB }), { code: 'RESERVE_AMBIGUOUS' });
});

test('prepare() refuses a header that a signature does not fit into', async t => {
  // The linker left 32 bytes or more: commands of notes fill them.
  const file = new Editor(compileMachO({ ...base, arch: 'arm64', signed: false, name: 'full' }));
  const text = file.section('__text');
  const end = 32 + file.u32(20);
  const free = file.u32(text + SECTION.offset) - end;
  t.true(free >= 16);
  file.set32(end, LC_IDENT);
  file.set32(end + 4, free - (free % 8));
  file.add32(16, 1);
  file.add32(20, free - (free % 8));
  const input = file.save(join(directory, 'full'));
  await t.throwsAsync(prepare(input, `${input}.prepared`, { reserve: MIB }), {
    code: 'MACHO_NO_HEADER_ROOM',
  });
});
