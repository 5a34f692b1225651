import { execFileSync } from 'node:child_process';
import { copyFileSync, readFileSync, realpathSync, statSync, writeFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import {
  dynamicCapacity,
  type ElfFile,
  EM,
  ET,
  elfBytes,
  findSection,
  PT,
  readDynamic,
  readElf,
} from '../../../formats/elf/index.ts';
import { FormatError } from '../../../formats/errors.ts';
import { displacementOf } from '../../../unexec/elf/program-headers.ts';
import { findReserve } from '../../../unexec/elf/reserve.ts';
import { UnexecError } from '../../../unexec/errors.ts';
import { prepare } from '../../../unexec/prepare.ts';
import { verifyFile } from '../../../unexec/verify-file.ts';
import { BSS_ONLY, complaintsOfElf } from '../../support/judge-elf.ts';
import { type Outcome, run } from '../../support/run.ts';
import { MIB, RUNTIME, RUNTIME_SOURCE } from '../../support/runtime.ts';
import { ROOT, sandbox } from '../../support/sandbox.ts';

const directory = sandbox('prepare-elf');
const RESERVE = join(ROOT, 'test/fixtures/elf/reserve.c');
const WORLD = join(ROOT, 'samples/restart/world.c');

interface Linked {
  readonly how: string;
  readonly flags?: readonly string[];
  readonly compiler?: 'gcc' | 'clang-19' | 'aarch64-linux-gnu-gcc';
  /** Bytes of bss beside the usual. */
  readonly large?: number;
  readonly stripped?: true;
}

const LLD = ['-fuse-ld=lld-19'];
const LINKED: readonly Linked[] = [
  { how: 'position-independent' },
  { how: 'at a fixed address', flags: ['-no-pie'] },
  { how: 'static', flags: ['-static'] },
  { how: 'static and position-independent', flags: ['-static-pie'] },
  { how: 'with much bss', large: 64 * MIB },
  { how: 'at a fixed address with much bss', large: 64 * MIB, flags: ['-no-pie'] },
  { how: 'for pages of 2 MiB', flags: ['-Wl,-z,max-page-size=0x200000'] },
  { how: 'with DT_RELR', flags: ['-Wl,-z,pack-relative-relocs'] },
  { how: 'without symbols', flags: ['-s'] },
  { how: 'without section headers', stripped: true },
  { how: 'by clang and lld', compiler: 'clang-19', flags: LLD },
  { how: 'by clang and lld at a fixed address', compiler: 'clang-19', flags: [...LLD, '-no-pie'] },
  { how: 'without room in .dynamic', flags: ['-Wl,--spare-dynamic-tags=2'] },
  { how: 'for AArch64', compiler: 'aarch64-linux-gnu-gcc' },
  {
    how: 'for AArch64 without room in .dynamic',
    compiler: 'aarch64-linux-gnu-gcc',
    flags: ['-Wl,--spare-dynamic-tags=2'],
  },
  { how: 'for AArch64 at a fixed address', compiler: 'aarch64-linux-gnu-gcc', flags: ['-no-pie'] },
  { how: 'for AArch64, static', compiler: 'aarch64-linux-gnu-gcc', flags: ['-static'] },
  {
    how: 'for AArch64, static and position-independent',
    compiler: 'aarch64-linux-gnu-gcc',
    flags: ['-static-pie'],
  },
];

let programs = 0;

function link(source: string, { compiler = 'gcc', flags = [], large = 4096, stripped }: Linked): string {
  const output = join(directory, `program-${++programs}`);
  const options = ['-O1', '-g', '-pthread', `-DLARGE=${large}`, `-I${RUNTIME}`, ...flags];
  execFileSync(compiler, [...options, '-o', output, source, RUNTIME_SOURCE]);
  if (stripped) {
    const bytes = readFileSync(output);
    bytes.fill(0, 0x28, 0x30).fill(0, 0x3c, 0x40);
    writeFileSync(output, bytes);
  }
  return output;
}

/** Runs it, under an emulator where it is not for this machine. */
const runHere = (program: string, { compiler }: Linked, args: readonly string[]): Promise<Outcome> =>
  compiler === 'aarch64-linux-gnu-gcc'
    ? run(program, { args, through: ['qemu-aarch64-static', '-L', '/usr/aarch64-linux-gnu'] })
    : run(program, { args });

/** Whether a dump could add no dynamic entries to it. */
const isCramped = (file: ElfFile): boolean =>
  file.segments.some(({ type }) => type === PT.PT_INTERP) &&
  dynamicCapacity(file) < readDynamic(file).length + 3;

const read = (path: string) => readElf(new Uint8Array(readFileSync(path)));

for (const linked of LINKED) {
  test(`prepare() gives a program its reserve: ${linked.how}`, async t => {
    const input = link(RESERVE, linked);
    const target = `${input}.prepared`;
    const report = await prepare(input, target, { reserve: 32 * MIB });
    t.like(report, {
      mode: 'segment',
      segment: '.unexec.heap',
      reserve: 32 * MIB,
      runtime: true,
      signed: false,
    });
    t.deepEqual(report.remarks, []);
    const { stdout, status } = await runHere(target, linked, ['20']);
    t.is(status, 0);
    t.deepEqual(stdout.trimEnd().split('\n'), [
      'AT_PHDR as kernels before 5.18 have it: 1',
      'AT_PHNUM as the header has it: 1',
      'reserve of 32 MiB, zone at its start: 1',
      'dl_iterate_phdr finds them: 1',
      'block in the reserve: 1',
      'high water behind it: 1',
      'overflow: 0',
    ]);
    t.deepEqual(complaintsOfElf(target, input), []);
    t.deepEqual(verifyFile(target).findings, verifyFile(input).findings);

    const file = read(target);
    t.like(findReserve(file), { base: report.address, size: 32 * MIB });
    // lld leaves no room for more dynamic entries: then .dynamic has a segment, too.
    const added = isCramped(read(input)) ? 3 : 2;
    t.is(file.segments.length, read(input).segments.length + added);
    t.false(isCramped(file));
    // What kernels before 5.18 and static start code of glibc rely on.
    const table = file.segments.find(({ type, offset }) => type === PT.PT_LOAD && offset === file.phoff);
    t.is(table && table.address - BigInt(table.offset), displacementOf(file));
    const heap = findSection(file, '.unexec.heap');
    t.is(heap?.size, linked.stripped ? undefined : 32 * MIB);
    // The reserve and the bss take no room, the table a page and the borders of two.
    t.true(statSync(target).blocks * 512 < statSync(input).blocks * 512 + 0x2000 + 2 * 0x10000);
  });
}

test('a prepared program says what it says without a reserve', async t => {
  const input = link(WORLD, { how: '' });
  await prepare(input, `${input}.prepared`, { reserve: MIB });
  const expected = await run(input, { args: ['3'] });
  t.deepEqual(await run(`${input}.prepared`, { args: ['3'] }), expected);
  t.regex(expected.stdout, /^started\nround 1 .*\nfault of the zone: none\n/);
});

const BIG: readonly (readonly [string, readonly string[], RegExp])[] = [
  ['/usr/bin/perl', ['-e', 'print join ",", map { $_ * $_ } 1 .. 5'], /^1,4,9,16,25$/],
  ['/usr/bin/python3', ['-c', 'import json; print(json.dumps([1, None]))'], /^\[1, null\]\n$/],
  ['/usr/bin/guile', ['-c', '(display (* 1 2 3 4 5))'], /^120$/],
  ['/usr/bin/emacs', ['--batch', '--eval', '(princ (list 1 (string-to-number "2")))'], /^\(1 2\)$/],
  ['/bin/bash', ['-c', 'for i in 1 2 3; do printf $((i * i)); done'], /^149$/],
];

for (const [path, args, expected] of BIG) {
  test(`${path} works on with a reserve that nothing uses, which is remarked on`, async t => {
    const target = join(directory, path.replaceAll('/', '-'));
    const report = await prepare(realpathSync(path), target, { reserve: 256 * MIB });
    t.false(report.runtime);
    t.regex(report.remarks.join(), /does not contain unexec's runtime/);
    const { stdout, status } = await run(target, { args, argv0: path });
    t.is(status, 0);
    t.regex(stdout, expected);
    t.deepEqual(complaintsOfElf(target, path), []);
  });
}

test('gdb sees the variables and the reserve of a prepared program, before and while it runs', async t => {
  const input = link(WORLD, { how: '' });
  const { target, address } = await prepare(input, `${input}.gdb`, { reserve: MIB });
  const commands = ['p rounds', 'p/x unexec_reserve.size', 'info files', 'b fflush', 'run', 'p rounds'];
  const flags = ['-batch', '-nx', ...commands.flatMap(command => ['-ex', command])];
  const said = execFileSync('gdb', [...flags, '--args', target, '2'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  t.regex(said, /\$1 = 0\n\$2 = 0x100000\n[\s\S]*\$3 = 2\n/);
  t.regex(said, new RegExp(`0x0*${address.toString(16)} - 0x[0-9a-f]+ is \\.unexec\\.heap`));
});

test('eu-elflint says of a segment of GNU ld that has nothing but .bss what it says of the reserve', t => {
  const source = join(directory, 'bss.s');
  writeFileSync(source, '.bss\n.skip 4096\n.text\n.globl _start\n_start: nop\n');
  execFileSync('gcc', ['-nostdlib', '-static', '-o', `${source}.out`, source]);
  const lines = execFileSync('sh', ['-c', `eu-elflint --gnu-ld ${source}.out || true`], { encoding: 'utf8' });
  t.true(lines.split('\n').some(line => BSS_ONLY.test(line)));
});

test('a program is stripped before it is prepared, or verify says what has become of it', async t => {
  const input = link(WORLD, { how: '' });
  const { target } = await prepare(input, `${input}.prepared`, { reserve: MIB });
  const codesAfter = (tool: string): string[] => {
    execFileSync(tool, [target, '-o', `${target}.stripped`]);
    return verifyFile(`${target}.stripped`).findings.map(({ code }) => code);
  };
  t.deepEqual(verifyFile(target).findings, []);
  // Both join what lay apart in the file.
  for (const tool of ['strip', 'llvm-strip-19']) t.true(codesAfter(tool).includes('ELF_PHDR_DISTANCE'), tool);
});

test('prepare() replaces its input where target is the same path, keeps its mode, and takes --extend for nothing', async t => {
  const input = link(RESERVE, { how: '' });
  const { remarks } = await prepare(input, input, { reserve: MIB, extend: true });
  t.is(statSync(input).mode & 0o777, 0o755);
  t.deepEqual(remarks, ['there is always room for a segment in ELF: --extend changes nothing']);
  t.is(findReserve(read(input))?.size, MIB);
});

async function refusal(input: string, reserve = MIB): Promise<UnexecError | undefined> {
  const target = join(directory, 'refused');
  try {
    await prepare(input, target, { reserve });
  } catch (error) {
    if (error instanceof UnexecError) return error;
    throw error;
  }
  return undefined;
}

test('prepare() refuses a program that has a reserve, with and without a runtime and section headers', async t => {
  for (const linked of [{ how: '' }, { how: '', stripped: true }] as const) {
    const input = link(RESERVE, linked);
    await prepare(input, input, { reserve: MIB });
    t.is((await refusal(input))?.code, 'RESERVE_EXISTS');
  }
  const shell = join(directory, 'shell');
  await prepare(realpathSync('/bin/bash'), shell, { reserve: MIB });
  t.regex((await refusal(shell))?.message ?? '', /shell has a reserve already/);
});

test('prepare() refuses libraries and objects by name', async t => {
  const libc = realpathSync('/lib/x86_64-linux-gnu/libc.so.6');
  const library = join(directory, 'library.so');
  execFileSync('gcc', ['-shared', '-fPIC', '-o', library, WORLD, RUNTIME_SOURCE, `-I${RUNTIME}`]);
  const error = await refusal(library);
  t.is(error?.code, 'NOT_AN_ELF_EXECUTABLE');
  t.regex(error?.message ?? '', /library\.so is a shared library \(ET_DYN without PT_INTERP and DF_1_PIE\)/);
  t.regex(error?.hint ?? '', /--style shared/);
  t.is((await refusal(libc))?.code, undefined, 'libc.so.6 can be run: it has a PT_INTERP');
  const object = join(directory, 'object.o');
  execFileSync('gcc', ['-c', '-o', object, WORLD, `-I${RUNTIME}`]);
  t.regex((await refusal(object))?.message ?? '', /object\.o is ET_REL, expected an executable/);
});

/** A copy with one field of its header changed. */
function withHeader(path: string, change: (bytes: Buffer) => void): string {
  const copy = join(directory, `changed-${++programs}`);
  copyFileSync(path, copy);
  const bytes = readFileSync(copy);
  change(bytes);
  writeFileSync(copy, bytes);
  return copy;
}

test('prepare() refuses other machines, cores and 32-bit programs by name', async t => {
  const program = link(RESERVE, { how: '' });
  const riscv = await refusal(withHeader(program, bytes => bytes.writeUInt16LE(EM.EM_RISCV, 18)));
  t.is(riscv?.code, 'CANNOT_BE_KEPT');
  t.deepEqual(
    riscv?.reasons.map(({ code, what }) => [code, what]),
    [['ELF_MACHINE', 'it is for EM_RISCV']],
  );
  const core = withHeader(program, bytes => bytes.writeUInt16LE(ET.ET_CORE, 16));
  t.regex((await refusal(core))?.message ?? '', /is ET_CORE, expected an executable/);
  const small = withHeader(program, bytes => bytes.writeUInt8(1, 4));
  const error = await t.throwsAsync(prepare(small, join(directory, 'refused'), { reserve: MIB }), {
    instanceOf: FormatError,
  });
  t.regex(error?.message ?? '', /EI_CLASS is 1 at 0x4, expected 2 \(ELFCLASS64\)/);
});

test('prepare() refuses what leaves no address space, and what is not aligned for pages', async t => {
  const high = link(RESERVE, { how: '', flags: ['-Wl,-Ttext-segment=0x7f0000000000'] });
  t.is((await refusal(high))?.code, 'NO_ADDRESS_SPACE');
  t.is((await refusal(high, 2 ** 37))?.code, 'BAD_RESERVE');
  const file = read(link(RESERVE, { how: '' }));
  for (const segment of file.segments) if (segment.type === PT.PT_LOAD) segment.address += 0x10n;
  const tight = join(directory, 'tight');
  writeFileSync(tight, elfBytes(file));
  t.is((await refusal(tight))?.code, 'ELF_UNALIGNED');
});

test('prepare() gives a reserve of 64 GiB that takes no room, and says where Linux would not start that', async t => {
  const input = link(WORLD, { how: '' });
  const report = await prepare(input, `${input}.huge`, { reserve: 2 ** 36 });
  t.is(report.reserve, 2 ** 36);
  t.true(statSync(report.target).size < statSync(input).size + 0x8000);
  t.is(/larger than the memory of this machine/.test(report.remarks.join()), totalmem() < 2 ** 36);
});
