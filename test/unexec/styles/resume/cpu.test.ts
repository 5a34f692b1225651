import { readFileSync } from 'node:fs';
import test from 'ava';
import { RestoreProgram } from '../../../../unexec/restorer/program.ts';
import { neededFeatures, requireCpu } from '../../../../unexec/styles/resume/cpu.ts';
import { PREFIX, runRestore } from '../../../support/restore-executable.ts';

const flags = (/^flags\s*: (.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '').split(' ');

/** Names that /proc/cpuinfo has for bits of leaves 1 and 7, with the bit; Intel SDM volume 2A, CPUID. */
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
];

for (const [name, leaf, register, bit] of bits) {
  test(`requireCpu() asks for ${name} in the bit that the SDM gives`, t => {
    const program = new RestoreProgram('x86_64');
    requireCpu(program, { flags: [name], xcr0: 3n });
    const step = program.steps.find(({ args }) => args[0] === leaf);
    t.is(step?.op, 'CPUID');
    t.true(step?.required);
    t.regex(step?.name ?? '', new RegExp(`\\b${name}\\b`));
    const masks = [2, 3, 4].map(index => step?.args[index]);
    t.deepEqual(
      masks,
      [2, 3, 4].map(index => (index === register ? (1 << bit) >>> 0 : 0)),
    );
    t.deepEqual(neededFeatures({ flags: [name, 'unknown'], xcr0: 3n }), [name]);
  });
}

test('requireCpu() asks for nothing where nothing is needed', t => {
  const program = new RestoreProgram('x86_64');
  requireCpu(program, { flags: ['fpu', 'sse2', 'hypervisor'], xcr0: 3n });
  t.deepEqual(program.steps, []);
});

test('requireCpu() asks only once where AVX2 implies the older features', t => {
  const program = new RestoreProgram('x86_64');
  requireCpu(program, { flags: ['avx', 'avx2', 'sse4_2'], xcr0: 7n });
  t.deepEqual(
    program.steps.map(({ op, args }) => [op, args[0]]),
    [
      ['CPUID', 7],
      ['XGETBV', 7n],
    ],
  );
});

test('this CPU has what /proc/cpuinfo says it has', t => {
  const needed = neededFeatures({ flags, xcr0: 3n });
  t.true(needed.length > 5);
  for (const only of [needed, ...needed.map(name => [name])]) {
    const { status, stderr } = runRestore(program => {
      requireCpu(program, { flags: only, xcr0: 3n });
      program.syscall('exit', 'exit_group', [17]);
    });
    t.is(status, 17, `${only.join(' ')}: ${stderr}`);
  }
});

test('a feature that this CPU lacks ends the resume and is named', t => {
  const lacking = bits.filter(([name]) => !flags.includes(name)).map(([name]) => name);
  t.log(`lacking here: ${lacking.join(' ') || 'nothing'}`);
  t.is(neededFeatures({ flags: lacking, xcr0: 3n }).length, lacking.length);
  for (const name of lacking) {
    const { status, stderr } = runRestore(program => {
      requireCpu(program, { flags: [name], xcr0: 3n });
      program.syscall('exit', 'exit_group', [0]);
    });
    t.is(status, 125);
    t.is(stderr, `${PREFIX}this CPU lacks one of: ${name}\n`);
  }
});

test('CPU state that no kernel saves ends the resume and is named', t => {
  const { status, stderr } = runRestore(program => {
    requireCpu(program, { flags: [], xcr0: 3n | (1n << 62n) });
    program.syscall('exit', 'exit_group', [0]);
  });
  t.is(status, 125);
  t.is(stderr, `${PREFIX}this kernel does not save the CPU state 0x4000000000000003\n`);
});
