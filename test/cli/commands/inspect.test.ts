import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { parseInspect } from '../../../cli/commands/inspect.ts';
import { UsageError } from '../../../cli/errors.ts';
import { elfBytes } from '../../../formats/elf/index.ts';
import { core } from '../../formats/elf/support/core.ts';
import { fat, linked } from '../../formats/macho/support/tools.ts';
import { unexec } from '../../support/command.ts';
import { freezeProgram } from '../../support/freeze-program.ts';
import { sandbox } from '../../support/sandbox.ts';

const directory = sandbox('inspect-command');
const frozen = join(directory, `frozen-${'long-name-'.repeat(12)}`);
const leaking = join(directory, 'leaking');
const VALUE = 'corr3ct-horse-battery';

test.before(async () => {
  await freezeProgram('/usr/bin/perl', frozen, { args: ['-e', 'kill STOP => $$'], at: 'stop' });
  const memory = Buffer.from(`\0DB_PASSWORD=${VALUE}\0`);
  writeFileSync(leaking, elfBytes(core([memory])));
});

test('parseInspect() takes one file and one question', t => {
  t.like(parseInspect(['a']), { file: 'a', about: 'file', steps: false });
  t.like(parseInspect(['a', '--steps', '-v', '--json']), { about: 'file', steps: true });
  t.like(parseInspect(['--secrets', 'a']), { about: 'secrets' });
  t.like(parseInspect(['--address', '0x40', 'a']), { about: 'address', address: 0x40n });
  for (const words of [
    [],
    ['a', 'b'],
    ['a', '--address', '40'],
    ['a', '--address', `0x${'f'.repeat(17)}`],
    ['a', '--address', '0x1', '--secrets'],
    ['a', '--steps', '--secrets'],
  ]) {
    t.throws(() => parseInspect(words), { instanceOf: UsageError }, words.join(' '));
  }
});

test('unexec inspect tells all about a frozen process within 100 columns', async t => {
  for (const words of [[], ['--steps'], ['--verbose']]) {
    const { status, stdout, stderr } = await unexec(['inspect', frozen, ...words]);
    t.deepEqual([status, stderr], [0, ''], words.join(' '));
    for (const title of ['segments', 'memory by kind', 'malloc zones', 'threads', 'descriptors', 'modules']) {
      t.true(stdout.includes(`\n\n${title}\n`), title);
    }
    t.regex(stdout, /^ {2}frozen +\/usr\/bin\/perl, style resume, by unexec \d/m);
    t.regex(stdout, /^ +\d+ {2}perl {2}0x[0-9a-f]+ {2}kill\+0x[0-9a-f]+$/m);
    t.regex(stdout, /^ {2}arguments, environment and auxiliary vector$/m);
    t.is(/^ +mmap 0x/m.test(stdout), words[0] === '--steps');
    t.is(/^regions$/m.test(stdout), words[0] === '--verbose');
    const long = stdout.split('\n').filter(line => [...line].length > 100);
    t.deepEqual(long, []);
  }
});

test('unexec inspect tells every slice of a fat file', async t => {
  const path = fat(
    linked({ arch: 'x86_64', fixups: 'dyld-info' }),
    linked({ arch: 'arm64', fixups: 'chained' }),
  );
  const { stdout, status } = await unexec(['inspect', path]);
  t.is(status, 0);
  t.regex(stdout, /^ {2}fat Mach-O, 2 architectures, /m);
  t.is(stdout.match(/^ {2}kind +Mach-O (?:x86_64|arm64) executable$/gm)?.length, 2);
  t.regex(stdout, /^ {2}0x1\S+ +r-x .* __TEXT,__text$/m);
});

test('unexec inspect --address tells what is there', async t => {
  const { stdout, status } = await unexec(['inspect', '--address', '0x10000001', leaking]);
  t.is(status, 0);
  t.regex(stdout, /^ {2}section +none; it is segment PT_LOAD rw-$/m);
  t.regex(stdout, /^ {2}offset +0x1001$/m);
  t.regex(stdout, /^ {2}0x10000000 {2}00 44 42 .* {2}\.DB_PASSWORD=cor$/m);
  const { status: absent, stderr } = await unexec(['inspect', '--address', '0xdead0000', leaking]);
  t.is(absent, 1);
  t.regex(stderr, /has nothing at 0xdead0000\n {2}hint: PT_LOAD rw- ends at 0x/);
});

test('unexec inspect --secrets exits with 8 where there are any, and never prints them', async t => {
  const { status, stdout } = await unexec(['inspect', '--secrets', leaking]);
  t.is(status, 8);
  t.regex(stdout, /^1 place looks like a credential: /);
  t.regex(stdout, /^ {2}0x1000000d {2}PT_LOAD rw- {2}environment {2}corr… \(21\) {2}DB_PASSWORD$/m);
  t.false(stdout.includes(VALUE));
  const json = await unexec(['inspect', '--secrets', '--json', leaking]);
  t.is(json.status, 8);
  t.like(JSON.parse(json.stdout), { ok: false, exitCode: 8, count: 1 });
  t.false(json.stdout.includes(VALUE));
  t.like(await unexec(['inspect', '--secrets', '-q', '/bin/true']), { status: 0, stdout: '', stderr: '' });
});

test('unexec inspect --json tells the report in one object', async t => {
  const { status, stdout } = await unexec(['inspect', '--json', frozen]);
  const { ok, exitCode, version, images } = JSON.parse(stdout);
  t.deepEqual([status, ok, exitCode, version, images.length], [0, true, 0, 1, 1]);
  t.like(images[0].unexec, { style: 'resume', program: '/usr/bin/perl' });
  t.is(images[0].unexec.restoreProgram.steps, null);
});

test('unexec inspect refuses what it cannot read, in a sentence', async t => {
  const text = join(directory, 'text');
  writeFileSync(text, 'neither format\n');
  for (const [path, message] of [
    [
      text,
      /^unexec: .*text: the file begins with 6e 65 69 74, expected the magic of an ELF or a Mach-O file$/m,
    ],
    [join(directory, 'missing'), /^unexec: .*missing cannot be read: ENOENT/],
  ] as const) {
    for (const words of [[], ['--secrets'], ['--address', '0x1']]) {
      const { status, stderr } = await unexec(['inspect', path, ...words]);
      t.is(status, 1);
      t.regex(stderr, message);
      t.notRegex(stderr, /fault of unexec/);
    }
  }
});
