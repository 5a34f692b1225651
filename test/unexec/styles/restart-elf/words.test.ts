import { execFileSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { UnexecError } from '../../../../unexec/errors.ts';
import { prepare } from '../../../../unexec/prepare.ts';
import { verifyFile } from '../../../../unexec/verify-file.ts';
import { complaintsOfElf } from '../../../support/judge-elf.ts';
import { buildElf, dumpElf, preparedElf, runElf } from '../../../support/restart-elf.ts';
import { MIB } from '../../../support/runtime.ts';
import { ROOT, sandbox } from '../../../support/sandbox.ts';

const directory = sandbox('restart-elf-words');
const fixture = (name: string): string => `test/fixtures/restart-elf/${name}`;

/** elfutils has no notes of ours, and knows an alias of copied data (`environ`) by its being in SHT_NOBITS. */
const NOT_KNOWN = /owner name 'unexec'|version index 2 is for requested version/;

const WORDS = [
  'untouched 1, replaced Q, cleared 1, own 7',
  'found 1, named 42, name path, zone UTC',
  'stack 1, unnamed 1, optind 1, environment 1',
  'thread-local 40 1',
  '',
].join('\n');

for (const [name, flags, compiler = 'gcc'] of [
  ['position-independent', []],
  ['linked to its address', ['-no-pie']],
  ['bound when called', ['-Wl,-z,lazy']],
  ['without RELRO', ['-Wl,-z,norelro']],
  ['with DT_RELR', ['-Wl,-z,pack-relative-relocs']],
  ['of lld, which leaves no room', ['-fuse-ld=lld'], 'clang-19'],
] as const) {
  test(`words of libraries lead where they led, and what nothing names becomes null: ${name}`, async t => {
    const path = `words.${name.replaceAll(/\W+/g, '-')}`;
    const program = await preparedElf({ source: fixture('words.c'), directory, name: path, flags, compiler });
    const { pointers, doubtful } = await dumpElf(program, `${program}.2`);
    t.is(pointers.nulled, 2, doubtful.join('\n'));
    t.true(doubtful.some(line => /^own_stack .* \[stack\]\+/.test(line)));
    t.true(
      doubtful.some(line => /^unnamed .* libc\.so\.6\+\S+ \(\S+\+0x1\): it is inside a function/.test(line)),
    );
    const env = { PATH: '/usr/bin', LIFE: '2', TZ: 'UTC' };
    const second = await runElf(`${program}.2`, { env });
    t.deepEqual([second.stdout, second.stderr, second.status], [WORDS, '', 0]);

    // Everything is known of it now, and what was lost is null.
    const strict = await dumpElf(`${program}.2`, `${program}.3`, { strict: true });
    t.like(strict.pointers, { nulled: 0, unexplained: 0 });
    t.is((await runElf(`${program}.3`, { env })).stdout, WORDS);
    for (const life of [2, 3]) {
      t.deepEqual(verifyFile(`${program}.${life}`).findings, []);
      const complaints = complaintsOfElf(`${program}.${life}`, program);
      t.deepEqual(
        complaints.filter(line => !NOT_KNOWN.test(line)),
        [],
      );
    }
    const symbols = execFileSync('readelf', ['-W', '--dyn-syms', `${program}.2`], { encoding: 'utf8' });
    for (const name of ['strverscmp@GLIBC_2.2.5', 'strtol@GLIBC_2.2.5', '_IO_2_1_stdout_@GLIBC_2.2.5'])
      t.true(symbols.includes(name), name);
  });
}

for (const flags of [[], ['-no-pie']]) {
  test(`words of libraries lead where they led on AArch64 too, as far as one run tells: gcc ${flags.join(' ')}`, async t => {
    const arch = 'aarch64';
    const name = `words.arm64${flags.join('')}`;
    const program = await preparedElf({
      source: fixture('words.c'),
      directory,
      name,
      arch,
      flags: ['-DSTOP', ...flags],
    });
    const { pointers, dropped, doubtful } = await dumpElf(program, `${program}.2`, { arch, at: 'stop' });
    t.like(pointers, { bound: 7, nulled: 0, left: 2, unexplained: 0 });
    t.is(dropped, 0);
    t.deepEqual(doubtful.map(line => line.split(' ')[0]).sort(), ['own_stack', 'unnamed']);
    const second = await runElf(`${program}.2`, { env: { PATH: '/usr/bin', LIFE: '2', TZ: 'UTC' } }, arch);
    t.is(second.stdout, WORDS.replace('stack 1, unnamed 1', 'stack 0, unnamed 0'));
  });
}

for (const flags of [[], ['-no-pie'], ['-static-pie']]) {
  test(`pointers at odd places and with tags lead where they led: gcc ${flags.join(' ')}`, async t => {
    const source = 'test/fixtures/macho/odd-pointers.c';
    const name = `odd${flags.join('')}`;
    const program = await preparedElf({ source, directory, name, flags: ['-DODD', ...flags] });
    await dumpElf(program, `${program}.2`);
    const { stdout, stderr, status } = await runElf(`${program}.2`);
    const lines = ['four 7 11, low bits 12, top byte 0xab 13, end 13, block 1', 'one 7 12', ''];
    t.deepEqual([stdout, stderr, status], [lines.join('\n'), '', 0]);
  });
}

test('--strict refuses words that lead nowhere, by their symbols', async t => {
  const program = await preparedElf({ source: fixture('words.c'), directory, name: 'strict' });
  const error = await t.throwsAsync(dumpElf(program, `${program}.2`, { strict: true }), {
    instanceOf: UnexecError,
    code: 'DOUBTFUL_WORDS',
  });
  const whats = (error?.reasons ?? []).map(({ what }) => what.split(' ')[0]).sort();
  t.deepEqual(whats, ['own_stack', 'unnamed']);
  t.throws(() => readFileSync(`${program}.2`), { code: 'ENOENT' });
});

for (const flags of [[], ['-no-pie'], ['-static'], ['-static-pie']]) {
  test(`C++ goes on with its maps, objects, streams and exceptions: g++ ${flags.join(' ')}`, async t => {
    const name = `shapes${flags.join('')}`;
    const program = await preparedElf({ source: fixture('shapes.cc'), directory, name, flags });
    let path = program;
    const said: string[] = [];
    for (let life = 1; life <= 3; life++) {
      const { stdout, stderr, status } = await runElf(path);
      t.deepEqual([stderr, status], ['', 0]);
      said.push(stdout);
      await dumpElf(path, `${program}.${life + 1}`);
      path = `${program}.${life + 1}`;
    }
    t.deepEqual(said, [
      'square 1=4 built caught 0 4 fresh 1\n',
      'square 1=4 square 2=9 built caught 0 caught 1 13 fresh 1\n',
      'square 1=4 square 2=9 square 3=16 built caught 0 caught 1 caught 2 29 fresh 1\n',
    ]);
  });
}

for (const flags of [[], ['-no-pie'], ['-static'], ['-static-pie']]) {
  test(`constructors run once and tables of pointers stay true: gcc ${flags.join(' ')}`, async t => {
    const name = flags.join('');
    const constructors = await preparedElf({
      source: 'samples/restart/constructors.c',
      directory,
      name: `constructors${name}`,
      flags,
    });
    await dumpElf(constructors, `${constructors}.2`);
    const lines = [
      'life 2, restarted',
      'constructors ran 1 time(s), made before main',
      "thread-local: 41 ''",
      '',
    ];
    t.is((await runElf(`${constructors}.2`)).stdout, lines.join('\n'));
    const tables = await preparedElf({
      source: 'samples/restart/tables.c',
      directory,
      name: `tables${name}`,
      flags,
    });
    const { stdout } = await runElf(tables);
    await dumpElf(tables, `${tables}.2`);
    t.is((await runElf(`${tables}.2`)).stdout, stdout);
  });
}

for (const flags of [[], ['-no-pie']]) {
  test(`a program without the runtime keeps its variables, and not its heap: gcc ${flags.join(' ')}`, async t => {
    const name = `no-runtime${flags.join('')}`;
    const source = fixture('no-runtime.c');
    const program = buildElf({ source, directory, name, flags, runtime: false });
    await dumpElf(program, `${program}.2`, { at: 'stop' });
    const second = await runElf(`${program}.2`);
    t.deepEqual([second.stdout, second.status], ['life 2: made in the first life, life\n', 0]);

    const refused = dumpElf(program, `${program}.3`, { at: 'stop', args: ['heap'] });
    const error = await t.throwsAsync(refused, { instanceOf: UnexecError, code: 'HEAP_NOT_KEPT' });
    t.regex(error?.reasons?.[0]?.what ?? '', /^allocated \(\.bss\) leads to \[heap\]\+0x/);
    t.regex(error?.hint ?? '', /unexec-runtime\.c.*prepare/);
  });
}

test('the brk heap of an allocator of its own stays where it was, in a program that is linked to its address', async t => {
  const source = 'samples/restart/own-heap.c';
  let path = buildElf({ source, directory, name: 'own-heap', flags: ['-no-pie'], runtime: false });
  for (let life = 1; life <= 4; life++) {
    const { stdout, status } = await runElf(path);
    const sum = (4498500 * life * (life + 1)) / 2;
    t.is(status, 0);
    t.true(stdout.startsWith(`life ${life}: ${life} rows, sum ${sum}, `), stdout);
    const { segments, remarks } = await dumpElf(path, `${path}.${life + 1}`);
    t.true(segments.filter(({ name }) => name === '.unexec.brk').length >= Math.min(life, 3));
    t.deepEqual(remarks.slice(0, 1), [
      'the brk heap is kept where it was; the next life gets more memory elsewhere',
    ]);
    path = `${path}.${life + 1}`;
    t.deepEqual(verifyFile(path).findings, []);
  }
});

test('a static program without the runtime is refused with what to do', async t => {
  const flags = ['-static'];
  const name = 'static-no-runtime';
  const program = buildElf({ source: fixture('no-runtime.c'), directory, name, flags, runtime: false });
  const error = await t.throwsAsync(dumpElf(program, `${program}.2`, { at: 'stop' }), {
    code: 'STATIC_WITHOUT_RUNTIME',
  });
  t.regex((error instanceof UnexecError && error.hint) || '', /last object before the libraries/);
});

test('a static program with the runtime before its own objects is refused with where it belongs', async t => {
  const built = buildElf({
    source: 'unexec/runtime/unexec-runtime.c',
    directory,
    name: 'early-runtime',
    flags: ['-static', join(ROOT, 'samples/restart/world.c')],
    runtime: false,
  });
  const program = `${built}.prepared`;
  await prepare(built, program, { reserve: 1 << 24 });
  const error = await t.throwsAsync(dumpElf(program, `${program}.2`), { code: 'RUNTIME_NOT_LAST' });
  t.regex((error instanceof UnexecError && error.hint) || '', /last object before the libraries/);
});

test('a program that is not prepared is refused, for its heap lies elsewhere', async t => {
  const program = await preparedElf({
    source: 'samples/restart/world.c',
    directory,
    name: 'bare',
    reserve: 0,
  });
  await t.throwsAsync(dumpElf(program, `${program}.2`), { code: 'HEAP_NOT_KEPT' });
});

test('a full reserve is refused with what did not fit', async t => {
  const source = 'samples/restart/world.c';
  const program = await preparedElf({ source, directory, name: 'full', reserve: 65536 });
  const error = await t.throwsAsync(dumpElf(program, `${program}.2`), { code: 'ZONE_OVERFLOW' });
  t.regex(error?.message ?? '', /\d+ bytes are allocated outside the reserve of 65536 bytes/);
});

test('a program that was stripped before it was prepared is dumped like others', async t => {
  for (const flags of [['-s'], ['-s', '-static']]) {
    const name = `stripped${flags.join('')}`;
    const program = await preparedElf({ source: 'samples/restart/world.c', directory, name, flags });
    const whole = (await runElf(program, { args: ['2'] })).stdout;
    await dumpElf(program, `${program}.2`);
    const [, ...lines] = (await runElf(`${program}.2`)).stdout.split('\n');
    t.deepEqual(lines, whole.split('\n').slice(3));
  }
});

test('a thread inside the allocator is not the moment for a dump', async t => {
  const source = fixture('busy.c');
  const program = await preparedElf({ source, directory, name: 'busy' });
  await t.throwsAsync(dumpElf(program, `${program}.2`), { code: 'ZONE_BUSY' });
});

test('what is zero takes no room in the file', async t => {
  const program = await preparedElf({ source: fixture('holes.c'), directory, name: 'holes' });
  await dumpElf(program, `${program}.2`);
  const { size, blocks } = statSync(`${program}.2`);
  t.true(size > 12 * MIB, String(size));
  t.true(blocks * 512 < MIB, String(blocks));
  t.is((await runElf(`${program}.2`)).stdout, 'first and last\n');
});

test('gdb shows what variables hold before the program runs, through pointers into the heap', async t => {
  const source = 'samples/restart/world.c';
  const program = await preparedElf({ source, directory, name: 'debugged' });
  await dumpElf(program, `${program}.2`);
  const show = (...expressions: string[]): string[] =>
    execFileSync(
      'gdb',
      ['-batch', '-nx', ...expressions.flatMap(text => ['-ex', `print ${text}`]), `${program}.2`],
      { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
    )
      .trimEnd()
      .split('\n');
  const [rounds, name, older, apply] = show(
    'rounds',
    'newest->name',
    'newest->older->value',
    'newest->apply',
  );
  t.is(rounds, '$1 = 1');
  t.regex(name ?? '', /"entry 1299 of the world"$/);
  t.regex(older ?? '', /^\$3 = \d+$/);
  t.regex(apply ?? '', /<(twice|square|negate)>$/);
});
