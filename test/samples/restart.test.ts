/**
 * The build step of samples/restart, by its Makefile and its CMakeLists.txt, as a user runs them.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { prepare, restart } from '../../unexec/index.ts';
import { COMMAND } from '../support/command.ts';
import { MIB, RUNTIME_SOURCE, takeCore } from '../support/macho/dump.ts';
import { loaderCommand, runMachO } from '../support/macho/loader.ts';
import { compileFlags, compileMachO, LIBSYSTEM, MACHO_ARCHES } from '../support/macho/toolchain.ts';
import { run } from '../support/run.ts';
import { ROOT, sandbox } from '../support/sandbox.ts';

const SAMPLES = join(ROOT, 'samples/restart');
const directory = sandbox('samples-restart');

/** What world.c says in its round, after the line that says how this life began. */
async function rounds(program: string, count: number): Promise<string[]> {
  const { stdout } = await run(program, { args: [String(count)] });
  return stdout.trimEnd().split('\n').slice(1);
}

test('sample programs of the restart and shared styles have at most 60 lines', t => {
  const programs = ['restart', 'shared'].flatMap(style =>
    readdirSync(join(ROOT, 'samples', style), { recursive: true, encoding: 'utf8' })
      .filter(file => /\.(c|cc)$/.test(file))
      .map(file => join(ROOT, 'samples', style, file)),
  );
  t.true(programs.length >= 9, programs.join(' '));
  for (const file of programs) {
    t.true(readFileSync(file, 'utf8').trimEnd().split('\n').length <= 60, file);
  }
});

test('make builds, prepares, dumps, verifies and runs world on Linux, and freezes it', async t => {
  const out = join(directory, 'make');
  const variables = [`OUT=${out}`, `UNEXEC=${process.execPath} ${COMMAND}`, 'RESERVE=1M'];
  execFileSync('make', ['-s', '-C', SAMPLES, 'check', 'frozen', ...variables], { encoding: 'utf8' });
  const expected = (await rounds(join(out, 'world'), 2)).slice(2);
  t.deepEqual((await run(join(out, 'world.frozen'))).stdout.trimEnd().split('\n'), expected);
  const { stdout } = await run(join(out, 'world.restart'));
  t.deepEqual(stdout.trimEnd().split('\n'), ['restarted', ...expected]);
});

test('CMake builds, prepares and dumps the programs on Linux', async t => {
  const out = join(directory, 'cmake');
  const options = ['-S', SAMPLES, '-B', out, `-DUNEXEC=${process.execPath};${COMMAND}`];
  execFileSync('cmake', options, { encoding: 'utf8' });
  execFileSync('cmake', ['--build', out], { encoding: 'utf8' });
  const expected = (await rounds(join(out, 'world'), 2)).slice(2);
  const { stdout } = await run(join(out, 'world.restart'));
  t.deepEqual(stdout.trimEnd().split('\n'), ['restarted', ...expected]);
  const tables = await run(join(out, 'tables'));
  t.like(await run(join(out, 'tables.restart')), { stdout: tables.stdout, status: 0 });
  const first = await run(join(out, 'constructors'));
  const second = await run(join(out, 'constructors.restart'));
  t.is(second.stdout, first.stdout.replace('life 1, started', 'life 2, restarted'));
  const rehashed = await run(join(out, 'rehash.restart'));
  t.is(rehashed.stdout, 'found 1000 of 1000, rehashed 1 time(s), thing 99\n');
});

for (const arch of MACHO_ARCHES) {
  test(`make TARGET=macho builds, prepares, dumps and writes world on Linux: ${arch}`, async t => {
    const out = join(directory, arch);
    const linker = ['ld64.lld-19', '-arch', arch, '-platform_version', 'macos', '11.0', '11.0'];
    const variables = {
      OUT: out,
      UNEXEC: `${process.execPath} ${COMMAND}`,
      RESERVE: '1M',
      TARGET: 'macho',
      CC: ['clang-19', ...compileFlags(arch)].join(' '),
      LINK: [...linker, '-e', '_main', '-adhoc_codesign'].join(' '),
      LDFLAGS: '-headerpad 0x200',
      LDLIBS: LIBSYSTEM,
      LOADER: loaderCommand('', [], { arch }).slice(0, -1).join(' '),
    };
    const settings = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
    execFileSync('make', ['-s', '-C', SAMPLES, 'check', ...settings], { encoding: 'utf8' });
    const first = await runMachO(join(out, 'world.prepared'), ['2'], { arch });
    const second = await runMachO(join(out, 'world.restart'), [], { arch });
    const [, , , ...expected] = first.stdout.split('\n');
    t.is(second.stdout, ['restarted', ...expected].join('\n'));
    t.is(second.status, 0);
  });
}

const secondLife = test.macro({
  exec: async (t, sample: string, args: readonly string[], expected: (first: string) => string) => {
    for (const arch of MACHO_ARCHES) {
      const fixups = arch === 'arm64' ? 'chained' : 'dyld-info';
      const own = `samples/restart/${sample}.c`;
      // In either order: prepare puts the runtime's constructor before the program's.
      const sources = arch === 'arm64' ? [own, RUNTIME_SOURCE] : [RUNTIME_SOURCE, own];
      const program = compileMachO({ sources, arch, fixups, directory, name: `${sample}.${arch}` });
      await prepare(program, program, { reserve: MIB });
      const first = await runMachO(program, args, { arch });
      const cores = [
        await takeCore(program, { arch, args }),
        await takeCore(program, { arch, args }),
      ] as const;
      await restart(cores[0], `${program}.2`, { exe: program, compare: cores[1], strict: true });
      const { stdout, status } = await runMachO(`${program}.2`, args, { arch });
      t.is(stdout, expected(first.stdout));
      t.is(status, 0);
    }
  },
  title: (_, sample) => `${sample}.c finds in its second life what its comments say`,
});
test(secondLife, 'constructors', [], first => first.replace('life 1, started', 'life 2, restarted'));
test(secondLife, 'tables', ['forget'], first => first);
