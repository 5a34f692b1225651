import { openSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { UnexecError } from '../../unexec/errors.ts';
import { freezeLibrary, type SharedOptions, type SharedReport } from '../../unexec/shared.ts';
import { compileLibrary, directory, freezeTo, OWN_CXX, said } from '../support/frozen-library.ts';

interface Frozen {
  readonly library: string;
  readonly report: SharedReport;
}

const NULL = openSync('/dev/null', 'w');
const frozen = new Map<string, Frozen>();
const SAMPLES: readonly (readonly [source: string, flags: readonly string[]])[] = [
  ['samples/shared/world.c', []],
  ['samples/shared/shapes.cc', OWN_CXX],
  ['test/fixtures/shared/kinds.c', []],
];

test.before(async () => {
  for (const [source, flags] of SAMPLES) {
    const library = compileLibrary(source, flags);
    frozen.set(source, { library, report: await freezeTo(library, { init: 'urf_init' }) });
  }
});

function made(source: string): Frozen {
  const found = frozen.get(source);
  if (found === undefined) throw new Error(`${source} was not frozen`);
  return found;
}

const withoutWho = (lines: readonly string[]): string[] => lines.map(line => line.replace(/^[^:]*: /, ''));

for (const [source] of SAMPLES.slice(0, 2)) {
  test(`${source}: the frozen library says what an initialised one says`, async t => {
    const { library, report } = made(source);
    const [, expected] = await said('init', library);
    t.deepEqual(await said('open', report.target), [expected]);
  });

  test(`${source}: an initialiser that is called again does nothing, and returns what it did`, async t => {
    const { library, report } = made(source);
    t.deepEqual(await said('init', report.target), await said('init', library));
  });

  test(`${source}: instances in several namespaces know nothing of each other`, async t => {
    const { library, report } = made(source);
    const [, expected = ''] = await said('init', library);
    const [first, second, again] = withoutWho(await said('twice', report.target));
    t.deepEqual([first, second], withoutWho([expected, expected]));
    t.not(again, first);
  });

  test(`${source}: threads use instances of their own at the same time`, async t => {
    const { library, report } = made(source);
    const [, expected = ''] = await said('init', library);
    t.deepEqual(
      withoutWho(await said('threads', report.target)),
      Array.from({ length: 4 }, () => expected.replace(/^[^:]*: /, '')),
    );
  });
}

test('a library that is closed and opened again is as it was frozen', async t => {
  const lines = await said('again', made('samples/shared/world.c').report.target);
  t.is(lines.length, 20);
  t.is(new Set(lines).size, 1);
});

test('a frozen library is opened at another address each time', async t => {
  const { target } = made('samples/shared/world.c').report;
  const [expected] = await said('open', target);
  for (let i = 0; i < 20; i++) t.deepEqual(await said('open', target), [expected]);
});

test('pointers of every kind lead to what they led to', async t => {
  const { library, report } = made('test/fixtures/shared/kinds.c');
  const [, live] = await said('init', library);
  // What had been freed is gone, and its pointer with it.
  t.deepEqual(await said('open', report.target), [live?.replace(' kept ', ' freed ')]);
  t.is(report.pointers.dangling, 1);
  t.is(report.blocks.count, 9);
});

test('libraries with relocations of both kinds say the same', async t => {
  const { library, report } = made('samples/shared/world.c');
  const plain = await freezeTo(library, { init: 'urf_init', relocations: 'rela' }, 'world-rela.so');
  t.true(report.relocations.compact);
  t.false(plain.relocations.compact);
  t.true(plain.size > report.size + 4_000_000);
  t.deepEqual(await said('open', plain.target), await said('open', report.target));
});

test('a library can be frozen without an initialiser, for what its constructors do', async t => {
  const { library } = made('samples/shared/shapes.cc');
  const { target, init } = await freezeTo(library, {}, 'constructed.so');
  t.is(init, undefined);
  t.regex((await said('open', target)).join(), /^opened: 2 shapes, 2 kinds/);
});

test('a frozen library can be frozen again', async t => {
  const { report } = made('samples/shared/world.c');
  const again = await freezeTo(report.target, {}, 'again.so');
  t.deepEqual(await said('open', again.target), await said('open', report.target));
});

const refusal = test.macro({
  async exec(t, options: SharedOptions, code: string, expected: readonly RegExp[]) {
    const { library } = made('test/fixtures/shared/kinds.c');
    const target = join(directory, 'refused.so');
    const error = await t.throwsAsync(freezeLibrary(library, target, options), { instanceOf: UnexecError });
    t.is(error?.code, code);
    const text = [error?.message ?? '', ...(error?.reasons ?? []).map(({ what }) => what)].join('\n');
    for (const line of expected) t.regex(text, line);
  },
  title: (_ = '', { init }: SharedOptions, code: string) => `an initialiser like ${init} is refused: ${code}`,
});
test(refusal, { init: 'init_pid' }, 'CANNOT_BE_KEPT', [/^hash differs .*0x/m, /^pid differs .*getpid.*0x/m]);
test(refusal, { init: 'init_time' }, 'CANNOT_BE_KEPT', [/^now differs .*time.*0x/m]);
test(refusal, { init: 'init_stack' }, 'CANNOT_BE_KEPT', [/^pointer leads into \[stack\]/m]);
test(refusal, { init: 'init_within' }, 'CANNOT_BE_KEPT', [
  /^pointer leads to libc.so.6\+.*inside a function/m,
]);
test(refusal, { init: 'init_jump' }, 'CANNOT_BE_KEPT', [
  /^offset 8 of a block of 200 bytes behind saved .*mangled/m,
]);
test(refusal, { init: 'init_file' }, 'CANNOT_BE_KEPT', [/descriptor 3 open \(\/dev\/null\)/]);
test(refusal, { init: 'init_thread' }, 'CANNOT_BE_KEPT', [/1 thread running/]);
test(refusal, { init: 'init_thread_local' }, 'CANNOT_BE_KEPT', [/has changed of_each_thread/]);
test(refusal, { init: 'init_crash' }, 'CALL_CRASHED', [/init_crash crashed: SIGSEGV at 0x/]);
test(refusal, { init: 'init_exit' }, 'CALL_ENDED', [/exit status 3/]);
test(refusal, { init: 'init_loop', timeout: 300 }, 'CALL_TIMED_OUT', [/within 0\.3 s/]);
test(refusal, { init: 'nothing' }, 'INITIALISER_NOT_FOUND', [/exports no function nothing/]);
test(refusal, { init: 'urf_init', scratch: ['nothing'] }, 'SCRATCH_NOT_FOUND', [/nothing/]);

test('variables that are given up as scratch are zero', async t => {
  const { library } = made('test/fixtures/shared/kinds.c');
  const options = { init: 'init_pid', scratch: ['pid', 'hash'] };
  const { target } = await freezeTo(library, options, 'scratch.so');
  const { init } = await freezeTo(target, { init: 'get_thread_local' }, 'scratch-again.so');
  t.is(init, 'get_thread_local');
});

test('numbers over parts of pointers are refused, or kept without what is left of the pointers', async t => {
  const library = compileLibrary('test/fixtures/shared/unions.c');
  await t.throwsAsync(freezeTo(library, { init: 'urf_init' }), { code: 'CANNOT_BE_KEPT' });
  const { target, pointers } = await freezeTo(library, { init: 'urf_init', clearRemains: true });
  t.true(pointers.remains >= 100);
  t.deepEqual(await said('open', target), ['opened: 300 of 300']);
});

test('a block of the image can be given to everything that takes one', async t => {
  const library = compileLibrary('test/fixtures/shared/allocations.c', ['-Wno-use-after-free']);
  const { target, rerouted } = await freezeTo(library, { init: 'urf_init' });
  t.deepEqual([...rerouted].sort(), ['free', 'malloc_usable_size', 'realloc', 'reallocarray']);
  t.deepEqual(await said('open', target), ['opened: 10 of 10']);
  t.deepEqual(withoutWho(await said('threads', target)), ['10 of 10', '10 of 10', '10 of 10', '10 of 10']);
});

test('a library that LD_PRELOAD cannot name, or that needs what is missing, is refused', async t => {
  const target = join(directory, 'none.so');
  const spaced = compileLibrary('test/fixtures/shared/unions.c', [], 'with space');
  await t.throwsAsync(freezeLibrary(spaced, target, {}), { code: 'BAD_LIBRARY_PATH' });
  const flags = ['-Durf_use=used', '-Dsnprintf=no_such_function', '-Wno-implicit-function-declaration'];
  const missing = compileLibrary('test/fixtures/shared/unions.c', flags, 'missing');
  const error = await t.throwsAsync(freezeLibrary(missing, target, { stdio: [0, 1, NULL] }), {
    instanceOf: UnexecError,
  });
  t.is(error?.code, 'LIBRARY_NOT_LOADED');
});

test('what is no library is refused', async t => {
  const target = join(directory, 'none.so');
  await t.throwsAsync(freezeLibrary('/bin/true', target, {}), { code: 'NOT_A_LIBRARY' });
  await t.throwsAsync(freezeLibrary('/no/such.so', target, {}), { code: 'LIBRARY_NOT_FOUND' });
});
