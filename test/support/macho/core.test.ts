import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { sandbox } from '../sandbox.ts';
import { Editor, SEGMENT } from './edit.ts';
import { lldb, lldbSaveCore } from './lldb.ts';
import { type CoreStyle, runMachO } from './loader.ts';
import { compileMachO, MACHO_ARCHES, type MachOArch } from './toolchain.ts';

const directory = sandbox('macho-core');
const SLIDE = 0x1_2340_0000n;
const BASE = 0x1_0000_0000n;
const programs = new Map<MachOArch, string>();

function programFor(arch: MachOArch): string {
  const sources = ['test/support/macho/programs/state.c'];
  const path = programs.get(arch) ?? compileMachO({ sources, arch, fixups: 'dyld-info', directory });
  programs.set(arch, path);
  return path;
}

/** A core of the program at `here`, with its second thread waiting. */
async function coreOf(arch: MachOArch, coreStyle: CoreStyle): Promise<string> {
  const core = join(directory, `${arch}.${coreStyle}.core`);
  if (existsSync(core)) return core;
  const options = { arch, slide: SLIDE, at: 'here', core, coreStyle };
  const { status, stderr } = await runMachO(programFor(arch), ['threads'], options);
  if (status !== 0) throw new Error(stderr);
  return core;
}

/** What lldb has to find, whatever the core says of images. */
const COMMANDS = [
  'thread list',
  'register read',
  'thread backtrace all',
  'target variable *head text constructed',
];
/** xnu's cores do not say where the program is. */
const FIND = ['target modules load --slide 0x123400000 --file'];
const ARGUMENT = { x86_64: /rdi = 0x0*1234567890\b/, arm64: /x0 = 0x0*1234567890\b/ };

for (const arch of MACHO_ARCHES) {
  for (const style of ['xnu', 'lldb'] as const)
    test(`lldb reads threads, registers and variables from a core as ${style} writes it, ${arch}`, async t => {
      const [program, core] = [programFor(arch), await coreOf(arch, style)];
      const find = style === 'xnu' ? FIND.map(command => `${command} "${program}"`) : [];
      const said = await lldb(program, core, [...find, ...COMMANDS]);
      t.regex(said, /Core file '.*' \((x86_64|arm64)\) was loaded/);
      t.regex(said, /\* thread #1.*`here/);
      t.regex(said, ARGUMENT[arch]);
      t.regex(said, /frame #0: .*`here.* at state\.c:\d+/);
      t.regex(said, /frame #1: .*`main.* at state\.c:\d+/);
      t.regex(said, /frame #\d: .*`wait_in_thread at state\.c:\d+/);
      t.is(said.match(/^[* ] thread #\d+: tid/gm)?.length, 2, said);
      t.regex(said, /name = 0x\w+ "first"\s+value = 2/);
      t.regex(said, /text = "hello"/);
      t.regex(said, /constructed = 7/);
    });

  test(`lldb finds the program by the list of images in a core, ${arch}`, async t => {
    const said = await lldb(undefined, await coreOf(arch, 'lldb'), ['image list']);
    const at = (BASE + SLIDE).toString(16).padStart(16, '0');
    t.regex(said, new RegExp(`\\[ +0\\] [0-9A-F-]{36} 0x${at} .*/state\\.${arch}`));
  });

  test(`a core of modified memory has what was written to, and not the code, ${arch}`, async t => {
    const core = await coreOf(arch, 'modified');
    t.true(statSync(core).size < statSync(await coreOf(arch, 'lldb')).size / 10);
    const said = await lldb(programFor(arch), core, ['target variable text constructed']);
    t.regex(said, /text = "hello"/);
    t.regex(said, /constructed = 7/);
    const file = new Editor(core);
    const code = Number(BASE + SLIDE);
    const ranges = file.segments().map(at => [file.u64(at + SEGMENT.vmaddr), file.u64(at + SEGMENT.vmsize)]);
    t.true(ranges.length > 3);
    t.false(ranges.some(([start = 0, size = 0]) => start <= code && code < start + size));
  });

  test(`lldb saves our core again, and reads the same from its own, ${arch}`, async t => {
    const program = programFor(arch);
    const saved = join(directory, `${arch}.saved.core`);
    await lldbSaveCore(program, await coreOf(arch, 'lldb'), saved);
    const commands = ['target variable *head text constructed', 'register read pc', 'thread backtrace'];
    const states = await Promise.all(
      [saved, await coreOf(arch, 'lldb')].map(async core => {
        const said = await lldb(program, core, commands);
        return said.slice(said.indexOf('(lldb) target variable')).replaceAll(core, 'core');
      }),
    );
    t.regex(states[0] ?? '', /text = "hello"/);
    t.is(states[0], states[1]);
  });

  test(`a program goes on after its core, ${arch}`, async t => {
    const core = join(directory, `${arch}.entry.core`);
    const options = { arch, slide: SLIDE, at: 'entry', core, goOn: true };
    const { stdout, status } = await runMachO(programFor(arch), [], options);
    t.regex(stdout, /^list 3 second, constructed 7/);
    t.is(status, 7);
    t.regex(await lldb(undefined, core, ['thread list']), /thread #1/);
  });

  test(`a program stops at a symbol and goes on when it is continued, ${arch}`, async t => {
    const { stdout, status } = await runMachO(programFor(arch), [], { arch, at: '_here', stop: true });
    t.regex(stdout, /^list 3 second/);
    t.is(status, 7);
  });
}

test('a symbol that is not there is told', async t => {
  const { stderr } = await runMachO(programFor('x86_64'), [], { arch: 'x86_64', at: 'nowhere', stop: true });
  t.regex(stderr, /--at nowhere: no such symbol/);
});
