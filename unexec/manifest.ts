/**
 * The manifest: what an image says about itself, a note in every file that unexec writes (`PT_NOTE`,
 * owner `unexec`, type 1), as JSON in UTF-8.
 *
 * @module
 */
import type { CompressedBlock } from './compressed-memory.ts';
import type { CpuLevel } from './cpu-features.ts';
import { bytesLeft, type Left } from './file-pages.ts';
import {
  type Assumption,
  type CpuRestriction,
  type KernelIdentity,
  type ProcessImage,
  programCounter,
  type RegionKind,
  stackPointer,
} from './image.ts';
import { type ManifestFile, manifestFiles } from './manifest-files.ts';
import type { NormalStart } from './styles/resume/fallback.ts';

/** Types of the notes with owner `unexec`. */
export const NOTE = { MANIFEST: 1, ZONES: 2, BLOCKS: 3, STATE: 4 } as const;

/** Increased when a reader of an older manifest would misread a newer one. */
export const MANIFEST_VERSION = 1;

export interface Manifest {
  readonly version: typeof MANIFEST_VERSION;
  /** Version of unexec. */
  readonly tool: string;
  readonly style: 'resume';
  readonly arch: string;
  readonly program: string;
  readonly argv: readonly string[];
  readonly freezePoint: string;
  /** ISO 8601, UTC. */
  readonly frozenAt: string;
  readonly kernel: KernelIdentity;
  readonly cpu: ManifestCpu;
  /** Empty: that of whoever starts it. */
  readonly cwd: string;
  readonly modules: readonly { readonly path: string; readonly start: string; readonly buildId: string }[];
  readonly threads: readonly {
    readonly tid: number;
    readonly name: string;
    readonly pc: string;
    readonly sp: string;
  }[];
  readonly descriptors: readonly { readonly fds: readonly number[]; readonly what: string }[];
  readonly regions: readonly ManifestRegion[];
  /** Other files that have pages of it: they must be there, and as they were. Absent: none. */
  readonly files?: readonly ManifestFile[];
  /** Bytes that all stored memory takes as LZ4 blocks (`--compress`). Absent: it is stored as it is. */
  readonly compressed?: number;
  /** What is started where it cannot resume: `--or-start`. The new arguments follow. Absent: nothing. */
  readonly orStart?: { readonly program: string; readonly argv: readonly string[] };
  /** What a core did not say of the process, and what was taken instead; none where the process was there. */
  readonly assumptions?: readonly Assumption[];
  /** Where the steps of the restore program are. */
  readonly steps: { readonly address: string; readonly size: number };
}

/** What a file of the restart style says of itself. Addresses are the file's. */
export interface RestartManifest {
  readonly version: typeof MANIFEST_VERSION;
  /** Version of unexec. */
  readonly tool: string;
  readonly style: 'restart';
  readonly arch: string;
  readonly program: string;
  readonly argv: readonly string[];
  /** `stop`, …, or `core`. */
  readonly freezePoint: string;
  /** ISO 8601, UTC. */
  readonly frozenAt: string;
  /** How many times this program has been dumped, one after the other. */
  readonly generation: number;
  readonly pointers: { readonly found: 'comparison' | 'scan'; readonly count: number };
}

/** What a frozen library says of itself. Addresses are the file's. */
export interface SharedManifest {
  readonly version: typeof MANIFEST_VERSION;
  /** Version of unexec. */
  readonly tool: string;
  readonly style: 'shared';
  readonly arch: string;
  /** Name of the library that was frozen. */
  readonly program: string;
  /** The function that was called; null: the library's constructors have done it all. */
  readonly initialiser: string | null;
  /** ISO 8601, UTC. */
  readonly frozenAt: string;
  /**
   * In which order blocks lie: from each variable, and from each block, to what its first word leads to and so on;
   * or as they were on the heap.
   */
  readonly order: 'depth-first' | 'address';
  readonly blocks: {
    readonly address: string;
    readonly count: number;
    /** What the program may use of them. */
    readonly bytes: number;
  };
  readonly pointers: {
    readonly found: 'comparison';
    /** Into the library and its blocks. */
    readonly relative: number;
    /** To what other libraries export. */
    readonly symbolic: number;
    readonly relocations: 'relr' | 'rela';
  };
  /** Imports that leave blocks of the image alone. */
  readonly rerouted: readonly string[];
}

