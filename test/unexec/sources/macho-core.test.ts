import { execFileSync } from 'node:child_process';
import { copyFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { segmentsOf } from '../../../formats/macho/find.ts';
import { readMachO } from '../../../formats/macho/read.ts';
import { UnexecError } from '../../../unexec/errors.ts';
import { isMachOCore, openMachOCore } from '../../../unexec/sources/macho-core.ts';
import { lldbSaveCore } from '../../support/macho/lldb.ts';
import { type CoreStyle, runMachO } from '../../support/macho/loader.ts';
import {
  compileMachO,
  FIXUP_STYLES,
  type FixupStyle,
  MACHO_ARCHES,
  type MachOArch,
} from '../../support/macho/toolchain.ts';
import { readVariables, symbolsOf, VARIABLES } from '../../support/macho-variables.ts';
import { sandbox } from '../../support/sandbox.ts';
import { coreBytes } from '../../support/synthetic-core.ts';

const directory = sandbox('macho-core-source');
const SOURCES = ['test/fixtures/macho/variables.c'];
const STYLES: readonly CoreStyle[] = ['xnu', 'lldb', 'modified'];

const executables = new Map<string, string>();
function executable(arch: MachOArch, fixups: FixupStyle): string {
  const key = `${arch} ${fixups}`;
  const path = executables.get(key) ?? compileMachO({ sources: SOURCES, arch, fixups, directory });
  executables.set(key, path);
  return path;
}

const cores = new Map<string, Promise<string>>();
/** A core, taken in `freeze_here`; several tests look at the same one. */
function coreOf(arch: MachOArch, fixups: FixupStyle, style: CoreStyle): Promise<string> {
  const path = join(directory, `${arch}.${fixups}.${style}.core`);
  const core = cores.get(path) ?? takeCore(path, arch, fixups, style);
  cores.set(path, core);
  return core;
}

async function takeCore(
  core: string,
  arch: MachOArch,
  fixups: FixupStyle,
  coreStyle: CoreStyle,
): Promise<string> {
  const exe = executable(arch, fixups);
  const { status, stderr } = await runMachO(exe, [], { arch, at: 'freeze_here', core, coreStyle });
  if (status !== 0) throw new Error(stderr);
  return core;
}

for (const arch of MACHO_ARCHES) {
  for (const fixups of FIXUP_STYLES) {
    for (const style of STYLES) {
      test(`openMachOCore() reads every variable from a core of ${style}, ${arch} ${fixups}`, async t => {
        const exe = executable(arch, fixups);
        const { image, executable: found, ...core } = openMachOCore(await coreOf(arch, fixups, style), exe);
        t.deepEqual(readVariables(image, exe, found.slide), VARIABLES);
        t.is(image.arch, arch === 'arm64' ? 'aarch64' : 'x86_64');
        t.is(core.cleanBytes > 0, style === 'modified');
        const [thread] = core.threads;
        const stopped =
          thread?.registers?.arch === 'arm64' ? thread.registers.state.pc : thread?.registers?.state.rip;
        t.is(stopped, (symbolsOf(exe).get('freeze_here') ?? 0n) + found.slide);
        core.close();
      });
    }
  }
}

for (const arch of MACHO_ARCHES) {
  for (const style of STYLES) {
    test(`openMachOCore() reads a core that lldb made of one of ${style}, ${arch}`, async t => {
      const fixups = arch === 'arm64' ? 'chained' : 'dyld-info';
      const exe = executable(arch, fixups);
      const made = join(directory, `${arch}.${style}.by-lldb.core`);
      await lldbSaveCore(exe, await coreOf(arch, fixups, style), made);
      t.true(isMachOCore(made));
      const { image, executable: found, core, close } = openMachOCore(made, exe);
      t.deepEqual(readVariables(image, exe, found.slide), VARIABLES);
      const data = image.regions.filter(({ name }) => name === '__DATA');
      t.true(data.length > 0 && data.every(({ write }) => write));
      t.is(core.threads.length, 1);
      close();
    });
  }
}

test('openMachOCore() names the memory of the executable by its segments', async t => {
  const exe = executable('x86_64', 'chained');
  const {
    image,
    executable: found,
    close,
  } = openMachOCore(await coreOf('x86_64', 'chained', 'modified'), exe);
  for (const { segname, vmaddr, vmsize, initprot } of segmentsOf(found.file)) {
    if (initprot === 0) continue;
    const regions = image.regions.filter(({ name }) => name === segname);
    t.is(regions[0]?.start, vmaddr + found.slide);
    t.is(
      regions.reduce((sum, { size }) => sum + size, 0),
      Number(vmsize),
    );
  }
  for (const [i, region] of image.regions.entries()) {
    const before = image.regions[i - 1];
    t.true(before === undefined || before.start + BigInt(before.size) <= region.start);
  }
  close();
});

test('openMachOCore() finds the executable that the core names', async t => {
  const exe = executable('arm64', 'dyld-info');
  const core = openMachOCore(await coreOf('arm64', 'dyld-info', 'lldb'));
  t.is(core.executable.path, exe);
  core.close();
});

async function refusal(core: string, exe?: string): Promise<UnexecError> {
  try {
    openMachOCore(core, exe).close();
  } catch (error) {
    if (error instanceof UnexecError) return error;
    throw error;
  }
  throw new Error('it was opened');
}

test('openMachOCore() asks for the executable where the core names none', async t => {
  const error = await refusal(await coreOf('x86_64', 'chained', 'xnu'));
  t.is(error.code, 'EXECUTABLE_NEEDED');
});

test('openMachOCore() refuses another executable, and tells both UUIDs', async t => {
  const error = await refusal(await coreOf('x86_64', 'chained', 'xnu'), executable('x86_64', 'dyld-info'));
  t.is(error.code, 'NOT_THIS_EXECUTABLE');
  for (const fixups of FIXUP_STYLES) {
    const dump = execFileSync('llvm-dwarfdump-19', ['--uuid', executable('x86_64', fixups)], {
      encoding: 'utf8',
    });
    const [uuid = 'none'] = /[0-9A-F-]{36}/.exec(dump) ?? [];
    t.true(error.message.includes(uuid), `${error.message} / ${uuid}`);
  }
});

test('openMachOCore() refuses an executable for another machine', async t => {
  const error = await refusal(await coreOf('x86_64', 'chained', 'xnu'), executable('arm64', 'chained'));
  t.is(error.code, 'ARCH_DIFFERS');
  t.regex(error.message, /CPU_TYPE_X86_64.*CPU_TYPE_ARM64/);
});

test('openMachOCore() refuses a core that is cut off', async t => {
  const path = join(directory, 'cut-off.core');
  copyFileSync(await coreOf('x86_64', 'chained', 'xnu'), path);
  truncateSync(path, readFileSync(path).length - 1);
  const error = await refusal(path, executable('x86_64', 'chained'));
  t.is(error.code, 'CORE_TRUNCATED');
  t.is(error.path, path);
});

test('openMachOCore() refuses what is no core', async t => {
  const exe = executable('x86_64', 'chained');
  t.false(isMachOCore(exe));
  t.false(isMachOCore(process.execPath));
  t.is((await refusal(exe, exe)).code, 'NOT_A_MACHO_CORE');
  t.is((await refusal(process.execPath, exe)).code, 'NOT_A_MACHO_CORE');
  t.is((await refusal(join(directory, 'nothing'), exe)).code, 'FILE_UNREADABLE');
  t.is((await refusal(directory, exe)).code, 'FILE_UNREADABLE');
});

test('openMachOCore() refuses a core of arm64e', async t => {
  const path = join(directory, 'arm64e.core');
  writeFileSync(path, coreBytes([], { cputype: 0x0100_000c, cpusubtype: 0x8000_0002 }));
  const error = await refusal(path, executable('arm64', 'chained'));
  t.is(error.code, 'MACHO_ARM64E');
});

test('openMachOCore() refuses a core that has nothing of the data', async t => {
  const exe = executable('x86_64', 'chained');
  const text = readFileSync(exe).subarray(0, 0x1000);
  const path = join(directory, 'stacks-only.core');
  writeFileSync(path, coreBytes([{ address: 0x1_0000_0000n, bytes: text, protection: 5 }]));
  const error = await refusal(path, exe);
  t.is(error.code, 'CORE_WITHOUT_DATA');
});

test('openMachOCore() reads pages that no core has as the loader leaves them', async t => {
  // The header and one page of data: all else comes from the file, pointers moved by the slide.
  for (const fixups of FIXUP_STYLES) {
    const exe = executable('arm64', fixups);
    const bytes = readFileSync(exe);
    const data = segmentsOf(readMachO(bytes)).find(({ segname }) => segname === '__DATA');
    const slide = 0x5000_0000n;
    const path = join(directory, `${fixups}.header-only.core`);
    writeFileSync(
      path,
      coreBytes(
        [
          { address: 0x1_0000_0000n + slide, bytes: bytes.subarray(0, 0x1000), protection: 5 },
          {
            address: (data?.vmaddr ?? 0n) + (data?.vmsize ?? 0n) + slide - 0x1000n,
            bytes: new Uint8Array(0x1000),
          },
        ],
        { cputype: 0x0100_000c },
      ),
    );
    const { image, executable: found, close } = openMachOCore(path, exe);
    t.is(found.slide, slide);
    const { number, text, node, first, clean, cleanPointer, constant, bound } = readVariables(
      image,
      exe,
      slide,
    );
    t.deepEqual(
      { number, text, node, clean, cleanPointer },
      { ...{ number: 1n, text: 'as linked' }, node: 0n, clean: [42n, 0n], cleanPointer: 0n },
    );
    t.deepEqual([first, constant], [VARIABLES.first, VARIABLES.constant]);
    t.false(bound);
    // Reads that begin or end within a pointer give parts of it.
    const address = (symbolsOf(exe).get('node') ?? 0n) + slide;
    const whole = new Uint8Array(24);
    image.memory.read(address - 8n, whole);
    for (let from = 1; from < 16; from++) {
      const part = new Uint8Array(5);
      image.memory.read(address - 8n + BigInt(from), part);
      t.deepEqual(part, whole.slice(from, from + 5));
    }
    close();
  }
});
