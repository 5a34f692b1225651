/** `--thin`: pages that are still those of mapped files are left there, and these must be as they were. */
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  copyFileSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import type { FreezeOptions } from '../../../../unexec/freeze.ts';
import { inspectFile } from '../../../../unexec/inspect.ts';
import { readManifest } from '../../../../unexec/read-manifest.ts';
import { verifyFile } from '../../../../unexec/verify-file.ts';
import { compileFixture } from '../../../support/fixtures.ts';
import { freezeProgram } from '../../../support/freeze-program.ts';
import { run } from '../../../support/run.ts';
import { freshDirectory, sameResult } from '../../../support/same-result.ts';

const same = test.macro({
  exec: async (t, fixture: string, options: FreezeOptions & { flags?: readonly string[] } = {}) => {
    await sameResult(t, `${fixture}.c`, { thin: true, ...options });
  },
  title: (what, fixture) => `a thin image goes on as a whole one: ${what ?? fixture}`,
});

test('a dynamic program', same, 'state/plain');
test('threads', same, 'state/threads');
test('a static program', same, 'state/plain', { flags: ['-static'] });
test('guards, protections and sparse memory', same, 'state/memory');
test('files that are mapped, privately and shared', same, 'files/mapped-privately');
test('after a training run', same, 'state/plain', { train: { args: [], milliseconds: 300 } });

interface Frozen {
  readonly directory: string;
  readonly program: string;
  readonly data: string;
  readonly path: string;
}

/** Freezes a program of our own that maps a file of our own, both of which may be changed. */
async function freezeMapper(options: FreezeOptions = {}): Promise<Frozen> {
  const directory = freshDirectory();
  const program = `${directory}.program`;
  copyFileSync(compileFixture('files/mapped-privately.c'), program);
  const path = `${directory}.frozen`;
  await freezeProgram(program, path, { at: 'stop', thin: true, ...options, args: [directory] });
  return { directory, program, data: join(directory, 'big'), path };
}

test('a thin image is smaller than a whole one, by what it has left', async t => {
  const whole = await freezeMapper({ thin: false });
  const { path } = await freezeMapper();
  const manifest = readManifest(path);
  const stored = (at: string): number =>
    readManifest(at).regions.reduce((sum, region) => sum + region.stored, 0);
  const left = manifest.regions.reduce((sum, { inFile = 0 }) => sum + inFile, 0);
  // The file that is mapped has 64 MiB, of which a page is written to.
  t.true(stored(path) < 2 << 20, `${stored(path)}`);
  t.true(left > 65 << 20, `${left}`);
  t.true(stored(whole.path) > 60 << 20);
  t.true(statSync(path).blocks * 512 < 4 << 20);
  t.is(readManifest(whole.path).files, undefined);
});

test('what is in which file is in the manifest, and inspect tells it', async t => {
  const { path, program, data } = await freezeMapper();
  const [image] = (await inspectFile(path)).images;
  const unexec = image?.unexec;
  if (unexec?.style !== 'resume') return t.fail();
  const byPath = new Map(unexec.files.map(file => [file.path, file]));
  t.regex(byPath.get(program)?.buildId ?? '', /^[0-9a-f]{40}$/);
  t.is(byPath.get(data)?.buildId, null);
  // Cut off to milliseconds; the Date of statSync() is rounded.
  const changed = new Date(Number(statSync(data, { bigint: true }).mtimeNs / 1_000_000n));
  t.is(byPath.get(data)?.changed, changed.toISOString());
  const big = unexec.regions.filter(({ name, protection }) => name === data && protection.endsWith('p'));
  t.is(
    big.reduce((sum, { sharedWithFile }) => sum + sharedWithFile, 0),
    (64 << 20) - 3 * 4096,
  );
  t.true(unexec.fresh.some(text => text.includes(data)));
  const parts = image?.sections.filter(({ name }) => name === 'big(file).rw-') ?? [];
  t.true(parts.length > 0 && parts.every(({ offset }) => offset === null));
});

const refuses = test.macro({
  exec: async (t, change: (frozen: Frozen) => void, of: 'program' | 'data', why: RegExp) => {
    const frozen = await freezeMapper();
    t.deepEqual(verifyFile(frozen.path).findings, []);
    change(frozen);
    const { stdout, stderr, status } = await run(frozen.path);
    t.deepEqual([stdout, status], ['', 125]);
    t.regex(stderr, why);
    t.true(stderr.includes(frozen[of]), stderr);
    t.is(stderr.split('\n').length, 2);
    const findings = verifyFile(frozen.path).findings;
    t.deepEqual(
      findings.map(({ code }) => code),
      ['UNEXEC_FILES'],
    );
    t.true(findings[0]?.message.includes(frozen[of]));
  },
  title: what => `a thin image does not resume where ${what}`,
});