export interface ManifestCpu {
  /** Features that the image needs, by their names in /proc/cpuinfo. */
  readonly features: readonly string[];
  /** State that the kernel must keep, as bits of XCR0. */
  readonly xcr0: string;
  /** What the program was started for, and how: `CpuRestriction`. */
  readonly level: CpuLevel;
  readonly by: CpuRestriction['by'] | null;
}

export interface ManifestRegion {
  readonly start: string;
  readonly size: number;
  readonly kind: RegionKind;
  /** `rwxp` as in /proc/PID/maps. */
  readonly permissions: string;
  readonly name: string;
  /** Bytes of it that the file has, compressed or not. */
  readonly stored: number;
  /** Bytes that are left in the file that is mapped there (a thin image). Absent: none. */
  readonly inFile?: number;
}

export interface ManifestFacts {
  readonly tool: string;
  readonly needs: { readonly features: readonly string[]; readonly xcr0: bigint };
  readonly stored: ReadonlyMap<bigint, number>;
  readonly left: Left;
  readonly blocks: readonly CompressedBlock[] | undefined;
  readonly orStart: NormalStart | undefined;
  readonly steps: { readonly address: bigint; readonly size: number };
}

/** The manifest of a resume image. */
export function resumeManifest(image: ProcessImage, facts: ManifestFacts): Manifest {
  const { origin } = image;
  const hex = (value: bigint): string => `0x${value.toString(16)}`;
  return {
    version: MANIFEST_VERSION,
    tool: facts.tool,
    style: 'resume',
    arch: image.arch,
    program: origin.program,
    argv: origin.argv,
    freezePoint: origin.freezePoint,
    frozenAt: origin.frozenAt,
    kernel: origin.kernel,
    cpu: {
      features: facts.needs.features,
      xcr0: hex(facts.needs.xcr0),
      level: origin.cpu.restriction?.level ?? 'native',
      by: origin.cpu.restriction?.by ?? null,
    },
    cwd: image.cwd ?? '',
    modules: image.modules.map(({ path, start, buildId }) => ({ path, start: hex(start), buildId })),
    threads: image.threads.map(thread => ({
      tid: thread.tid,
      name: thread.name,
      pc: hex(programCounter(thread)),
      sp: hex(stackPointer(thread)),
    })),
    descriptors: image.files.map(({ descriptors, what }) => ({
      fds: descriptors.map(({ fd }) => fd),
      what: 'path' in what ? `${what.type} ${what.path}` : what.type,
    })),
    ...(image.assumptions.length === 0 ? {} : { assumptions: image.assumptions }),
    regions: image.regions.map(region => ({
      start: hex(region.start),
      size: region.size,
      kind: region.kind,
      permissions: [
        region.read ? 'r' : '-',
        region.write ? 'w' : '-',
        region.execute ? 'x' : '-',
        region.shared ? 's' : 'p',
      ].join(''),
      name: region.name,
      stored: facts.stored.get(region.start) ?? 0,
      ...(facts.left.has(region) ? { inFile: bytesLeft(facts.left, region) } : {}),
    })),
    ...(facts.left.size === 0 ? {} : { files: manifestFiles(facts.left) }),
    ...(facts.blocks === undefined ? {} : { compressed: sumOf(facts.blocks.map(({ length }) => length)) }),
    ...(facts.orStart === undefined
      ? {}
      : { orStart: { program: facts.orStart.program, argv: facts.orStart.argv } }),
    steps: { address: hex(facts.steps.address), size: facts.steps.size },
  };
}

const sumOf = (numbers: readonly number[]): number => numbers.reduce((sum, number) => sum + number, 0);

export const encodeManifest = (manifest: Manifest | RestartManifest | SharedManifest): Uint8Array =>
  new TextEncoder().encode(JSON.stringify(manifest));
