import { readFileSync } from 'node:fs';
import test from 'ava';
import { RestoreProgram } from '../../../../unexec/restorer/program.ts';
import { type CpuNeeds, cpuNeeds, neededFeatures, requireCpu } from '../../../../unexec/styles/resume/cpu.ts';
import { PREFIX, runRestore } from '../../../support/restore-executable.ts';
import { imageOf, threadOf } from '../../../support/synthetic-image.ts';

const flags = (/^flags\s*: (.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '').split(' ');

const needs = (features: readonly string[], rest: Partial<CpuNeeds> = {}): CpuNeeds => ({
  features,
  xcr0: 3n,
  without: 0n,
  places: [],
  ...rest,
});

/**
 * Names that /proc/cpuinfo has for bits of CPUID's leaves, with the register (1: eax, as the upper half of the
 * subleaf; 2: ebx; 3: ecx; 4: edx) and the bit; Intel SDM volume 2A, CPUID, and AMD's APM volume 3 for the last.
 */
const bits: readonly [name: string, leaf: number, register: number, bit: number][] = [
  ['pni', 1, 3, 0],
  ['pclmulqdq', 1, 3, 1],
  ['ssse3', 1, 3, 9],
  ['fma', 1, 3, 12],
  ['cx16', 1, 3, 13],
  ['sse4_1', 1, 3, 19],
  ['sse4_2', 1, 3, 20],
  ['movbe', 1, 3, 22],
  ['popcnt', 1, 3, 23],
  ['aes', 1, 3, 25],
  ['avx', 1, 3, 28],
  ['f16c', 1, 3, 29],
  ['rdrand', 1, 3, 30],
  ['bmi1', 7, 2, 3],
  ['avx2', 7, 2, 5],
  ['bmi2', 7, 2, 8],
  ['rtm', 7, 2, 11],
  ['adx', 7, 2, 19],
  ['avx512f', 7, 2, 16],
  ['avx512vl', 7, 2, 31],
  ['sha_ni', 7, 2, 29],
  ['avx512vbmi', 7, 3, 1],
  ['gfni', 7, 3, 8],
  ['vaes', 7, 3, 9],
  ['vpclmulqdq', 7, 3, 10],
  ['avx512_vnni', 7, 3, 11],
  ['avx512_vp2intersect', 7, 4, 8],
  ['amx_tile', 7, 4, 24],
  ['avx_vnni', 7, 1, 4],
  ['avx512_bf16', 7, 1, 5],
  ['xsaveopt', 0xd, 1, 0],
  ['xsavec', 0xd, 1, 1],
  ['abm', 0x8000_0001, 3, 5],
  ['fma4', 0x8000_0001, 3, 16],
];

for (const [name, leaf, register, bit] of bits) {
  test(`requireCpu() asks for ${name} in the bit that the SDM gives`, t => {
    const program = new RestoreProgram('x86_64');
    requireCpu(program, needs([name]));
    const steps = program.steps.filter(({ op, args }) => op === 'CPUID' && args[0] === leaf);
    t.is(steps.length, 2, 'to find out, and to name it');
    for (const step of steps) {
      t.regex(step.name, new RegExp(`\\b${name}\\b`));
      const subleaf = Number(BigInt.asUintN(32, BigInt(String(step.args[1]))));
      const eax = Number(BigInt(String(step.args[1])) >> 32n);
      t.is(subleaf, register === 1 ? 1 : 0);
      const masks = [eax, ...[2, 3, 4].map(index => step.args[index])];
      t.deepEqual(
        masks,
        [1, 2, 3, 4].map(index => (index === register ? (1 << bit) >>> 0 : 0)),
      );
    }
    t.deepEqual(neededFeatures({ flags: [name, 'unknown'], xcr0: 3n }), [name]);
  });
}

test('requireCpu() asks for nothing where nothing is needed', t => {
  const program = new RestoreProgram('x86_64');
  requireCpu(program, cpuNeeds(imageOf()));
  t.deepEqual(program.steps, []);
});

/** Leaves that are asked for on a CPU that has everything: later ones name what is missing. */
const askedLeaves = (features: readonly string[]): unknown[] => {
  const program = new RestoreProgram('x86_64');
  requireCpu(program, needs(features));
  const end = program.steps.findIndex(({ op }) => op === 'AT_MOST');
  return program.steps
    .slice(0, end)
    .filter(({ op }) => op === 'CPUID')
    .map(({ args }) => args[0]);
};

test('requireCpu() asks only once where AVX2 implies the older features', t => {
  t.deepEqual(askedLeaves(['avx', 'avx2', 'sse4_2', 'abm', 'lahf_lm']), [7]);
  t.deepEqual(askedLeaves(['avx2', 'avx512vl', 'xsavec', 'xsaveopt']), [7]);
  t.deepEqual(askedLeaves(['avx2', 'xsavec', 'fma4']), [7, 0x8000_0001, 0xd]);
  t.deepEqual(askedLeaves(['sse4_2', 'lahf_lm']), [1, 0x8000_0001]);
});

test('this CPU has what /proc/cpuinfo says it has', t => {
  const needed = neededFeatures({ flags, xcr0: 3n });
  t.true(needed.length > 5);
  for (const only of [needed, ...needed.map(name => [name])]) {
    const { status, stderr } = runRestore(program => {
      requireCpu(program, needs(only));
      program.syscall('exit', 'exit_group', [17]);
    });
    t.is(status, 17, `${only.join(' ')}: ${stderr}`);
  }
});

const refusal = (needed: CpuNeeds): string => {
  const { status, stderr } = runRestore(program => {
    requireCpu(program, needed);
    program.syscall('exit', 'exit_group', [0]);
  });
  return `${status} ${stderr}`;
};

test('features that this CPU lacks end the resume and are named, and no others', t => {
  const lacking = bits.filter(([name]) => !flags.includes(name)).map(([name]) => name);
  t.log(`lacking here: ${lacking.join(' ')}`);
  t.true(lacking.includes('fma4'), 'no CPU has it together with AVX2: AMD sold it from 2011 to 2015');
  for (const name of lacking) t.is(refusal(needs([name])), `125 ${PREFIX}this CPU lacks ${name}\n`);
  const present = neededFeatures({ flags, xcr0: 3n });
  const told = neededFeatures({ flags: lacking, xcr0: 3n }).join(' ');
  t.is(refusal(needs([...present, ...lacking])), `125 ${PREFIX}this CPU lacks ${told}\n`);
});

test('CPU state that no kernel saves ends the resume and is named', t => {
  t.is(
    refusal(needs([], { xcr0: 3n | (1n << 62n) })),
    `125 ${PREFIX}this kernel does not save the CPU state 0x4000000000000000\n`,
  );
  t.regex(refusal(needs([], { xcr0: 0x4000_0000_0000_00e7n })), /the CPU state AVX and AVX-512 and 0x40/);
});

test('a component that this CPU keeps in another place ends the resume', t => {
  // Component 2 (AVX) is at 576 everywhere; 4096 is nobody's.
  t.is(refusal(needs([], { places: [{ bit: 4n, offset: 576 }] })), '0 ');
  t.is(
    refusal(needs([], { places: [{ bit: 4n, offset: 4096 }] })),
    `125 ${PREFIX}this CPU keeps the state of AVX in another place\n`,
  );
});

test('more CPU state than the binder of functions has room for ends the resume', t => {
  t.regex(refusal(needs([], { without: 1n << 2n })), /^125 .*save no AVX \(freeze with --cpu/);
  t.is(refusal(needs([], { without: 1n << 62n })), '0 ');
});

test('cpuNeeds() asks for the state that the code and the threads use', t => {
  const of = (flags: readonly string[], bits: bigint): bigint => {
    const xstate = new Uint8Array(2696);
    const view = new DataView(xstate.buffer);
    view.setBigUint64(512, bits, true);
    if (bits & 4n) xstate[576] = 1;
    if (bits & 0x20n) xstate[1088] = 1;
    const thread = threadOf({});
    const machine = { ...thread.machine, xstate };
    const { origin } = imageOf();
    const image = imageOf({
      origin: { ...origin, cpu: { flags, xcr0: 0x2e7n } },
      threads: [{ ...thread, machine } as typeof thread],
    });
    return cpuNeeds(image).xcr0;
  };
  t.is(of([], 0n), 3n);
  t.is(of(['avx'], 0n), 7n);
  t.is(of(['avx', 'avx512f'], 0n), 0xe7n);
  t.is(of([], 4n), 7n);
  t.is(of([], 0x24n), 0x27n);
});

test('cpuNeeds() wants no more state than at the freeze where functions are bound late by XSAVE', t => {
  const { origin } = imageOf();
  const module = { path: '/bin/a', bias: 0n, start: 0n, end: 1n, buildId: '' };
  const of = (flags: readonly string[], modules = [module, module]): bigint =>
    cpuNeeds(imageOf({ origin: { ...origin, cpu: { flags, xcr0: 7n } }, modules })).without;
  t.is(of(['xsave', 'avx2']), 0xe0n);
  t.is(of(['xsave', 'xsavec']), 0n);
  t.is(of([]), 0n, 'FXSAVE saves the same everywhere');
  t.is(of(['xsave'], [module]), 0n, 'a static program binds nothing');
  const cpu = { flags: ['xsave'], xcr0: 7n, restriction: { level: 'x86-64-v3', by: 'tunables' } as const };
  t.is(cpuNeeds(imageOf({ origin: { ...origin, cpu }, modules: [module, module] })).without, 0n);
});
