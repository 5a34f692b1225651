import { spawn } from 'node:child_process';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { parseMap } from '../../../cli/commands/map.ts';
import { UsageError } from '../../../cli/errors.ts';
import { compile } from '../../formats/elf/support/tools.ts';
import { COMMAND, unexec } from '../../support/command.ts';
import { sandbox } from '../../support/sandbox.ts';

const directory = sandbox('map-command');
const DEFAULTS = { type: 'map', file: undefined, target: undefined, order: 'file', serve: false, port: 0 };

test('parseMap() takes a file and what is to be written', t => {
  t.deepEqual(parseMap(['a']), { ...DEFAULTS, file: 'a' });
  t.deepEqual(parseMap(['a', '-o', 'b.svg', '--memory']), {
    ...DEFAULTS,
    file: 'a',
    target: 'b.svg',
    order: 'memory',
  });
  t.deepEqual(parseMap([]), { ...DEFAULTS, target: 'page-map.html' });
  t.deepEqual(parseMap(['--serve', '--port', '8080']), { ...DEFAULTS, serve: true, port: 8080 });
});

for (const words of [
  ['a', '-o', 'b.png'],
  ['a', '-o', 'b'],
  ['-o', 'b.svg'],
  ['--serve', '-o', 'b.html'],
  ['a', '--port', '1'],
  ['--serve', '--port', '70000'],
  ['a', 'b'],
]) {
  test(`parseMap() refuses ${words.join(' ')}`, t => {
    t.throws(() => parseMap(words), { instanceOf: UsageError });
  });
}

test('unexec map writes the picture that the ending names, readable for others', async t => {
  for (const [name, begins] of [
    ['a.svg', /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" /],
    ['a.html', /^<!doctype html>/],
    ['a.txt', /^true: ELF x86_64 /],
  ] as const) {
    const path = join(directory, name);
    const { status, stdout, stderr } = await unexec(['map', '/bin/true', '-o', path]);
    t.deepEqual([status, stdout], [0, '']);
    t.regex(stderr, new RegExp(`^written ${path}: `));
    t.regex(readFileSync(path, 'utf8'), begins);
    t.is(statSync(path).mode & 0o111, 0);
  }
});

test('unexec map prints letters without -o, and with --json the legend', async t => {
  const letters = await unexec(['map', '/bin/true']);
  t.is(letters.status, 0);
  t.regex(letters.stdout, /^true: ELF .*\nin file order; 1 line = 1 page of 4 KiB\n\n {7}0x0 {2}#/);
  const { legend, ...facts } = JSON.parse((await unexec(['map', '--json', '/bin/true'])).stdout);
  t.like(facts, { ok: true, exitCode: 0, name: 'true', order: 'file', size: statSync('/bin/true').size });
  const sum = legend.reduce((sum: number, { bytes }: { bytes: number }) => sum + bytes, 0);
  t.is(sum, facts.size);
});

test('unexec map without a file writes the page for any file', async t => {
  const { status } = await unexec(['map', '-q'], { cwd: directory });
  t.is(status, 0);
  const page = readFileSync(join(directory, 'page-map.html'), 'utf8');
  t.regex(page, /Content-Security-Policy" content="default-src 'none'/);
  t.false(/(?:src|href)="(?!#)/.test(page.replace(/<script>[\s\S]*<\/script>/, '')));
});

test('unexec map tells a broken file in one line, with its code for programs, and writes nothing', async t => {
  const broken = join(directory, 'broken');
  writeFileSync(broken, readFileSync('/bin/true').subarray(0, 500));
  const target = join(directory, 'broken.svg');
  const { status, stderr } = await unexec(['map', broken, '-o', target]);
  t.is(status, 1);
  t.regex(stderr, /^unexec: .*broken cannot be read: ELF: .*, expected .*\n$/);
  t.false(existsSync(target));
  const { error } = JSON.parse((await unexec(['map', '--json', broken])).stdout);
  t.like(error, { code: 'ELF_TRUNCATED', path: broken });
  t.is((await unexec(['map', directory])).status, 1);
  t.is((await unexec(['map', '/bin/true', '-o', join(directory, 'none', 'a.svg')])).status, 5);
});

test('unexec map --memory refuses what has no addresses', async t => {
  const { status, stderr } = await unexec(['map', compile('int x;', ['-c']), '--memory']);
  t.is(status, 1);
  t.regex(stderr, /has no addresses: it is a relocatable.*\n {2}hint: draw it without --memory\n$/);
});

test('unexec map --serve prints where the page is, and ends with SIGINT', async t => {
  const child = spawn(process.execPath, [COMMAND, 'map', '/bin/true', '--serve'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const ended = new Promise(resolve => child.on('exit', resolve));
  const url = await new Promise<string>(resolve => child.stdout.setEncoding('utf8').once('data', resolve));
  const response = await fetch(url.trim());
  t.is(response.headers.get('content-type'), 'text/html; charset=utf-8');
  t.regex(await response.text(), /<script id="data" type="text\/plain" data-order="file">/);
  child.kill('SIGINT');
  t.is(await ended, 130);
});
