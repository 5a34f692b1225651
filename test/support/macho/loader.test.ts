import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { run } from '../run.ts';
import { sandbox } from '../sandbox.ts';
import { loader, loaderCommand, REFUSED, runMachO } from './loader.ts';
import { compileMachO, FIXUP_STYLES, LIBSYSTEM, MACHO_ARCHES, type MachOProgram } from './toolchain.ts';

const directory = sandbox('macho-loader');
const STATE = 'test/support/macho/programs/state.c';
const ZONES = 'test/support/macho/programs/zones.c';
const PAGE = { x86_64: 0x1000n, arm64: 0x4000n };
const SLIDES = [0n, 0x4000n, 0x7f_0000_0000n, 0x1234_5678_0000n];

const said = (slide: bigint): string =>
  'list 3 second, constructed 7, thread-locals 41 0 43\n' +
  `table 43, hello x 1.50 -5, slide ${slide.toString(16)}\n`;

for (const arch of MACHO_ARCHES) {
  for (const fixups of FIXUP_STYLES) {
    for (const initOffsets of [false, true]) {
      const how = initOffsets ? 'init offsets' : 'init functions';
      test(`a program says the right thing at every slide, ${arch}, ${fixups}, ${how}`, async t => {
        const name = `state.${arch}.${fixups}.${how.replace(' ', '-')}`;
        const program = compileMachO({ sources: [STATE], arch, fixups, initOffsets, directory, name });
        for (const slide of initOffsets ? SLIDES.slice(2, 3) : SLIDES) {
          const outcome = await runMachO(program, [], { arch, slide });
          t.deepEqual(outcome, { stdout: said(slide), stderr: '', status: 7, signal: null });
        }
      });
    }

    test(`weak symbols are the program's own before others, and may be missing, ${arch}, ${fixups}`, async t => {
      const sources = ['test/support/macho/programs/weak.c'];
      const linkFlags = ['-U', '_nowhere'];
      const program = compileMachO({ sources, arch, fixups, directory, linkFlags });
      const { stdout, stderr } = await runMachO(program, [], { arch });
      t.is(stderr, '');
      t.is(stdout, 'good size 7, missing 1\n');
    });
  }
  const state: MachOProgram = { sources: [STATE], arch, fixups: 'chained', directory, name: `state.${arch}` };

  test(`a program runs at another slide each time when none is given, ${arch}`, async t => {
    const program = compileMachO({ ...state, name: `random.${arch}` });
    const runs = await Promise.all([1, 2, 3].map(() => runMachO(program, [], { arch })));
    const slides = runs.map(({ stdout }) => BigInt(`0x${/slide (\w+)/.exec(stdout)?.[1] ?? 'none'}`));
    t.is(new Set(slides).size, 3, slides.join(' '));
    for (const slide of slides) t.is(slide % PAGE[arch], 0n);
  });

  test(`a program with room behind its load commands runs, ${arch}`, async t => {
    const program = compileMachO({ ...state, name: `pad.${arch}`, headerpad: 0x1000 });
    t.is((await runMachO(program, [], { arch, slide: 0n })).stdout, said(0n));
  });

  test(`zones of malloc are registered, asked and freed as libmalloc does it, ${arch}`, async t => {
    const compileFlags = ['-fno-builtin'];
    const program = compileMachO({ sources: [ZONES], arch, fixups: 'chained', directory, compileFlags });
    const outcome = await runMachO(program, [], { arch });
    t.is(
      outcome.stdout,
      `DefaultMallocZone other mine
mine other
mine DefaultMallocZone other
default is first 1, virtual 1
owners mine DefaultMallocZone other
sizes 64 48 112 0
kept realloc'd in DefaultMallocZone, 1
freed 1, by size 1; too much 1, aligned 12
cleared 4000, aligned 1 64
locks in the child 10, here 10; pages ${PAGE[arch]}, mmap at 0
`,
    );
    t.regex(outcome.stderr, /Attempted to register zone more than once/);
    t.is(outcome.status, 0);
    const foreign = await runMachO(program, ['foreign'], { arch });
    t.regex(foreign.stderr, /pointer being freed was not allocated/);
    t.not(foreign.signal ?? foreign.status, 0);
  });

  test(`an import that the loader lacks is refused by its name, ${arch}`, async t => {
    const source = join(directory, 'lacks.c');
    writeFileSync(source, 'int unexec_lacks(void); int main(void) { return unexec_lacks(); }\n');
    const linkFlags = ['-U', '_unexec_lacks'];
    const program = compileMachO({ sources: [source], arch, fixups: 'chained', directory, linkFlags });
    const { status, stderr } = await runMachO(program, [], { arch });
    t.is(stderr, `macho-loader: ${program}: symbol not found: _unexec_lacks, expected in any dylib\n`);
    t.is(status, REFUSED);
  });

  test(`the loader has what libSystem.tbd promises, ${arch}`, async t => {
    const [command = '', ...args] = loaderCommand('--shims', [], { arch });
    const { stdout } = await run(command, { args });
    const shims = new Set(stdout.trim().split('\n'));
    const text = readFileSync(LIBSYSTEM, 'utf8').replaceAll(/#.*/g, '');
    const names = /symbols: *\[([^\]]*)\]/.exec(text)?.[1]?.trim().split(/,\s*/) ?? [];
    t.true(names.length > 100);
    t.deepEqual(
      names.filter(name => !shims.has(name)),
      [],
    );
  });
}

test('a program that is not position independent runs at its own addresses only', async t => {
  const arch = 'x86_64';
  const program = compileMachO({ sources: [STATE], arch, fixups: 'dyld-info', pie: false, directory });
  t.is((await runMachO(program, [], { arch })).stdout, said(0n));
  const { stderr } = await runMachO(program, [], { arch, slide: 0x4000n });
  t.is(stderr, `macho-loader: ${program}: slide 0x4000: the program lacks MH_PIE\n`);
});

test('a slice of a fat file runs', async t => {
  const slices = MACHO_ARCHES.map(arch =>
    compileMachO({ sources: [STATE], arch, fixups: 'chained', directory, name: `slice.${arch}` }),
  );
  const fat = join(directory, 'fat');
  await run('/usr/bin/llvm-lipo-19', { args: ['-create', ...slices, '-output', fat] });
  for (const arch of MACHO_ARCHES)
    t.is((await runMachO(fat, [], { arch, slide: 0x4000n })).stdout, said(0x4000n));
});

test('the loader is built once for the same sources', t => {
  t.is(loader('x86_64'), loader('x86_64'));
});
