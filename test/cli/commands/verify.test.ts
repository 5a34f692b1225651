import { chmodSync, copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { parseVerify, renderVerified } from '../../../cli/commands/verify.ts';
import { UsageError } from '../../../cli/errors.ts';
import { PLAIN } from '../../../cli/render.ts';
import { perlArguments, unexec } from '../../support/command.ts';
import { conformanceFile } from '../../support/conformance-files.ts';
import { sandbox } from '../../support/sandbox.ts';

const directory = sandbox('verify-command');
const missing = join(directory, 'missing');
const text = join(directory, 'text');
writeFileSync(text, 'neither format\n');

/** /bin/true with an e_entry that is nowhere. */
const broken = join(directory, 'broken');
const bytes = readFileSync('/bin/true');
bytes.writeBigUint64LE(0xdead_0000n, 24);
writeFileSync(broken, bytes);

test('parseVerify() takes files, and -- before those that begin with a dash', t => {
  t.deepEqual(parseVerify(['a', '-v', 'b']), { type: 'verify', files: ['a', 'b'] });
  t.deepEqual(parseVerify(['--', '-a', '--json']), { type: 'verify', files: ['-a', '--json'] });
  t.throws(() => parseVerify([]), { instanceOf: UsageError });
});

test('unexec verify exits with 0 for sound files and says what they are', async t => {
  const { status, stdout, stderr } = await unexec(['verify', '/bin/true', process.execPath]);
  t.deepEqual([status, stderr], [0, ''], stdout);
  t.regex(stdout, /^sound \/bin\/true: ELF x86_64 .*executable\nsound .*node: ELF x86_64 .*executable\n$/);
});

test('unexec verify exits with 7 for findings and tells them on stdout', async t => {
  const { status, stdout, stderr } = await unexec(['verify', broken]);
  t.deepEqual([status, stderr], [7, '']);
  t.regex(stdout, /^1 finding .*broken: ELF x86_64 .*\n {2}error {2}ELF: e_entry is 0xdead0000, expected /);
});

test('unexec verify --verbose tells the code of a finding', async t => {
  const { stdout } = await unexec(['verify', '-v', broken]);
  t.regex(stdout, /^ {2}error {2}ELF_ENTRY {2}ELF: e_entry/m);
});

test('unexec verify --quiet is silent about sound files only', async t => {
  const { status, stdout } = await unexec(['verify', '--quiet', '/bin/true', broken]);
  t.is(status, 7);
  t.regex(stdout, /^1 finding/);
  for (const words of [
    ['verify', '-q'],
    ['--quiet', 'verify'],
  ]) {
    t.like(await unexec([...words, '/bin/true']), { status: 0, stdout: '', stderr: '' });
  }
});

test('unexec verify --json tells all files in one object', async t => {
  const { status, stdout, stderr } = await unexec(['verify', '--json', '/bin/true', broken]);
  const report = JSON.parse(stdout);
  t.deepEqual([status, stderr, report.ok, report.exitCode], [7, '', false, 7]);
  t.like(report.files[0], { path: '/bin/true', ok: true, findings: [] });
  t.like(report.files[1].findings[0], { code: 'ELF_ENTRY', severity: 'error', address: '0xdead0000' });
});

test('unexec verify goes on after a file that it cannot read, and exits with 1', async t => {
  const { status, stdout, stderr } = await unexec(['verify', missing, text, directory, '/bin/true']);
  t.is(status, 1);
  t.regex(stderr, /^unexec: .*missing cannot be read: ENOENT/m);
  t.regex(stderr, /^unexec: .*text is neither an ELF nor a Mach-O file$/m);
  t.regex(stderr, /^unexec: .* is no regular file$/m);
  t.regex(stdout, /^sound \/bin\/true: /);
  const { stdout: json } = await unexec(['verify', '--json', missing, '/bin/true']);
  const { files, ok, exitCode } = JSON.parse(json);
  t.deepEqual([ok, exitCode, files[0].error.code, files[1].ok], [false, 1, 'FILE_UNREADABLE', true]);
});

test('unexec verify finds a frozen file sound, and one that is not what it says it is wrong', async t => {
  const target = join(directory, 'frozen');
  const { status, stderr } = await unexec(perlArguments(target, '1'));
  t.is(status, 0, stderr);
  t.is((await unexec(['verify', target])).status, 0);
  const frozen = readFileSync(target);
  const at = frozen.indexOf('"kind":"heap"');
  const start = frozen.lastIndexOf('"start":"0x', at) + '"start":"0x'.length;
  frozen.write(frozen.toString('latin1', start + 3, start + 4) === '1' ? '2' : '1', start + 3);
  const changed = join(directory, 'changed');
  writeFileSync(changed, frozen);
  const outcome = await unexec(['verify', '-v', changed]);
  t.is(outcome.status, 7);
  t.regex(
    outcome.stdout,
    /UNEXEC_IMAGE {2}unexec: the image is wrong: no section begins at 0x\w+ \(\[heap\]\)/,
  );
});

test('unexec verify looks at each slice of a fat Mach-O file, and says which a finding is about', async t => {
  const { path } = conformanceFile('fsevents fsevents.node');
  const sound = await unexec(['verify', path]);
  t.deepEqual(
    [sound.status, sound.stdout],
    [0, `sound ${path}: Mach-O x86_64 bundle, Mach-O arm64 bundle\n`],
  );
  const fat = readFileSync(path);
  // The second fat_arch is at 28, and its offset at 8 in it; what is changed there is in signed code.
  const slice = fat.readUInt32BE(28 + 8);
  fat[slice + 0x5000] = (fat[slice + 0x5000] ?? 0) ^ 1;
  const changed = join(directory, 'changed.node');
  writeFileSync(changed, fat);
  const { status, stdout } = await unexec(['verify', '--json', changed]);
  const [finding, ...others] = JSON.parse(stdout).files[0].findings;
  t.deepEqual([status, others], [7, []]);
  t.like(finding, { code: 'MACHO_PAGE_HASH', slice: 'arm64', severity: 'error' });
  t.is(Math.floor((finding.offset - slice) / 0x5000), 1);
});

test('a program that is called like a command is frozen by its path', async t => {
  const program = join(directory, 'verify');
  copyFileSync('/usr/bin/perl', program);
  chmodSync(program, 0o755);
  const { status, stderr } = await unexec(['./verify', 'out', '--', '-e', 'kill STOP => $$'], {
    cwd: directory,
  });
  t.is(status, 0, stderr);
});

test('renderVerified() shows control characters of paths and messages, and which slice a finding is about', t => {
  const lines = renderVerified(
    {
      path: 'a\nb',
      what: ['Mach-O x86_64 executable', 'Mach-O arm64 executable'],
      findings: [{ code: 'X', severity: 'strict', message: 'tab\t', slice: 'arm64' }],
    },
    PLAIN,
    { quiet: false, verbose: false },
  );
  t.deepEqual(lines, [
    '1 finding a\\x0ab: Mach-O x86_64 executable, Mach-O arm64 executable',
    '  strict  arm64: tab\\x09',
  ]);
});
