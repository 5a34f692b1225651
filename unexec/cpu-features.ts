/**
 * Features of x86-64 CPUs that programs choose code by, where CPUID tells of them, and which of them the levels of
 * the psABI have.
 *
 * Facts: Intel SDM volume 2A (CPUID) and AMD APM volume 3 appendix E; names as in /proc/cpuinfo
 * (arch/x86/include/asm/cpufeatures.h of Linux 6.1); x86-64 psABI 1.0, 3.1.1 (levels); glibc 2.36 and 2.41,
 * sysdeps/x86/cpu-tunables.c (names in GLIBC_TUNABLES).
 *
 * @module
 */

/** One CPUID: what is in eax and ecx when it is executed. */
export interface Leaf {
  readonly leaf: number;
  readonly subleaf: number;
}

export const REGISTERS = ['eax', 'ebx', 'ecx', 'edx'] as const;
export type CpuidRegister = (typeof REGISTERS)[number];

export interface Feature {
  readonly name: string;
  readonly leaf: Leaf;
  readonly register: CpuidRegister;
  /** 0 to 31. */
  readonly bit: number;
}

type Bits = Readonly<Record<string, number>>;

export const LEAF_1: Leaf = { leaf: 1, subleaf: 0 };
export const LEAF_7: Leaf = { leaf: 7, subleaf: 0 };
const LEAF_7_1: Leaf = { leaf: 7, subleaf: 1 };
export const LEAF_XSAVE: Leaf = { leaf: 0xd, subleaf: 1 };
export const LEAF_EXTENDED: Leaf = { leaf: 0x8000_0001, subleaf: 0 };

const TABLE: readonly (readonly [Leaf, CpuidRegister, Bits])[] = [
  [
    LEAF_7,
    'ebx',
    {
      bmi1: 3,
      avx2: 5,
      bmi2: 8,
      rtm: 11,
      avx512f: 16,
      avx512dq: 17,
      rdseed: 18,
      adx: 19,
      avx512ifma: 21,
      clflushopt: 23,
      clwb: 24,
      avx512pf: 26,
      avx512er: 27,
      avx512cd: 28,
      sha_ni: 29,
      avx512bw: 30,
      avx512vl: 31,
    },
  ],
  [
    LEAF_7,
    'ecx',
    {
      avx512vbmi: 1,
      avx512_vbmi2: 6,
      gfni: 8,
      vaes: 9,
      vpclmulqdq: 10,
      avx512_vnni: 11,
      avx512_bitalg: 12,
      avx512_vpopcntdq: 14,
    },
  ],
  [
    LEAF_7,
    'edx',
    {
      avx512_4vnniw: 2,
      avx512_4fmaps: 3,
      avx512_vp2intersect: 8,
      amx_bf16: 22,
      avx512_fp16: 23,
      amx_tile: 24,
      amx_int8: 25,
    },
  ],
  [LEAF_7_1, 'eax', { avx_vnni: 4, avx512_bf16: 5, avx_ifma: 23 }],
  [
    LEAF_1,
    'ecx',
    {
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
  ],
  [LEAF_EXTENDED, 'ecx', { lahf_lm: 0, abm: 5, xop: 11, fma4: 16, tbm: 21 }],
  [LEAF_XSAVE, 'eax', { xsaveopt: 0, xsavec: 1 }],
];

/** Every feature that we know, in the order in which they are told. */
export const FEATURES: readonly Feature[] = TABLE.flatMap(([leaf, register, bits]) =>
  Object.entries(bits).map(([name, bit]) => ({ name, leaf, register, bit })),
);

/** A level of the psABI, or the CPU as it is. */
export const CPU_LEVELS = ['x86-64-v2', 'x86-64-v3', 'x86-64-v4', 'native'] as const;
export type CpuLevel = (typeof CPU_LEVELS)[number];

const V2 = ['pni', 'ssse3', 'sse4_1', 'sse4_2', 'popcnt', 'cx16', 'lahf_lm'];
const V3 = [...V2, 'xsave', 'avx', 'avx2', 'bmi1', 'bmi2', 'f16c', 'fma', 'abm', 'movbe'];
const V4 = [...V3, 'avx512f', 'avx512bw', 'avx512cd', 'avx512dq', 'avx512vl'];

/** Components of XCR0 (SDM volume 1, 13.1). */
export const XCR0 = { BASE: 3n, AVX: 4n, AVX512: 0xe0n, PKRU: 0x200n } as const;

interface Level {
  readonly features: ReadonlySet<string>;
  /** State components that its code may use. */
  readonly xcr0: bigint;
}

/** What a level has; undefined: whatever the CPU has. */
export function levelOf(level: CpuLevel): Level | undefined {
  switch (level) {
    case 'x86-64-v2':
      return { features: new Set(V2), xcr0: XCR0.BASE };
    case 'x86-64-v3':
      return { features: new Set(V3), xcr0: XCR0.BASE | XCR0.AVX };
    case 'x86-64-v4':
      return { features: new Set(V4), xcr0: XCR0.BASE | XCR0.AVX | XCR0.AVX512 };
    case 'native':
      return undefined;
  }
}

/**
 * Names that GLIBC_TUNABLES knows, with the feature that each stands for or is chosen with. One that a version of
 * glibc does not know is passed over by it.
 */
const TUNABLE_NAMES: readonly (readonly [tunable: string, feature: string])[] = [
  ['XSAVEC', 'xsavec'],
  ['RTM', 'rtm'],
  ['FMA4', 'fma4'],
  ['AVX512F', 'avx512f'],
  ['AVX512CD', 'avx512cd'],
  ['AVX512BW', 'avx512bw'],
  ['AVX512DQ', 'avx512dq'],
  ['AVX512VL', 'avx512vl'],
  ['AVX512ER', 'avx512er'],
  ['AVX512PF', 'avx512pf'],
  ['AVX2', 'avx2'],
  // Set from AVX2 before the tunables are looked at.
  ['AVX_Fast_Unaligned_Load', 'avx2'],
  ['BMI1', 'bmi1'],
  ['BMI2', 'bmi2'],
  ['LZCNT', 'abm'],
  ['FMA', 'fma'],
  ['MOVBE', 'movbe'],
  ['AVX', 'avx'],
  ['XSAVE', 'xsave'],
  ['OSXSAVE', 'xsave'],
];

/** The value of glibc.cpu.hwcaps that switches off what is beyond a level. */
export const hwcapsTunable = (features: ReadonlySet<string>): string =>
  TUNABLE_NAMES.filter(([, feature]) => !features.has(feature))
    .map(([name]) => `-${name}`)
    .join(',');
