/**
 * What the resumed process needs of a CPU. Its libraries chose their functions for the CPU that it was
 * frozen on (glibc's ifuncs, a runtime's own dispatch), so every feature of that kind must be there.
 * Facts: Intel SDM volume 2 (CPUID), flag names of arch/x86/include/asm/cpufeatures.h (Linux 6.1).
 *
 * @module
 */
import type { CpuFeatures } from '../../image.ts';
import type { RestoreProgram } from '../../restorer/program.ts';

type Register = 'ebx' | 'ecx' | 'edx';

interface Leaf {
  readonly leaf: number;
  readonly registers: Readonly<Record<Register, Readonly<Record<string, number>>>>;
}

/** Features that code is chosen by, by their names in /proc/cpuinfo. */
const LEAF_7: Leaf = {
  leaf: 7,
  registers: {
    ebx: {
      bmi1: 3,
      avx2: 5,
      bmi2: 8,
      rtm: 11,
      avx512f: 16,
      avx512dq: 17,
      adx: 19,
      avx512ifma: 21,
      clflushopt: 23,
      clwb: 24,
      avx512cd: 28,
      sha_ni: 29,
      avx512bw: 30,
      avx512vl: 31,
    },
    ecx: {
      avx512vbmi: 1,
      avx512_vbmi2: 6,
      gfni: 8,
      vaes: 9,
      vpclmulqdq: 10,
      avx512_vnni: 11,
      avx512_bitalg: 12,
      avx512_vpopcntdq: 14,
    },
    edx: { avx512_vp2intersect: 8 },
  },
};
const LEAF_1: Leaf = {
  leaf: 1,
  registers: {
    ebx: {},
    ecx: {
      pni: 0,
      pclmulqdq: 1,
      ssse3: 9,
      fma: 12,
      cx16: 13,
      sse4_1: 19,
      sse4_2: 20,
      movbe: 22,
      popcnt: 23,
      aes: 25,
      xsave: 26,
      avx: 28,
      f16c: 29,
      rdrand: 30,
    },
    edx: {},
  },
};
/** x87 and SSE, which every x86-64 CPU has. */
const XCR0_BASE = 3n;

/** The features that the image needs, by their names in /proc/cpuinfo. */
export function neededFeatures(cpu: CpuFeatures): string[] {
  return [LEAF_7, LEAF_1].flatMap(leaf => namesOf(leaf).filter(name => cpu.flags.includes(name)));
}

const namesOf = (leaf: Leaf): string[] => Object.values(leaf.registers).flatMap(bits => Object.keys(bits));

/**
 * Steps that refuse a CPU without these features. A CPU with AVX2 has all of leaf 1 (x86-64-v3), and
 * each CPUID costs a virtual machine several microseconds: leaf 1 is asked only where AVX2 is not needed.
 */
export function requireCpu(program: RestoreProgram, cpu: CpuFeatures): void {
  const leaves = cpu.flags.includes('avx2') ? [LEAF_7] : [LEAF_7, LEAF_1];
  for (const leaf of leaves) {
    const mask = (register: Register): number =>
      Object.entries(leaf.registers[register])
        .filter(([name]) => cpu.flags.includes(name))
        .reduce((bits, [, bit]) => (bits | (1 << bit)) >>> 0, 0);
    const masks = [mask('ebx'), mask('ecx'), mask('edx')];
    if (masks.every(bits => bits === 0)) continue;
    const names = namesOf(leaf).filter(name => cpu.flags.includes(name));
    program.operation('CPUID', `this CPU lacks one of: ${names.join(' ')}`, [leaf.leaf, 0, ...masks]);
  }
  if (cpu.xcr0 !== XCR0_BASE) {
    program.operation('XGETBV', `this kernel does not save the CPU state 0x${cpu.xcr0.toString(16)}`, [
      cpu.xcr0,
    ]);
  }
}
