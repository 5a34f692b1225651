import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { elfNotes, readElf } from '../../formats/elf/index.ts';
import { NOTHING_LEFT } from '../../unexec/file-pages.ts';
import { FileSource } from '../../unexec/file-source.ts';
import { endOf } from '../../unexec/image.ts';
import { NOTE, resumeManifest } from '../../unexec/manifest.ts';
import { readManifest } from '../../unexec/read-manifest.ts';
import { compileFixture } from '../support/fixtures.ts';
import { freezeProgram } from '../support/freeze-program.ts';
import { freshDirectory } from '../support/same-result.ts';
import { ROOT, sandbox } from '../support/sandbox.ts';
import { imageOf, threadOf } from '../support/synthetic-image.ts';
import { regionOf } from '../support/synthetic-view.ts';

const directory = sandbox('manifest');
const program = compileFixture('state/threads.c');
const life = freshDirectory();
const frozen = freezeProgram(program, join(directory, 'threads'), { at: 'stop', args: [life, 'ö'] });

test('the note of a real image says what was frozen, when and by what', async t => {
  const { path } = await frozen;
  const manifest = readManifest(path);
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  t.like(manifest, {
    version: 1,
    tool: version,
    style: 'resume',
    arch: 'x86_64',
    program,
    argv: [program, life, 'ö'],
    freezePoint: 'stop',
  });
  t.is(new Date(manifest.frozenAt).toISOString(), manifest.frozenAt);
  t.true(Math.abs(Date.parse(manifest.frozenAt) - statSync(path).mtimeMs) < 600_000);
});

test('the note of a real image names kernel and CPU features', async t => {
  const { kernel, cpu } = readManifest((await frozen).path);
  const kernelFile = (name: string): string => readFileSync(`/proc/sys/kernel/${name}`, 'utf8').trim();
  t.deepEqual(kernel, {
    sysname: 'Linux',
    release: kernelFile('osrelease'),
    version: kernelFile('version'),
    machine: 'x86_64',
  });
  const flags = (/^flags\s*: (.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '').split(' ');
  t.true(cpu.features.length > 5);
  for (const feature of cpu.features) t.true(flags.includes(feature), feature);
  t.is(cpu.features.includes('avx2'), flags.includes('avx2'));
  t.is(BigInt(cpu.xcr0) & 3n, 3n);
});

test('the note of a real image lists threads, modules, descriptors and regions', async t => {
  const { path, report } = await frozen;
  const { threads, modules, descriptors, regions } = readManifest(path);
  t.is(threads.length, report.threads);
  t.is(new Set(threads.map(({ tid }) => tid)).size, threads.length);
  t.is(modules[0]?.path, program);
  t.regex(modules[0]?.buildId ?? '', /^[0-9a-f]{40}$/);
  t.true(modules.some(module => module.path.endsWith('/libc.so.6')));
  t.deepEqual(
    descriptors.flatMap(({ fds }) => fds).filter(fd => fd < 3),
    [0, 1, 2],
  );
  for (const { pc, sp } of threads) {
    const inside = (address: string, permission: string) =>
      regions.some(
        ({ start, size, permissions }) =>
          permissions.includes(permission) &&
          BigInt(start) <= BigInt(address) &&
          BigInt(address) < BigInt(start) + BigInt(size),
      );
    t.true(inside(pc, 'x'), `pc ${pc}`);
    t.true(inside(sp, 'w'), `sp ${sp}`);
  }
  t.true(regions.some(({ kind, name }) => kind === 'heap' && name === '[heap]'));
  t.true(regions.some(({ kind }) => kind === 'stack'));
  t.is(
    regions.reduce((sum, { size }) => sum + size, 0),
    report.memoryBytes,
  );
});

test('the stored bytes of the regions add up to those of the report', async t => {
  const { path, report } = await frozen;
  const { regions } = readManifest(path);
  const sum = regions.reduce((bytes, { stored }) => bytes + stored, 0);
  t.is(sum, report.storedBytes);
  for (const { stored, size, name } of regions) t.true(stored <= size && stored % 4096 === 0, name);
});

test('the note of a real image tells where the steps are', async t => {
  const { path } = await frozen;
  const { steps } = readManifest(path);
  const source = new FileSource(path);
  try {
    const data = readElf(source).sections.find(({ name }) => name === '.unexec.data');
    const address = BigInt(steps.address);
    t.true(data !== undefined && data.address < address);
    t.true(
      data !== undefined && address + BigInt(steps.size) <= endOf({ start: data.address, size: data.size }),
    );
    t.is(steps.size % 64, 0);
  } finally {
    source.close();
  }
});

test('an image has one note of each kind', async t => {
  const source = new FileSource((await frozen).path);
  try {
    const notes = elfNotes(readElf(source)).filter(({ owner }) => owner === 'unexec');
    t.deepEqual(
      notes.map(({ type }) => type),
      [NOTE.MANIFEST, NOTE.ZONES],
    );
  } finally {
    source.close();
  }
});

test('resumeManifest() writes addresses in hexadecimal and permissions as maps does', t => {
  const modes: readonly [read: boolean, write: boolean, execute: boolean, shared: boolean, text: string][] = [
    [true, true, false, false, 'rw-p'],
    [true, false, true, false, 'r-xp'],
    [false, false, false, false, '---p'],
    [true, true, false, true, 'rw-s'],
  ];
  const regions = modes.map(([read, write, execute, shared], i) =>
    regionOf(0x7f00_0000_0000n + BigInt(i * 4096), 1, { read, write, execute, shared }),
  );
  const manifest = resumeManifest(
    imageOf({ regions, threads: [threadOf({ rip: 0x55n, rsp: 0x7ffdn }, { tid: 12, name: 'worker' })] }),
    {
      tool: '1.2.3',
      needs: { features: ['avx2'], xcr0: 7n },
      stored: new Map([[0x7f00_0000_1000n, 4096]]),
      left: NOTHING_LEFT,
      blocks: undefined,
      orStart: undefined,
      steps: { address: 0x81_1000n, size: 640 },
    },
  );
  t.deepEqual(
    manifest.regions.map(({ start, permissions, stored }) => [start, permissions, stored]),
    modes.map(([, , , , text], i) => [`0x7f000000${i}000`, text, i === 1 ? 4096 : 0]),
  );
  t.deepEqual(manifest.threads, [{ tid: 12, name: 'worker', pc: '0x55', sp: '0x7ffd' }]);
  t.deepEqual(manifest.steps, { address: '0x811000', size: 640 });
  t.deepEqual(manifest.cpu, { features: ['avx2'], xcr0: '0x7', level: 'native', by: null });
});
