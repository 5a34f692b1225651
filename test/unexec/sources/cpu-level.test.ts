import { readFileSync } from 'node:fs';
import test from 'ava';
import type { CpuLevel } from '../../../unexec/cpu-features.ts';
import { readManifest } from '../../../unexec/read-manifest.ts';
import { loaderVariables } from '../../../unexec/sources/loader-variables.ts';
import { compileFixture } from '../../support/fixtures.ts';
import { freezeProgram } from '../../support/freeze-program.ts';
import { run } from '../../support/run.ts';
import { freezeFixture, freshDirectory } from '../../support/same-result.ts';

const flags = (/^flags\s*: (.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '').split(' ');
const ENVIRONMENTS: Readonly<Record<string, readonly string[]>> = {
  'none of these variables': ['A=1', 'Z=last'],
  'tunables of its own': ['GLIBC_TUNABLES=glibc.malloc.tcache_count=3', 'Z=last'],
  'the same tunable': ['GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX2:glibc.malloc.tcache_count=3'],
  'binding at the start of its own': ['LD_BIND_NOW=yes'],
  'both, empty': ['GLIBC_TUNABLES=', 'LD_BIND_NOW=', 'B=2'],
};

for (const flagsOfGcc of [[], ['-static'], ['-static-pie', '-fPIE'], ['-no-pie']]) {
  const kind = flagsOfGcc[0] ?? 'dynamic';
  for (const [what, env] of Object.entries(ENVIRONMENTS)) {
    test(`a program (${kind}) that is started for a level with ${what} sees the environment that it was given`, async t => {
      const program = compileFixture('state/start-vectors.c', flagsOfGcc);
      const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
      const given = Object.fromEntries(env.map(entry => entry.split(/=(.*)/s).slice(0, 2)));
      const native = await run(program, { args: [freshDirectory()], env: { PATH, ...given } });
      const { frozen } = await freezeFixture('state/start-vectors.c', {
        flags: flagsOfGcc,
        env,
        cpu: 'x86-64-v2',
      });
      t.true(native.stdout.startsWith(frozen.written), `${frozen.written}\ninstead of\n${native.stdout}`);
      t.regex(frozen.written, /page size found: 1, asked: 4096\n.*environ shows variables of the loader: 0/s);
      const second = await run(frozen.path, { env: { GLIBC_TUNABLES: 'theirs' } });
      // Of a static-pie program we do not find `environ`, with --cpu or without.
      if (kind !== '-static-pie') t.is(second.stdout, 'then: theirs\n');
    });
  }
}

test('loaderVariables() adds to tunables that are given, and sets again what they set', t => {
  const of = (value: string): string | undefined =>
    loaderVariables([`GLIBC_TUNABLES=${value}`], 'x86-64-v4').env.find(entry => entry.startsWith('GLIBC'));
  const ours = '-XSAVEC,-RTM,-FMA4,-AVX512ER,-AVX512PF';
  t.is(of('a=b'), `GLIBC_TUNABLES=a=b:glibc.cpu.hwcaps=${ours}`);
  t.is(of('a=b:'), `GLIBC_TUNABLES=a=b:glibc.cpu.hwcaps=${ours}`);
  t.is(of(''), `GLIBC_TUNABLES=glibc.cpu.hwcaps=${ours}`);
  t.is(
    of('glibc.cpu.hwcaps=-ERMS:a=b'),
    `GLIBC_TUNABLES=glibc.cpu.hwcaps=-ERMS:a=b:glibc.cpu.hwcaps=-ERMS,${ours}`,
  );
  t.deepEqual(loaderVariables(['A=b'], 'native'), { env: ['A=b'], afterwards: [] });
});

for (const level of ['x86-64-v2', 'x86-64-v3', 'x86-64-v4'] satisfies CpuLevel[]) {
  test(`an image that was started for ${level} needs no more than that, and says so`, async t => {
    const { frozen } = await freezeFixture('state/plain.c', { cpu: level });
    const { cpu } = readManifest(frozen.path);
    t.is(cpu.level, level);
    t.true(cpu.by === 'tunables' || cpu.by === 'trapping');
    const newer = { 'x86-64-v2': 'avx2', 'x86-64-v3': 'avx512f', 'x86-64-v4': 'avx512vbmi' }[level];
    t.false(cpu.features.includes(newer));
    t.false(cpu.features.includes('aes'), 'no level has it');
    t.is(cpu.features.includes('sse4_2'), flags.includes('sse4_2'));
    t.is(BigInt(cpu.xcr0) & ~{ 'x86-64-v2': 3n, 'x86-64-v3': 7n, 'x86-64-v4': 0xe7n }[level], 0n);
  });
}

test('a program that has become another one is refused with --cpu', async t => {
  const error = await t.throwsAsync(
    freezeProgram('/bin/sh', `${freshDirectory()}.frozen`, {
      args: ['-c', "exec perl -e 'kill STOP => $$'"],
      cpu: 'x86-64-v3',
    }),
  );
  t.regex(JSON.stringify(error), /CPU_LEVEL_LOST/);
});

test('a program that uses CPU state beyond the level is refused with --cpu', async t => {
  if (!flags.includes('avx')) throw new Error('this test needs an x86-64 CPU with AVX');
  const program = compileFixture('state/vectors.c', ['-mavx']);
  t.truthy(program);
  const error = await t.throwsAsync(
    freezeFixture('state/vectors.c', { at: 'request', flags: ['-mavx'], cpu: 'x86-64-v2' }),
  );
  t.regex(JSON.stringify(error), /CPU_STATE_IN_USE/);
});
