/**
 * What a resumed process of aarch64 needs of a machine: pages of 4 KiB, the features that it was told of at its
 * start (code is chosen by them), and no pointer authentication.
 * Facts: Documentation/arch/arm64/elf_hwcaps.rst and pointer-authentication.rst, asm/hwcap.h and
 * arch/arm64/kernel/cpuinfo.c (names) of Linux 6.1; prctl(2).
 *
 * @module
 */
import { viewOf } from '../../../formats/struct.ts';
import { UnexecError } from '../../errors.ts';
import { PAGE, type ProcessImage } from '../../image.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import { NR } from './system-calls.ts';

const AT_PAGESZ = 6n;
const PR_PAC_SET_ENABLED_KEYS = 60;
/** PR_PAC_APIAKEY, APIBKEY, APDAKEY, APDBKEY. */
const ADDRESS_KEYS = 0xf;

/** Entries of the auxiliary vector with bits for features, and the names of these from bit 0 on. */
// biome-ignore format: a row of names each
const WORDS = [
  {
    word: 'AT_HWCAP',
    type: 16n,
    names: [
      'fp', 'asimd', 'evtstrm', 'aes', 'pmull', 'sha1', 'sha2', 'crc32', 'atomics', 'fphp', 'asimdhp',
      'cpuid', 'asimdrdm', 'jscvt', 'fcma', 'lrcpc', 'dcpop', 'sha3', 'sm3', 'sm4', 'asimddp', 'sha512',
      'sve', 'asimdfhm', 'dit', 'uscat', 'ilrcpc', 'flagm', 'ssbs', 'sb', 'paca', 'pacg',
    ],
  },
  {
    word: 'AT_HWCAP2',
    type: 26n,
    names: [
      'dcpodp', 'sve2', 'sveaes', 'svepmull', 'svebitperm', 'svesha3', 'svesm4', 'flagm2', 'frint',
      'svei8mm', 'svef32mm', 'svef64mm', 'svebf16', 'i8mm', 'bf16', 'dgh', 'rng', 'bti', 'mte', 'ecv',
      'afp', 'rpres', 'mte3', 'sme', 'smei16i64', 'smef64f64', 'smei8i32', 'smef16f32', 'smeb16f32',
      'smef32f32', 'smefa64', 'wfxt', 'ebf16', 'sveebf16',
    ],
  },
] as const;
const HWCAP = WORDS[0];
/** Of the kernel rather than of the CPU, and nothing that code depends on: how long a WFE waits at most. */
const IGNORED: ReadonlySet<string> = new Set(['evtstrm']);

interface Feature {
  readonly name: string;
  /** Entry of the auxiliary vector. */
  readonly type: bigint;
  readonly bit: number;
}

/** Features that the process was told of, by their names in /proc/cpuinfo. */
export const neededArmFeatures = (image: Pick<ProcessImage, 'auxv'>): string[] =>
  featuresOf(image.auxv).map(({ name }) => name);

function featuresOf(auxv: Uint8Array): Feature[] {
  return WORDS.flatMap(({ word, type, names }) => {
    const bits = entryOf(auxv, type) ?? 0n;
    return Array.from({ length: 64 }, (_, bit) => bit)
      .filter(bit => ((bits >> BigInt(bit)) & 1n) !== 0n)
      .map(bit => ({ name: names[bit] ?? `bit ${bit} of ${word}`, type, bit }))
      .filter(({ name }) => !IGNORED.has(name));
  });
}

function entryOf(auxv: Uint8Array, wanted: bigint): bigint | undefined {
  const view = viewOf(auxv);
  for (let at = 0; at + 16 <= auxv.length; at += 16) {
    if (view.getBigUint64(at, true) === wanted) return view.getBigUint64(at + 8, true);
  }
  return undefined;
}

/** @throws UnexecError `PAGE_SIZE` for a process of a kernel with larger pages */
export function requireArmMachine(program: RestoreProgram, image: ProcessImage): void {
  const pageSize = entryOf(image.auxv, AT_PAGESZ) ?? BigInt(PAGE);
  if (pageSize !== BigInt(PAGE)) {
    throw new UnexecError('PAGE_SIZE', `the process has pages of ${pageSize} bytes, expected ${PAGE}`, {
      hint: 'freeze the program on a kernel with pages of 4 KiB',
    });
  }
  const found = program.slot();
  program.operation('AUXV', 'size of a page', [AT_PAGESZ], { into: found });
  program.operation('AT_MOST', `this kernel has larger pages than ${PAGE} bytes`, [found, PAGE]);
  const features = featuresOf(image.auxv);
  for (const { type } of WORDS) {
    const ours = features.filter(feature => feature.type === type);
    program.operation('AUXV', 'features of the CPU', [type], { into: found });
    for (const { name, bit } of ours) {
      program.operation('HAS_BITS', `this CPU lacks ${name}`, [found, 1n << BigInt(bit)]);
    }
    if (type === HWCAP.type) noPointerAuthentication(program, found);
  }
}

/**
 * A new process has new keys, which nothing but a debugger could set: what the old one signed would not be
 * authentic. So processes are frozen without any, and must not have them now. The threads inherit that.
 */
function noPointerAuthentication(program: RestoreProgram, features: { readonly slot: number }): void {
  const paca = 1n << BigInt(HWCAP.names.indexOf('paca'));
  program.when('HAS_BITS', 'pointer authentication', [features, paca], () => {
    program.syscall('turn pointer authentication off', NR.prctl, [
      PR_PAC_SET_ENABLED_KEYS,
      ADDRESS_KEYS,
      0,
      0,
      0,
    ]);
  });
}
