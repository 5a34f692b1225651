import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import test from 'ava';
import { UnexecError } from '../../unexec/errors.ts';
import { freeze } from '../../unexec/freeze.ts';
import { compileFixture } from '../support/fixtures.ts';
import { freezeProgram } from '../support/freeze-program.ts';
import { freshDirectory } from '../support/same-result.ts';
import { ROOT, sandbox } from '../support/sandbox.ts';

const directory = sandbox('freeze');

/** Ids of processes that run this program. */
function running(program: string): string[] {
  return readdirSync('/proc').filter(name => {
    try {
      return /^\d+$/.test(name) && readlinkSync(`/proc/${name}/exe`) === program;
    } catch {
      return false;
    }
  });
}

async function refusal(program: string, name: string, args: readonly string[] = []): Promise<UnexecError> {
  const error = await freezeProgram(program, join(directory, name), { at: 'stop', args }).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof UnexecError) return error;
  throw new Error(`${program} was not refused: ${String(error)}`);
}

test.serial('everything that cannot be kept is told at once, each with a remedy', async t => {
  const program = compileFixture('image/many-reasons.c');
  const error = await refusal(program, 'many-reasons', [freshDirectory()]);
  t.is(error.code, 'CANNOT_BE_KEPT');
  t.regex(error.message, /many-reasons-\w+ cannot be frozen as it is, for [4-9] reasons$/);
  const codes = error.reasons.map(({ code }) => code);
  for (const code of ['CHILDREN', 'POSIX_TIMER_CLOCK', 'CWD_DELETED']) t.true(codes.includes(code), code);
  t.true(
    codes.some(code => code.startsWith('FD_')),
    codes.join(' '),
  );
  for (const { code, what, remedy } of error.reasons) {
    t.true(what.length > 10 && remedy.length > 10, `${code}: ${what}: ${remedy}`);
  }
  const child = /children: (\d+) \(many-reasons/.exec(
    error.reasons.find(({ code }) => code === 'CHILDREN')?.what ?? '',
  );
  t.truthy(child, 'the child is named');
  // The child asked to die with its parent, which takes the kernel a moment.
  for (let waited = 0; waited < 100 && running(program).length > 0; waited++) await setTimeout(20);
  t.deepEqual(running(program), []);
});

test.serial('a refused program is ended, and nothing of its target is left', async t => {
  const program = compileFixture('image/many-reasons.c');
  const own = freshDirectory();
  const args = [freshDirectory()];
  const error = await t.throwsAsync(freeze(program, join(own, 'target'), { at: 'stop', args }));
  t.true(error instanceof UnexecError && error.code === 'CANNOT_BE_KEPT', String(error));
  t.deepEqual(readdirSync(own), []);
});

test('a 32-bit program is refused by name', async t => {
  const program = join(directory, '32-bit');
  const source = join(ROOT, 'test/fixtures/image/32-bit.c');
  const flags = ['-m32', '-O1', '-nostdlib', '-static', '-fno-pie', '-no-pie', '-fno-stack-protector'];
  execFileSync('gcc', [...flags, '-o', program, source]);
  const { code, reasons } = await refusal(program, '32-bit.out');
  t.is(code, 'CANNOT_BE_KEPT');
  t.is(reasons.length, 1);
  t.is(reasons[0]?.code, 'THREAD_32_BIT');
  t.regex(reasons[0]?.what ?? '', /^thread \d+ runs 32-bit code \(cs is 0x23, expected 0x33\)$/);
});

for (const [name, value] of [
  ['platform', 'darwin'],
  ['arch', 'riscv64'],
] as const) {
  test(`process.${name} other than ours is refused before anything is started`, t => {
    const library = join(ROOT, 'build/unexec/freeze.js');
    const target = join(directory, `unsupported-${name}`);
    const script = `
      import { freeze } from ${JSON.stringify(library)};
      Object.defineProperty(process, ${JSON.stringify(name)}, { value: ${JSON.stringify(value)} });
      const said = await freeze('/bin/true', ${JSON.stringify(target)}).then(() => 'done', e => e.code + ' ' + e.message);
      console.log(said);`;
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      encoding: 'utf8',
    });
    t.regex(stdout, new RegExp(`^UNSUPPORTED_MACHINE .*${value}`), stderr);
    t.false(existsSync(target));
  });
}

test.serial('an image is its owner’s alone, already while it is written', async t => {
  const program = compileFixture('image/sparse.c');
  for (const [umask, mode] of [
    [0o000, 0o700],
    [0o022, 0o700],
    [0o277, 0o500],
  ] as const) {
    const own = freshDirectory();
    const target = join(own, 'target');
    const seen = new Set<number>();
    const before = process.umask(umask);
    try {
      await freeze(program, target, {
        at: 'stop',
        args: [directory],
        onPhase: phase => {
          if (phase !== 'writing' && phase !== 'finishing') return;
          for (const name of readdirSync(own)) seen.add(statSync(join(own, name)).mode & 0o7777);
        },
      });
    } finally {
      process.umask(before);
    }
    t.is(statSync(target).mode & 0o7777, mode);
    t.true(seen.size > 0, 'the file was seen while it was written');
    for (const then of seen) t.is(then & 0o077, 0, then.toString(8));
  }
});

test.serial('nothing of the caller’s environment is in an image, unless it is to be kept', async t => {
  const marker = `MARKER_${process.pid}_${Date.now()}`;
  process.env['UNEXEC_TEST_SECRET'] = marker;
  try {
    for (const keepEnv of [false, true]) {
      const { path } = await freezeProgram('/usr/bin/perl', join(directory, `keep-${keepEnv}`), {
        at: 'stop',
        args: ['-e', 'kill STOP => $$'],
        keepEnv,
      });
      t.is(readFileSync(path).includes(marker), keepEnv);
    }
  } finally {
    delete process.env['UNEXEC_TEST_SECRET'];
  }
});

test('the report tells what was done', async t => {
  const program = compileFixture('image/sparse.c');
  const phases: string[] = [];
  const progress: [number, number][] = [];
  const target = join(directory, 'report');
  const report = await freeze(program, target, {
    at: 'stop',
    args: [directory],
    onPhase: phase => phases.push(phase),
    onProgress: (done, total) => progress.push([done, total]),
  });
  t.deepEqual(phases, ['starting', 'running', 'capturing', 'writing', 'finishing', 'done']);
  t.like(report, { program, target, reached: 'stop', threads: 1, descriptors: 3, pid: undefined });
  t.is(report.fileSize, statSync(target).size);
  t.true(report.storedBytes % 4096 === 0 && report.storedBytes < report.fileSize);
  t.true(report.steps.length > 50);
  const last = progress.at(-1);
  t.is(last?.[0], last?.[1], 'progress ends where it was to end');
  const { toFreezePoint, stopped, contents, total } = report.milliseconds;
  t.true(contents <= stopped && toFreezePoint + stopped <= total);
});
