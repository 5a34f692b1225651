import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { CPU_LEVELS, FEATURES, hwcapsTunable, levelOf } from '../../unexec/cpu-features.ts';
import { ROOT } from '../support/sandbox.ts';

test('every feature has a bit of its own', t => {
  const places = FEATURES.map(({ leaf, register, bit }) => `${leaf.leaf}.${leaf.subleaf}.${register}.${bit}`);
  t.is(new Set(places).size, places.length);
  t.is(new Set(FEATURES.map(({ name }) => name)).size, FEATURES.length);
});

test('each level has what the one before it has, and only features that we know', t => {
  const levels = CPU_LEVELS.flatMap(level => levelOf(level) ?? []);
  t.is(levels.length, 3);
  const known = new Set(FEATURES.map(({ name }) => name));
  for (const [i, { features, xcr0 }] of levels.entries()) {
    for (const name of features) t.true(known.has(name), name);
    const before = levels[i - 1];
    if (before === undefined) continue;
    for (const name of before.features) t.true(features.has(name), name);
    t.is(xcr0 & before.xcr0, before.xcr0);
    t.true(features.size > before.features.size);
  }
  t.is(levelOf('native'), undefined);
});

/** glibc 2.36 of this machine, and 2.41 (.ci/debian-files.json). */
const LOADERS = [
  '/lib64/ld-linux-x86-64.so.2',
  join(ROOT, '.cache/debian/trixie/libc6/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2'),
];

for (const loader of LOADERS) {
  /** Levels whose directories of libraries it would look into. */
  const levelsOf = (tunables: string): string[] => {
    const env = { GLIBC_TUNABLES: tunables };
    const { stdout } = spawnSync(loader, ['--help'], { encoding: 'utf8', env });
    return [...stdout.matchAll(/^ {2}(x86-64-v\d) \(supported/gm)].map(([, level]) => level ?? '');
  };

  test(`hwcapsTunable() makes ${loader} choose no libraries beyond the level`, t => {
    const flags = /^flags\s*: (.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '';
    if (!/\bavx2\b/.test(flags)) throw new Error('this test needs an x86-64 CPU with AVX2');
    const all = levelsOf('');
    t.true(all.includes('x86-64-v3'));
    for (const level of CPU_LEVELS) {
      const features = levelOf(level)?.features;
      if (features === undefined) continue;
      t.deepEqual(
        levelsOf(`glibc.cpu.hwcaps=${hwcapsTunable(features)}`),
        all.filter(name => name <= level),
        level,
      );
    }
  });
}
