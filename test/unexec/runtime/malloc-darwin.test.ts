/**
 * The runtime's malloc zone in Mach-O programs, under the loader of test/support/macho, whose libmalloc
 * dispatches over zones as Apple's does. What no test here can have is Apple's libmalloc itself.
 */
import { join } from 'node:path';
import test from 'ava';
import { prepare, restart } from '../../../unexec/index.ts';
import { MIB, prepared, RUNTIME_SOURCE, takeCore } from '../../support/macho/dump.ts';
import { runMachO } from '../../support/macho/loader.ts';
import { compileMachO, FIXUP_STYLES, MACHO_ARCHES, type MachOArch } from '../../support/macho/toolchain.ts';
import { run } from '../../support/run.ts';
import { buildWithRuntime } from '../../support/runtime.ts';
import { sandbox } from '../../support/sandbox.ts';

const directory = sandbox('runtime-darwin');
/** No builtins, for the compiler to leave calls of malloc whose result it could foresee. */
const FLAGS = ['-fno-builtin', '-Wextra', '-Werror'];
/** The third one is of an image that was dumped from an image. */
const LIVES = 3;
const FIXTURE = 'test/fixtures/runtime/darwin.c';

/** The program's next life, from cores of two runs that stopped at unexec_freeze. */
async function dump(program: string, arch: MachOArch): Promise<string> {
  const core = await takeCore(program, { arch });
  await restart(core, `${program}+`, { exe: program, compare: await takeCore(program, { arch }) });
  return `${program}+`;
}

for (const arch of MACHO_ARCHES) {
  for (const fixups of FIXUP_STYLES) {
    test(`in each of ${LIVES} lives the zone is the default one and does what libmalloc asks: ${arch}, ${fixups}`, async t => {
      const program = { sources: [FIXTURE], arch, fixups, directory, compileFlags: FLAGS };
      let life = await prepared(program, { extend: fixups === 'chained' });
      for (let number = 1; number <= LIVES; number++) {
        const said = `life ${number} done\n`;
        t.like(await runMachO(life, [], { arch }), { stdout: said, stderr: '', status: 0 });
        if (number < LIVES) life = await dump(life, arch);
      }
    });
  }
}

test('a program that was not prepared runs on the malloc of the system', async t => {
  const sources = [RUNTIME_SOURCE, 'samples/restart/world.c'];
  const program = compileMachO({ sources, arch: 'x86_64', fixups: 'chained', directory, name: 'unprepared' });
  const { stdout, status } = await runMachO(program, [], { arch: 'x86_64' });
  t.is(status, 0);
  t.regex(
    stdout,
    /^started\nround 1 \[1: 1000 of 1000, \d+\] entry 1299 of the world\nfault of the zone: none\n$/,
  );
});

test('a program says the same with and without a reserve, as Mach-O and as ELF', async t => {
  const sources = [RUNTIME_SOURCE, 'samples/restart/tables.c'];
  const program = compileMachO({ sources, arch: 'arm64', fixups: 'chained', directory, name: 'tables' });
  const reserved = join(directory, 'tables.prepared');
  await prepare(program, reserved, { reserve: MIB });
  const elf = buildWithRuntime({ source: 'samples/restart/tables.c', output: join(directory, 'tables.elf') });
  const { stdout } = await run(elf);
  t.true(stdout.endsWith('itialised strcmp\n'));
  for (const path of [program, reserved]) {
    t.like(await runMachO(path, [], { arch: 'arm64' }), { stdout, status: 0 }, path);
  }
});
