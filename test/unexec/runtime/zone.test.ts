/**
 * The allocator of the reserve against a model of what it should hold, and against programs' faults.
 */
import { join } from 'node:path';
import test from 'ava';
import { run } from '../../support/run.ts';
import { buildWithRuntime, MIB } from '../../support/runtime.ts';
import { sandbox } from '../../support/sandbox.ts';

const directory = sandbox('runtime-zone');

/** Builds a program of test/fixtures/runtime, once for each reserve. */
function build(fixture: string, reserve: number | undefined): string {
  const source = `test/fixtures/runtime/${fixture}.c`;
  const key = `${fixture}-${reserve ?? 'none'}`;
  const output = join(directory, key);
  if (!built.has(key)) {
    // The programs' faults are what the test is about, and the compiler sees some of them.
    const flags = fixture === 'faults' ? ['-fno-builtin', '-Wno-free-nonheap-object'] : [];
    buildWithRuntime({ source, output, flags, ...(reserve === undefined ? {} : { reserve }) });
    built.add(key);
  }
  return output;
}
const built = new Set<string>();

const torture = test.macro({
  exec: async (t, threads: number, operations: number, reserve: number | undefined, overflow: string) => {
    const program = build('torture', reserve);
    for (const seed of [1, 20, 300]) {
      const args = [threads, operations, seed, 300_000].map(String);
      const { stdout, signal } = await run(program, { args });
      t.is(stdout, `walk: clean at 0\n${overflow}done\n`, `seed ${seed}`);
      t.is(signal, null);
    }
  },
  title: (_, threads, operations, reserve) => {
    const where =
      typeof reserve === 'number' ? `with a reserve of ${reserve / MIB} MiB` : 'without a reserve';
    return `malloc keeps every block whole in ${threads} thread(s) of ${operations} operations, ${where}`;
  },
});
test(torture, 1, 60_000, 64 * MIB, 'overflow none\n');
test(torture, 1, 60_000, MIB, 'overflow some\n');
test(torture, 1, 60_000, undefined, '');
test(torture, 4, 20_000, 128 * MIB, 'overflow none\n');
test(torture, 4, 20_000, MIB, 'overflow some\n');

test('a full reserve overflows into mapped memory, which is counted and comes back', async t => {
  const { stdout } = await run(build('overflow', MIB));
  const full = 'overflow as many bytes as lie outside, walk clean';
  t.deepEqual(stdout.trimEnd().split('\n'), [
    'generation 0, default 1, reserve of 1048576',
    'at first: overflow none, walk clean',
    `full: ${full}`,
    'a block outside lies outside',
    `some given back: ${full}`,
    `one grown: ${full}`,
    `a large one: ${full}`,
    'all given back: overflow none, walk clean',
    'a new one lies inside',
  ]);
});

const fault = test.macro({
  exec: async (t, mode: string, reason: string) => {
    const { stderr, signal } = await run(build('faults', MIB), { args: [mode] });
    t.is(signal, 'SIGABRT');
    t.regex(stderr, /^unexec runtime: the pointer 0x[0-9a-f]{16} is wrong: /);
    t.true(stderr.trimEnd().endsWith(`wrong: ${reason}`), stderr);
  },
  title: (_, mode) => `free tells a program's fault: ${mode}`,
});
test(fault, 'double', 'it has been freed already');
test(fault, 'last', 'it has been freed, or was never allocated');
test(fault, 'inside', "it is no block's start");
test(fault, 'middle', "its size was overwritten, or it is no block's start");
test(fault, 'overrun', "its size was overwritten, or it is no block's start");
test(fault, 'late', 'the memory before it was overwritten after it was freed');

test('unexec_zone_check() tells what was overwritten', async t => {
  const { stdout } = await run(build('faults', MIB), { args: ['report'] });
  t.deepEqual(stdout.trimEnd().split('\n'), [
    'at first: nothing',
    "overrun: a block's tag was overwritten",
    'after a free: nothing',
    'written to the list: a list of free blocks leads elsewhere',
    'written to the end: the end of a free block was overwritten',
  ]);
});
