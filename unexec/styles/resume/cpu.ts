/**
 * What the resumed process needs of a CPU. Its libraries chose their functions for the CPU that it was
 * frozen on (glibc's ifuncs, a runtime's own dispatch), so every feature of that kind must be there, and
 * the kernel must keep the state that code or threads use. What is missing is told by name.
 * Facts: Intel SDM volume 1, chapter 13 (XSAVE), and what cpu-features.ts names.
 *
 * @module
 */
import {
  FEATURES,
  type Feature,
  LEAF_1,
  LEAF_EXTENDED,
  LEAF_XSAVE,
  type Leaf,
  REGISTERS,
  XCR0,
} from '../../cpu-features.ts';
import type { CpuFeatures, ProcessImage } from '../../image.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import type { DataRef, Slot, StepArgument } from '../../restorer/steps.ts';
import { placedComponents, stateInUse } from '../../xstate.ts';

/** What an image needs: features by their names in /proc/cpuinfo, and components of XCR0. */
export interface CpuNeeds {
  readonly features: readonly string[];
  readonly xcr0: bigint;
  /**
   * Components that must not be there: the loader, where it binds a function at its first call, saves all of these
   * in a place that it has measured for the CPU of the first life.
   */
  readonly without: bigint;
  /** Components that threads have something in, and where in an XSAVE area that is. */
  readonly places: readonly { readonly bit: bigint; readonly offset: number }[];
}

/** What the image needs. */
export function cpuNeeds(image: Pick<ProcessImage, 'origin' | 'threads' | 'modules'>): CpuNeeds {
  const { cpu } = image.origin;
  const features = neededFeatures(cpu);
  let xcr0 = image.threads.reduce<bigint>((bits, { machine }) => bits | stateInUse(machine), XCR0.BASE);
  if (cpu.flags.includes('avx')) xcr0 |= XCR0.AVX & cpu.xcr0;
  if (cpu.flags.includes('avx512f')) xcr0 |= XCR0.AVX512 & cpu.xcr0;
  const places = image.threads.flatMap(({ machine }) => placedComponents(machine));
  return {
    features,
    xcr0,
    without: growingState(image),
    places: [...new Map(places.map(place => [place.bit, place])).values()],
  };
}

/** The features that code was chosen by, by their names in /proc/cpuinfo. */
export const neededFeatures = (cpu: CpuFeatures): string[] =>
  FEATURES.flatMap(({ name }) => (cpu.flags.includes(name) ? [name] : []));

/**
 * XSAVE writes every component that the kernel has enabled; XSAVEC, which glibc prefers, leaves out what is not in
 * use, so that more components do no harm. A program that was started for a level (`--cpu`) has bound everything.
 */
function growingState({ origin: { cpu }, modules }: Pick<ProcessImage, 'origin' | 'modules'>): bigint {
  const bindsLazily = modules.length > 1 && cpu.restriction === undefined;
  const saves = cpu.flags.includes('xsave') && !cpu.flags.includes('xsavec');
  return bindsLazily && saves ? XCR0.AVX512 & ~cpu.xcr0 : 0n;
}

/** Steps that refuse a CPU without these features, and a kernel without this state. */
export function requireCpu(program: RestoreProgram, needs: CpuNeeds): void {
  const needed = FEATURES.filter(({ name }) => needs.features.includes(name));
  const lacking = program.slot();
  const leaves = leavesToAsk(needed);
  if (leaves.length > 0) {
    program.operation('SET', 'features are missing, until they are found', [1, 0, 0], { into: lacking });
    requireLeaves(program, leaves, needed, () =>
      program.operation('SET', 'no feature is missing', [0, 0, 0], { into: lacking }),
    );
    program.unless('AT_MOST', 'all features are there', [lacking, 0], () => nameMissing(program, needed));
  }
  if (needs.xcr0 !== XCR0.BASE) {
    program.operation('XGETBV', `this kernel does not save the CPU state ${stateNames(needs.xcr0)}`, [
      needs.xcr0,
    ]);
  }
  for (const { bit, offset } of needs.places) {
    // That CPU's place has all bits of ours: of the two that there are, only the same one has.
    const name = `this CPU keeps the state of ${stateNames(bit)} in another place`;
    program.operation('CPUID', name, [LEAF_XSAVE.leaf, Math.log2(Number(bit)), offset, 0, 0]);
  }
  for (const component of componentsOf(needs.without)) {
    program.when('XGETBV', 'more CPU state than at the freeze', [component], () => {
      const names = stateNames(component);
      const remedy = 'freeze with --cpu, which binds all functions at the start';
      program.operation(
        'FAIL',
        `functions are bound as they are called, and save no ${names} (${remedy})`,
        [],
      );
    });
  }
}

