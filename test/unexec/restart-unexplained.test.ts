/**
 * Words that are another in each run: told by their place and what they seem to be, refused with `strict`, and
 * given up as scratch.
 */
import { openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { prepare, type RestartOptions, restart, UnexecError } from '../../unexec/index.ts';
import { run } from '../support/run.ts';
import { buildWithRuntime, MIB } from '../support/runtime.ts';
import { sandbox } from '../support/sandbox.ts';

const directory = sandbox('restart-unexplained');
const nowhere = openSync('/dev/null', 'r+');
const program = buildWithRuntime({
  source: 'test/fixtures/runs/unalike.c',
  output: join(directory, 'unalike'),
});
const prepared = `${program}.prepared`;
await prepare(program, prepared, { reserve: MIB });

const dump = (name: string, options: RestartOptions) =>
  restart(prepared, join(directory, name), { stdio: [nowhere, nowhere, nowhere], strict: true, ...options });

/** What is refused, without values and addresses. */
async function refused(options: RestartOptions): Promise<string[]> {
  try {
    await dump('refused', options);
    return [];
  } catch (error) {
    if (!(error instanceof UnexecError)) throw error;
    return error.reasons.map(({ what }) => what.replaceAll(/0x[\da-f]{5,}/g, '…'));
  }
}
const BETWEEN = 'unexplained: … in one run, … in the other';

test('restart() tells of a word that it cannot explain by place, both values, and what it seems to be', async t => {
  const reasons = await refused({});
  t.true(
    reasons.includes(
      `place+0x38 (.bss): ${BETWEEN}: a pointer to code+0x${reasonOffset(reasons)} that libc has mangled (setjmp, atexit)`,
    ),
    reasons.join('\n'),
  );
  t.true(
    reasons.includes(
      `seed (.bss): ${BETWEEN}: another number each time: a random one (a hash seed), or made of one`,
    ),
  );
  t.true(
    reasons.some(what =>
      /^state\+0x8 \(\.data\): unexplained: .*: the number of the process \(getpid\)$/.test(what),
    ),
  );
});

/** Where setjmp was called from. */
const reasonOffset = (reasons: readonly string[]): string =>
  /place\+0x38 .* to code\+0x(\w+)/.exec(reasons.join('\n'))?.[1] ?? '';

test('restart() tells of a word in a block from where the block is reached', async t => {
  const reasons = await refused({ args: ['things'], scratch: ['seed', 'state+8:8', 'place'] });
  const hash = `${BETWEEN}: an address of heap >> 4: a hash`;
  t.deepEqual(
    reasons.map(what => what.replace(/ at …/, '')),
    [
      `offset 0x8 of a block of 24 bytes, reached from things (.bss) over 2 blocks: ${hash}`,
      `offset 0x8 of a block of 24 bytes, reached from things (.bss) over 1 block: ${hash}`,
      `offset 0x8 of a block of 24 bytes, reached from things (.bss): ${hash}`,
    ],
  );
});

test('restart() zeroes what is given up as scratch, and leaves what is beside it', async t => {
  const report = await dump('scratch', { scratch: ['seed', 'state+8:8', 'place'] });
  t.deepEqual(report.scratch.map(({ name, size }) => [name, size]).sort(), [
    ['place', 200],
    ['seed', 8],
    ['state+0x8', 8],
  ]);
  t.true(report.remarks.some(remark => /^216 bytes are scratch, and zero: /.test(remark)));
  t.like(report.pointers, { unexplained: 0, nulled: 0, doubtful: 0 });
  const { stdout } = await run(join(directory, 'scratch'));
  t.is(stdout, 'seed 0, state 7 0, place 0\n');
});

test('restart() tells how many pointers lead from where to where, and what blocks hang on, where it is asked to', async t => {
  const give = ['seed', 'state+8:8', 'place'];
  const { map } = await dump('map', { args: ['things'], scratch: give, strict: false, details: true });
  t.deepEqual(
    map?.ways.filter(({ from, to }) => from === 'heap' || to === 'heap'),
    [
      { from: 'heap', to: 'heap', kind: 'inside', pointers: 2 },
      { from: 'data', to: 'heap', kind: 'inside', pointers: 1 },
    ],
  );
  t.deepEqual(map?.blocks, {
    blocks: 3,
    bytes: 72,
    unreachable: { blocks: 0, bytes: 0 },
    dangling: 0,
    roots: [{ name: 'things (.bss)', blocks: 3, bytes: 72, largest: 24 }],
  });
  t.is((await dump('no-map', { scratch: give })).map, undefined);
});

test('restart() settles with a third run what two explain by coincidence', async t => {
  const give = ['seed', 'state+8:8', 'place'];
  const slides = (await dump('three', { scratch: give, runs: 3 })).slides;
  t.is(new Set(slides).size, 3);
  // A word that only the third run has otherwise.
  const counter = join(directory, 'counter');
  writeFileSync(counter, 'ab');
  const options = { args: ['things', counter], scratch: [...give, 'things'] };
  const two = await dump('two', { ...options, strict: false });
  t.is(two.pointers.unexplained, 3);
  writeFileSync(counter, 'ab');
  const three = await dump('coincidence', { ...options, strict: false, runs: 3 });
  t.is(three.pointers.unexplained, 4);
  t.regex(
    three.doubtful.join('\n'),
    /^coincidence \(\.bss\): unexplained: 0x1 in one run, 0x2 in the other: /m,
  );
});

test('restart() refuses scratch that is no variable, before and after the program ran', async t => {
  await t.throwsAsync(dump('bad', { scratch: ['seed:'] }), { code: 'BAD_SCRATCH' });
  await t.throwsAsync(dump('bad', { scratch: ['nothing'] }), { code: 'SCRATCH_NOT_FOUND' });
});
