import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { parsePrepare, renderPrepared } from '../../../cli/commands/prepare.ts';
import { UsageError } from '../../../cli/errors.ts';
import { PLAIN } from '../../../cli/render.ts';
import { unexec } from '../../support/command.ts';
import { conformanceFile } from '../../support/conformance-files.ts';
import { sandbox } from '../../support/sandbox.ts';

const directory = sandbox('prepare-command');
/** A program with 56 bytes of room in its header. */
const { path: program } = conformanceFile('@rescript/darwin-arm64 bin/rescript.exe');

test('parsePrepare() takes files and a size', t => {
  t.deepEqual(parsePrepare(['in', 'out', '--reserve', '256M']), {
    type: 'prepare',
    input: 'in',
    target: 'out',
    options: { reserve: 256 * 1024 * 1024, extend: false },
  });
  t.deepEqual(parsePrepare(['--extend', '--reserve=0x4000', 'in', 'in']), {
    type: 'prepare',
    input: 'in',
    target: 'in',
    options: { reserve: 0x4000, extend: true },
  });
});

const rejected: readonly (readonly [words: readonly string[], message: RegExp])[] = [
  [['in', 'out'], /required option '--reserve <size>' not specified/],
  [['in', '--reserve', '1M'], /missing required argument 'out'/],
  [['in', 'out', 'more', '--reserve', '1M'], /too many arguments/],
  [['in', 'out', '--reserve', 'much'], /'much' is no size/],
  [['in', 'out', '--reserve', '1M', '--shrink'], /unknown option '--shrink'/],
];
for (const [words, message] of rejected) {
  test(`parsePrepare() rejects: ${words.join(' ')}`, t => {
    const error = t.throws(() => parsePrepare(words), { instanceOf: UsageError, message });
    t.is(error?.hint, 'unexec prepare --help tells the options');
  });
}

test('unexec prepare writes an executable that is sound, and tells so on stderr', async t => {
  const target = join(directory, 'prepared');
  const { status, stdout, stderr } = await unexec(['prepare', program, target, '--reserve', '64M']);
  t.deepEqual([status, stdout], [0, ''], stderr);
  t.regex(stderr, new RegExp(`^written ${target}\n {2}reserve +64.0 MiB at 0x1\\w+, at the end of __DATA\n`));
  t.regex(stderr, /^ {2}signed +ad hoc$/m);
  t.is((await unexec(['verify', target])).status, 0);
  t.is(statSync(target).mode & 0o111, 0o111 & ~process.umask());
});

test('unexec prepare --json writes one object to stdout', async t => {
  const target = join(directory, 'json');
  const { status, stdout, stderr } = await unexec([
    ...['--json', 'prepare', program, target],
    ...['--extend', '--reserve', '1G'],
  ]);
  t.deepEqual([status, stderr], [0, '']);
  const report = JSON.parse(stdout);
  t.like(report, { ok: true, exitCode: 0, input: program, target, mode: 'extend', reserve: 2 ** 30 });
  t.regex(report.address, /^0x1[0-9a-f]+$/);
});

test('unexec prepare --quiet is silent', async t => {
  const target = join(directory, 'quiet');
  const { status, stdout, stderr } = await unexec(['prepare', '-q', program, target, '--reserve', '1M']);
  t.deepEqual([status, stdout, stderr], [0, '', '']);
});

test('unexec prepare tells what is no executable, and writes nothing', async t => {
  const target = join(directory, 'none');
  const text = join(directory, 'text');
  writeFileSync(text, 'no executable\n');
  const { status, stderr } = await unexec(['prepare', text, target, '--reserve', '1M']);
  t.is(status, 1);
  t.regex(stderr, /^unexec: .*text is no Mach-O file/);
  t.false(existsSync(target));
});

test('unexec prepare exits with 5 where it cannot write, and leaves the input as it was', async t => {
  const before = readFileSync(program);
  const { status } = await unexec(['prepare', program, '/no/such/directory/x', '--reserve', '1M']);
  t.is(status, 5);
  t.deepEqual(readFileSync(program), before);
});

test('renderPrepared() tells of a segment of its own, and remarks', t => {
  const report = {
    input: 'in',
    target: '/tmp/o\nut',
    mode: 'segment',
    segment: '__DATA_HEAP',
    address: 0x1_0001_0000n,
    reserve: 0x4000,
    signed: false,
    runtime: true,
    remarks: ['a remark'],
  } as const;
  t.deepEqual(renderPrepared(report, PLAIN), [
    'written /tmp/o\\x0aut',
    '  reserve  16.0 KiB at 0x100010000, segment __DATA_HEAP',
    '  runtime  there, and told of the reserve',
    '  remark   a remark',
  ]);
});
