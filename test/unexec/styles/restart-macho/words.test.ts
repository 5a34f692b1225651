import test from 'ava';
import { UnexecError } from '../../../../unexec/errors.ts';
import { type RestartOptions, restart } from '../../../../unexec/restart.ts';
import { prepared, takeCore } from '../../../support/macho/dump.ts';
import { judgeMachO } from '../../../support/macho/judge.ts';
import { type LoaderOptions, runMachO } from '../../../support/macho/loader.ts';
import {
  compileMachO,
  FIXUP_STYLES,
  MACHO_ARCHES,
  type MachOProgram,
} from '../../../support/macho/toolchain.ts';
import { run } from '../../../support/run.ts';
import { sandbox } from '../../../support/sandbox.ts';

const directory = sandbox('restart-macho-words');
const OUTSIDE = 'test/fixtures/macho/outside.c';
const ODD = 'test/fixtures/macho/odd-pointers.c';
const DOUBTFUL = 'test/fixtures/macho/doubtful.c';
const tables = 'samples/restart/tables.c';
const base: MachOProgram = { sources: [tables], arch: 'x86_64', fixups: 'dyld-info', directory };
const SLIDES = [0x12_0000_4000n, 0x4567_0000_8000n] as const;

/** Dumps the program from one core, or from two. */
async function dump(
  program: string,
  loader: LoaderOptions & { readonly args?: readonly string[] },
  slides: readonly (bigint | undefined)[],
  options: RestartOptions = {},
) {
  const cores = [];
  for (const slide of slides) {
    cores.push(await takeCore(program, { ...loader, ...(slide === undefined ? {} : { slide }) }));
  }
  const [core = '', compare] = cores;
  const target = `${program}.restart`;
  const compared = compare === undefined ? {} : { compare };
  const report = await restart(core, target, { exe: program, ...compared, ...options });
  await judgeMachO(target);
  return report;
}

for (const arch of MACHO_ARCHES) {
  for (const fixups of FIXUP_STYLES) {
    for (const method of ['scan', 'comparison'] as const) {
      const slides = method === 'scan' ? SLIDES.slice(1) : SLIDES;
      test(`pointers to functions of a library become binds, ${arch}, ${fixups}, ${method}`, async t => {
        const name = `tables.${arch}.${fixups}.${method}`;
        const program = await prepared({ ...base, arch, fixups, name });
        const first = await runMachO(program, ['forget'], { arch });
        const { target, pointers } = await dump(program, { arch, args: ['forget'] }, slides, {
          strict: true,
        });
        t.like(pointers, { method, bound: 4, nulled: 0, left: 0, doubtful: 0, unexplained: 0 });
        // There the library is elsewhere, at random.
        t.deepEqual(await runMachO(target, [], { arch, foreign: true }), first);
      });
    }

    // Under qemu-user nothing moves but the program, so that nobody knows what is an address.
    const fate = arch === 'arm64' ? 'stays as it is' : 'becomes a null pointer';
    const counts = arch === 'arm64' ? { nulled: 0, left: 3 } : { nulled: 3, left: 0 };
    test(`of words that lead outside, binds stay or follow, and each other one ${fate}, ${arch}, ${fixups}`, async t => {
      const program = await prepared({
        ...base,
        sources: [OUTSIDE],
        arch,
        fixups,
        name: `outside.${arch}.${fixups}`,
      });
      const { target, pointers, doubtful } = await dump(program, { arch, foreign: true }, SLIDES);
      t.like(pointers, { bound: 2, unexplained: 0, ...counts });
      const told = /^_(\w+) \(__DATA,__bss\): leads out of the program, to .*: (.*)$/;
      const lines = doubtful.map(line => told.exec(line)?.slice(1));
      t.deepEqual(
        lines.sort(),
        ['beyond', 'library', 'stack'].map(name => [name, fate]),
        doubtful.join('\n'),
      );
      const { stdout } = await runMachO(target, [], { arch, foreign: true });
      const [binds, others] = stdout.split('\n');
      t.is(binds, 'compare 0, untouched 1, replaced Q, cleared 1, own 7, number o');
      if (arch === 'x86_64') t.is(others, 'stack 1, library 1, beyond 1');
    });

    test(`pointers with tags and at odd multiples of 4 lead where they led, ${arch}, ${fixups}`, async t => {
      const program = await prepared({
        ...base,
        sources: [ODD],
        arch,
        fixups,
        name: `odd.${arch}.${fixups}`,
      });
      const { target } = await dump(program, { arch }, SLIDES, { strict: true });
      for (const slide of [0n, 0x3_1234_0000n]) {
        const { stdout } = await runMachO(target, [], { arch, slide });
        t.is(stdout, 'four 7 11, low bits 12, top byte 0xab 13, end 13, block 1\n');
      }
    });
  }
}

for (const arch of MACHO_ARCHES) {
  for (const fixups of FIXUP_STYLES)
    test(`weak symbols stay the program's own, or missing, ${arch}, ${fixups}`, async t => {
      const linkFlags = ['-U', '_nowhere'];
      const sources = ['test/support/macho/programs/weak.c'];
      const program = compileMachO({
        ...base,
        sources,
        arch,
        fixups,
        linkFlags,
        name: `weak.${arch}.${fixups}`,
      });
      const { target } = await dump(program, { arch, at: 'entry' }, SLIDES, { strict: true });
      const { stdout, stderr } = await runMachO(target, [], { arch, foreign: true });
      t.deepEqual([stdout, stderr], ['good size 7, missing 1\n', '']);
    });
}