test('a mapped file is gone', refuses, ({ data }) => unlinkSync(data), 'data', /ENOENT/);
test('a mapped file has grown', refuses, ({ data }) => appendFileSync(data, 'x'), 'data', /its size differs/);
test(
  'a mapped file was changed',
  refuses,
  ({ data }) => utimesSync(data, 1, 1),
  'data',
  /its time of change differs/,
);
test('the program is gone', refuses, ({ program }) => unlinkSync(program), 'program', /ENOENT/);
test(
  'the program was built anew',
  refuses,
  ({ program }) => {
    unlinkSync(program);
    copyFileSync(compileFixture('files/mapped-privately.c', ['-O2']), program);
  },
  'program',
  /its build-id differs/,
);
test(
  'the program was cut off',
  refuses,
  ({ program }) => truncateSync(program, 5000),
  'program',
  /its size differs/,
);
test(
  'a pipe has the name of the program',
  refuses,
  ({ program }) => {
    unlinkSync(program);
    execFileSync('mkfifo', [program]);
  },
  'program',
  /build-id of \S+: ESPIPE/,
);
test(
  'a pipe has the name of a mapped file',
  refuses,
  ({ data }) => {
    unlinkSync(data);
    execFileSync('mkfifo', [data]);
  },
  'data',
  /its size differs/,
);
test(
  'another file has the name of the program',
  refuses,
  ({ program }) => {
    renameSync(program, `${program}.old`);
    writeFileSync(program, 'short');
  },
  'program',
  /its build-id differs/,
);

const MAPS = `
import mmap, os, signal, sys
file = open(sys.argv[1], 'rb')
mapped = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
os.kill(os.getpid(), signal.SIGSTOP)
print(len(mapped), len(file.read()))
`;

test('a file that was last changed before 1970 is known by that time', async t => {
  const directory = freshDirectory();
  const data = join(directory, 'data');
  writeFileSync(data, 'x'.repeat(10_000));
  utimesSync(data, new Date(-1_000_750), new Date(-1_000_750));
  const path = `${directory}.frozen`;
  await freezeProgram('/usr/bin/python3', path, { at: 'stop', thin: true, args: ['-c', MAPS, data] });
  t.deepEqual(verifyFile(path).findings, []);
  const unexec = (await inspectFile(path)).images[0]?.unexec;
  const changed = unexec?.style === 'resume' ? unexec.files.find(file => file.path === data)?.changed : '';
  t.is(changed, '1969-12-31T23:43:19.250Z');
  const { stdout, stderr, status } = await run(path);
  t.deepEqual([stdout, stderr, status], ['10000 10000\n', '', 0]);
  utimesSync(data, new Date(-1_000_500), new Date(-1_000_500));
  t.regex((await run(path)).stderr, /its time of change differs\n$/);
});

test('a copy of the program is known by its build-id, whenever it was made', async t => {
  const { path, program } = await freezeMapper();
  const bytes = readFileSync(program);
  unlinkSync(program);
  writeFileSync(program, bytes);
  const { status, stderr } = await run(path);
  t.deepEqual([status, stderr], [0, '']);
});

test('a changed file leads to the normal start, where there is one', async t => {
  const { path, program, data, directory } = await freezeMapper({ orStart: true });
  appendFileSync(data, 'x');
  const itself = await run(program, { args: [directory] });
  const { stdout, stderr, status } = await run(path);
  t.is(status, 0);
  t.is(stdout, itself.stdout);
  t.regex(
    stderr,
    new RegExp(`started anew, as it cannot be resumed: ${data}, .* is not the file that it was: [^\n]*\n$`),
  );
});

test('a file that has been replaced meanwhile is stored whole', async t => {
  const directory = freshDirectory();
  const path = `${directory}.frozen`;
  const program = compileFixture('files/mapped-privately.c');
  const { written } = await freezeProgram(program, path, {
    at: 'stop',
    thin: true,
    args: [directory, 'replaced'],
  });
  const names = readManifest(path).files?.map(file => file.path) ?? [];
  t.false(names.includes(join(directory, 'big')));
  const { stdout, status } = await run(path);
  const itself = await run(program, { args: [freshDirectory(), 'replaced'] });
  t.deepEqual([written + stdout, status], [itself.stdout, 0]);
});
