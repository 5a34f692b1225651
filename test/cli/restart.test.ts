/** `--style restart` as a user types it, with the loader of the tests in the place of macOS. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { renderRestart, renderRestartDetails, restartJson } from '../../cli/freeze/restart-report.ts';
import { PLAIN } from '../../cli/render.ts';
import type { RestartReport } from '../../unexec/index.ts';
import { unexec } from '../support/command.ts';
import { loaderCommand, runMachO } from '../support/macho/loader.ts';
import { compileMachO } from '../support/macho/toolchain.ts';
import { sandbox } from '../support/sandbox.ts';

const directory = sandbox('restart-command');
const arch = 'x86_64';
const inSandbox = (name: string): string => join(directory, name);
const prepared = inSandbox('prepared');
const core = inSandbox('core');
const other = inSandbox('core2');

test.before(async t => {
  const sources = ['samples/restart/world.c', 'unexec/runtime/unexec-runtime.c'];
  const program = compileMachO({ sources, arch, fixups: 'chained', directory, headerpad: 0x200 });
  const { status, stderr } = await unexec(['prepare', program, prepared, '--reserve', '1M']);
  t.is(status, 0, stderr);
  const at = 'unexec_freeze_here';
  for (const [slide, path] of [
    [0x10000n, core],
    [0x7654_0000n, other],
  ] as const) {
    await runMachO(prepared, ['2'], { arch, slide, at, core: path });
  }
});

/** What the program says in its later life. */
const said = async (path: string): Promise<string> => (await runMachO(path, [], { arch })).stdout;

test('unexec --style restart makes an executable of a core', async t => {
  const target = inSandbox('of-core');
  const { status, stdout, stderr } = await unexec(['--style', 'restart', '--exe', prepared, core, target]);
  t.deepEqual([status, stdout], [0, ''], stderr);
  t.regex(
    stderr,
    new RegExp(`^written ${target}\n {2}dumped +${prepared} \\(x86_64\\) from core, in its first life`),
  );
  t.regex(stderr, /^ {2}pointers +\d+, by a scan of one run$/m);
  t.regex(stderr, /^ {2}zone +\S+ KiB in use, 1.00 MiB reserved, written to /m);
  t.is((await unexec(['verify', target])).status, 0);
  t.regex(await said(target), /^restarted\n/);
});

test('unexec --style restart --compare is certain of the pointers, and --json tells so', async t => {
  const target = inSandbox('compared');
  const words = ['--style', 'restart', '--exe', prepared, '--compare', other, '--strict', '--json'];
  const { status, stdout, stderr } = await unexec([...words, core, target]);
  t.deepEqual([status, stderr], [0, ''], stdout);
  const report = JSON.parse(stdout);
  t.like(report, { ok: true, exitCode: 0, style: 'restart', target, generation: 1, freezePoint: 'core' });
  t.is(report.pointers.method, 'comparison');
  t.deepEqual(report.slides, ['0x10000', '0x76540000']);
  t.regex(report.segments.at(-1).address, /^0x1\w{8}$/);
  t.false('doubtful' in report);
  t.true(report.map.ways.length > 0 && report.map.blocks.roots.length > 0);
  t.regex(await said(target), /^restarted\n/);
});

test('unexec --style restart dumps a program that it starts itself, twice', async t => {
  const target = inSandbox('live');
  const [program = '', ...args] = loaderCommand(prepared, ['2'], {
    arch,
    at: 'unexec_freeze_here',
    stop: true,
  });
  const words = ['--style', 'restart', '--verbose', '--exe', prepared, program, target, '--', ...args];
  const { status, stderr } = await unexec(words);
  t.is(status, 0, stderr);
  t.regex(stderr, /^segments\naddress +size +file +stored +name\n/m);
  t.regex(stderr, /by comparison of two runs/);
  t.regex(await said(target), /^restarted\n/);
});

test('unexec --style restart tells what it needs, and writes nothing', async t => {
  const target = inSandbox('nothing');
  const failures = [
    [1, ['--exe', '/bin/true', core], /\/bin\/true is no Mach-O file/],
    [1, ['--exe', prepared, '--compare', other, '/bin/true'], /--compare is for cores/],
    [6, ['--exe', prepared, '/no/such/program'], /no such program/],
  ] as const;
  for (const [expected, words, message] of failures) {
    const { status, stderr } = await unexec(['--style', 'restart', ...words, target]);
    t.is(status, expected, stderr);
    t.regex(stderr, message);
    t.false(existsSync(target));
  }
});

const REPORT: RestartReport = {
  program: '/a\nb',
  target: '/out',
  arch: 'aarch64',
  freezePoint: 'stop',
  slides: [0x4000n],
  scratch: [],
  size: 0x20000,
  segments: [
    { name: '__DATA', address: 0x1_0000_4000n, memory: 0x8000, file: 0x4000, stored: 0x4000 },
    { name: '__DATA_HEAP', address: 0x1_0000_c000n, memory: 0x4000, file: 0x4000, stored: 0 },
  ],
  zone: undefined,
  pointers: {
    pointers: 7,
    outward: 1,
    doubtful: 1,
    unexplained: 0,
    method: 'scan',
    bound: 0,
    nulled: 0,
    left: 1,
  },
  dropped: 1,
  generation: 2,
  remarks: ['a remark'],
  doubtful: ['__data+0x8: perhaps'],
  map: undefined,
};

test('renderRestart() and renderRestartDetails() tell of segments, remarks and doubtful words', t => {
  t.deepEqual(renderRestart(REPORT, PLAIN), [
    'written /out',
    '  dumped    /a\\x0ab (aarch64) from stop, in life 2',
    '  file      128 KiB, 16.0 KiB stored of 2 segments',
    '  pointers  7, by a scan of one run',
    '  remark    a remark',
  ]);
  t.deepEqual(renderRestartDetails(REPORT, PLAIN), [
    'segments',
    'address          size      file    stored  name',
    '0x100004000  32.0 KiB  16.0 KiB  16.0 KiB  __DATA',
    '0x10000c000  16.0 KiB  16.0 KiB   0 bytes  __DATA_HEAP',
    '',
    'doubtful words',
    '  __data+0x8: perhaps',
    '',
  ]);
});

test('renderRestartDetails() tells of pointers and blocks', t => {
  const map = {
    ways: [
      { from: 'heap', to: 'data', kind: 'inside', pointers: 1200 },
      { from: 'data', to: 'libc.so.6', kind: 'outward', pointers: 3 },
    ],
    blocks: {
      blocks: 12,
      bytes: 3072,
      unreachable: { blocks: 1, bytes: 1024 },
      dangling: 2,
      roots: [{ name: 'table (.bss)', blocks: 11, bytes: 2048, largest: 1024 }],
    },
  } as const;
  t.deepEqual(renderRestartDetails({ ...REPORT, doubtful: [], map }, PLAIN).slice(5), [
    'pointers',
    'count  from  to',
    ' 1200  heap  data       inside',
    '    3  data  libc.so.6  outward',
    '',
    'blocks: 12 of 3.00 KiB, 1 of them (1.00 KiB) unreachable, 2 pointers to freed ones',
    'blocks     bytes   largest  reached from',
    '    11  2.00 KiB  1.00 KiB  table (.bss)',
    '',
  ]);
});

test('restartJson() has doubtful words where details are wanted', t => {
  t.false('doubtful' in restartJson(REPORT, false));
  t.like(restartJson(REPORT, true), { ok: true, doubtful: REPORT.doubtful });
});