test('a scan leaves words alone that lead outside, and tells of them', async t => {
  const program = await prepared({ ...base, sources: [OUTSIDE], name: 'outside.scan' });
  const { pointers, doubtful, remarks } = await dump(program, { arch: 'x86_64', foreign: true }, [undefined]);
  t.like(pointers, { bound: 2, nulled: 0, left: 3 });
  t.true(doubtful.some(line => /^_stack \(__DATA,__bss\): leads out .*: stays as it is$/.test(line)));
  t.regex(remarks.join('\n'), /3 words seem to lead out of the program/);
});

test('a program without position has its words that lead outside bound too', async t => {
  const program = await prepared({ ...base, pie: false, name: 'tables.fixed' });
  const first = await runMachO(program, ['forget'], { arch: 'x86_64' });
  for (const runs of [1, 2]) {
    const slides = Array.from({ length: runs }, () => undefined);
    const { target, pointers } = await dump(program, { arch: 'x86_64', args: ['forget'] }, slides);
    t.like(pointers, { method: 'none', pointers: 0, bound: 4 });
    t.deepEqual(await runMachO(target, [], { arch: 'x86_64', foreign: true }), first);
    const { stdout } = await run('/usr/bin/llvm-objdump-19', {
      args: ['--macho', '--bind', '--rebase', target],
    });
    t.regex(stdout, /__DATA +__bss +0x\w+ +pointer +0 +libSystem +_strcmp\n|__DATA +__data .* _strcmp\n/);
    t.notRegex(stdout, /^__DATA +__\w+ +0x\w+ +pointer 0x/m);
  }
});

test('a pointer at an odd byte is rebased by opcodes, and cannot be chained', async t => {
  const odd = { ...base, sources: [ODD], compileFlags: ['-DODD'] };
  const program = await prepared({ ...odd, name: 'odd-byte' });
  const { target } = await dump(program, { arch: 'x86_64' }, SLIDES, { strict: true });
  const { stdout } = await runMachO(target, [], { arch: 'x86_64' });
  t.is(stdout, 'four 7 11, low bits 12, top byte 0xab 13, end 13, block 1\none 7 12\n');

  const chained = await prepared({ ...odd, fixups: 'chained', name: 'odd-byte.chained' });
  const error = await t.throwsAsync(dump(chained, { arch: 'x86_64' }, SLIDES), { code: 'CANNOT_BE_CHAINED' });
  t.true(error instanceof UnexecError);
  if (!(error instanceof UnexecError)) return;
  t.deepEqual(
    error.reasons.map(({ code }) => code),
    ['POINTER_UNALIGNED'],
  );
  t.regex(error.reasons[0]?.what ?? '', /_at_one\+0x1 \(__DATA,__data\)/);
});

test('a scan does not take unaligned words for pointers, and --strict refuses them', async t => {
  const program = await prepared({ ...base, sources: [ODD], name: 'odd.scan' });
  const error = await t.throwsAsync(dump(program, { arch: 'x86_64' }, SLIDES.slice(1), { strict: true }), {
    code: 'DOUBTFUL_WORDS',
  });
  const reasons = error instanceof UnexecError ? error.reasons.map(({ what }) => what) : [];
  t.true(
    reasons.some(what => /^_at_four\+0x4 \(__DATA,__data\): .* unaligned; not taken/.test(what)),
    reasons.join('\n'),
  );
  t.true(
    reasons.some(what => /^_top_byte \(__DATA,__bss\): .* tagged$/.test(what)),
    reasons.join('\n'),
  );
});

test('a number that looks like an address is doubtful in one run, and none in two', async t => {
  const program = await prepared({ ...base, sources: [DOUBTFUL], name: 'doubtful' });
  const loader = { arch: 'x86_64' } as const;
  const error = await t.throwsAsync(dump(program, loader, [0n], { strict: true }), {
    code: 'DOUBTFUL_WORDS',
  });
  const reasons = error instanceof UnexecError ? error.reasons.map(({ what }) => what) : [];
  t.deepEqual(reasons, ['_pairs+0x8 (__DATA,__common): 0x100000010 into __TEXT: pair']);

  const { target } = await dump(program, loader, [0n, SLIDES[0]], { strict: true });
  t.is((await runMachO(target, [], { arch: 'x86_64' })).stdout, '1.10 0\n');
});

test('a word that is made of an address is told by its symbol, and --strict refuses it', async t => {
  const program = await prepared({ ...base, sources: [DOUBTFUL], name: 'hash' });
  const loader = { arch: 'x86_64', args: ['hash'] } as const;
  const { doubtful, pointers } = await dump(program, loader, SLIDES);
  t.is(pointers.unexplained, 1);
  t.regex(
    doubtful.join('\n'),
    /^_hash \(__DATA,__common\): unexplained: 0x\w+ in one run, 0x\w+ in the other: 3 times an address of __DATA: a hash$/,
  );
  const error = await t.throwsAsync(dump(program, loader, SLIDES, { strict: true }), {
    code: 'DOUBTFUL_WORDS',
  });
  t.true(error instanceof UnexecError && error.reasons.some(({ what }) => what.startsWith('_hash ')));
});