/**
 * Each CPUID costs a virtual machine several microseconds. A CPU with AVX2 has all of leaf 1 and what x86-64-v3
 * has of the extended one; one with AVX512VL has XSAVEC.
 */
function leavesToAsk(needed: readonly Feature[]): Leaf[] {
  const has = (name: string): boolean => needed.some(feature => feature.name === name);
  const implied = (feature: Feature): boolean =>
    (feature.leaf === LEAF_1 && has('avx2')) ||
    (feature.leaf === LEAF_EXTENDED && ['abm', 'lahf_lm'].includes(feature.name) && has('avx2')) ||
    (feature.leaf === LEAF_XSAVE && has('avx512vl'));
  return [...new Set(needed.filter(feature => !implied(feature)).map(({ leaf }) => leaf))];
}

/** Runs `then` where every leaf has what is needed of it. */
function requireLeaves(
  program: RestoreProgram,
  leaves: readonly Leaf[],
  needed: readonly Feature[],
  then: () => void,
): void {
  const [leaf, ...rest] = leaves;
  if (leaf === undefined) {
    then();
    return;
  }
  const features = needed.filter(feature => feature.leaf === leaf);
  const names = features.map(({ name }) => name).join(' ');
  program.when('CPUID', `this CPU has ${names}`, cpuid(leaf, features), () =>
    requireLeaves(program, rest, needed, then),
  );
}

/** Arguments of CPUID, up to the count of steps to skip. */
function cpuid({ leaf, subleaf }: Leaf, features: readonly Feature[]): StepArgument[] {
  const [eax = 0, ebx = 0, ecx = 0, edx = 0] = REGISTERS.map(register =>
    features
      .filter(feature => feature.register === register)
      .reduce((bits, { bit }) => (bits | (1 << bit)) >>> 0, 0),
  );
  return [leaf, (BigInt(eax) << 32n) | BigInt(subleaf), ebx, ecx, edx];
}

/** Fails with the names of those that are not there. */
function nameMissing(program: RestoreProgram, needed: readonly Feature[]): void {
  const room = needed.reduce((sum, { name }) => sum + name.length + 1, 0);
  const text = program.data(new Uint8Array(room));
  const end = program.slot();
  program.operation('SET', 'no names yet', [text, 0, 0], { into: end });
  for (const feature of needed) {
    program.unless('CPUID', `this CPU has ${feature.name}`, cpuid(feature.leaf, [feature]), () =>
      append(program, ` ${feature.name}`, end),
    );
  }
  const length = program.slot();
  program.operation('SET', 'length of the names', [end, 0, text], { into: length });
  program.operation('FAIL', 'this CPU lacks', [0, text, length]);
}

function append(program: RestoreProgram, text: string, end: Slot): void {
  const bytes: DataRef = program.data(Buffer.from(text), 1);
  program.operation('COPY', `name${text}`, [end, bytes, text.length]);
  program.operation('SET', 'end of the names', [end, text.length, 0], { into: end });
}

/** Names of components of XCR0 as the SDM has them. */
function stateNames(xcr0: bigint): string {
  const known: readonly (readonly [bigint, string])[] = [
    [XCR0.AVX, 'AVX'],
    [XCR0.AVX512, 'AVX-512'],
    [XCR0.PKRU, 'PKRU'],
  ];
  const rest = known.reduce((bits, [bit]) => bits & ~bit, xcr0 & ~XCR0.BASE);
  const names = known.filter(([bits]) => (xcr0 & bits) !== 0n).map(([, name]) => name);
  return [...names, ...(rest === 0n ? [] : [`0x${rest.toString(16)}`])].join(' and ');
}

function componentsOf(xcr0: bigint): bigint[] {
  const bits = Array.from({ length: 64 }, (_, i) => 1n << BigInt(i));
  return bits.filter(bit => (xcr0 & bit) !== 0n);
}
