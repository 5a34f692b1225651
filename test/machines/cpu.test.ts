import { join } from 'node:path';
import test from 'ava';
import { CPU_LEVELS, type CpuLevel } from '../../unexec/cpu-features.ts';
import { readManifest } from '../../unexec/read-manifest.ts';
import { runMachine } from '../support/emulated-machine.ts';
import { compileFixture } from '../support/fixtures.ts';
import { freezeProgram } from '../support/freeze-program.ts';
import { run } from '../support/run.ts';
import { sandbox } from '../support/sandbox.ts';

const directory = sandbox('other-cpus');

/** Uses what libc has many kinds of, and mathematics, before and after. */
const PERL = `use POSIX; my $words = join ' ', map { "word $_" } 1 .. 2000; kill STOP => $$;
  my %seen; $seen{length $_}++ for split / /, $words x 3;
  print "perl ", join(',', map { "$_=$seen{$_}" } sort keys %seen), ' ', index($words, 'word 1999'),
    sprintf(' %.6f %.6f', exp(1.5) * sin(2), POSIX::pow(1.1, 7)), ' ', lc 'ABC', "\\n";`;
interface Program {
  /** What it says, from its start to its end. */
  readonly says: string;
  readonly images: Readonly<Record<CpuLevel, string>>;
}

const programs = {
  perl: makeImages('perl', '/usr/bin/perl', ['-e', PERL]),
  threads: makeImages('threads', compileFixture('state/threads.c'), []),
};

async function makeImages(name: string, program: string, args: readonly string[]): Promise<Program> {
  const whole = await run(program, { args });
  const paths = CPU_LEVELS.map(level => [level, join(directory, `${name}-${level}`)] as const);
  for (const [cpu, path] of paths) await freezeProgram(program, path, { args, cpu, cwd: 'caller' });
  return {
    says: `${whole.stdout}status ${whole.status}\n`,
    images: Object.fromEntries(paths) as Program['images'],
  };
}

/** The flags of an emulated CPU, and what images say there, with their status. */
async function runOn(cpu: string, paths: readonly string[]): Promise<{ flags: string[]; said: string[] }> {
  const { output } = await runMachine({
    cpu,
    memory: 512,
    files: Object.fromEntries(paths.map((path, i) => [`/image${i}`, path])),
    script: `grep -m 1 '^flags' /proc/cpuinfo\n${paths.map((_, i) => `echo ----; /image${i}; echo "status $?"`).join('\n')}`,
  });
  const [flags = '', ...said] = output.split('----\n');
  return { flags: flags.trim().split(/\s+/).slice(2), said };
}

/** What an image says on a CPU: as it would have gone on, or which features are missing. */
function expected({ says, images }: Program, level: CpuLevel, flags: readonly string[]): string {
  const { program, cpu } = readManifest(images[level]);
  const missing = cpu.features.filter(name => !flags.includes(name));
  if (missing.length === 0) return says;
  return `unexec: cannot resume ${program}: this CPU lacks ${missing.join(' ')}\nstatus 125\n`;
}

/** An emulated CPU, and the images that it runs. */
const CPUS: readonly (readonly [cpu: string, runs: readonly CpuLevel[]])[] = [
  ['Nehalem', ['x86-64-v2']],
  ['Haswell', ['x86-64-v2', 'x86-64-v3']],
  ['EPYC', ['x86-64-v2', 'x86-64-v3']],
  ['max', ['x86-64-v2', 'x86-64-v3']],
];

for (const [cpu, runs] of CPUS) {
  test(`on an emulated ${cpu} images for ${runs.join(' and ')} go on, and others name what it lacks`, async t => {
    const all = await Promise.all(Object.values(programs));
    const cases = all.flatMap(program => CPU_LEVELS.map(level => ({ program, level })));
    const { flags, said } = await runOn(
      cpu,
      cases.map(({ program, level }) => program.images[level]),
    );
    for (const [i, { program, level }] of cases.entries()) {
      t.is(said[i], expected(program, level, flags), `${program.images[level]} on ${cpu}`);
      if (runs.includes(level)) t.is(said[i], program.says, `${level} runs on ${cpu}`);
    }
  });
}
