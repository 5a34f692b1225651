/**
 * What `unexec inspect` tells: these types are the schema of `--json`. Everything is plain JSON: addresses are
 * hexadecimal text, sizes are bytes, what a file does not say is null, and every key is always there.
 *
 * The command puts `ok` and `exitCode` beside the keys of the report.
 *
 * @module
 */

/** `0x` and lower-case hexadecimal: addresses are beyond what JSON's numbers hold. */
export type Address = `0x${string}`;

/** Of every file: `unexec inspect --json FILE`. */
export interface InspectReport {
  /** Increased when a reader of an older report would misread a newer one. */
  readonly version: 1;
  readonly path: string;
  readonly format: 'ELF' | 'Mach-O' | 'fat Mach-O';
  readonly size: number;
  /** One; of a fat file one a slice. */
  readonly images: readonly InspectedImage[];
}

export interface InspectedImage {
  readonly format: 'ELF' | 'Mach-O';
  /** `executable`, `shared library`, `core`, …; `image` is a process that unexec froze. */
  readonly kind: string;
  /** `x86_64`, `aarch64` (ELF), `arm64` (Mach-O), … */
  readonly arch: string;
  /** Where the image begins in the file: 0, but for slices. */
  readonly offset: number;
  readonly size: number;
  readonly identifier: { readonly type: 'build-id' | 'uuid'; readonly value: string } | null;
  /** Libraries that its loader is told to load, in their order. */
  readonly libraries: readonly string[];
  readonly segments: readonly InspectedSegment[];
  readonly sections: readonly InspectedSection[];
  /** What unexec made of it; null for the files of others. */
  readonly unexec: FrozenProcess | FrozenProgram | FrozenLibrary | PreparedProgram | null;
}

export interface InspectedSegment {
  readonly name: string;
  /** `r-x`. */
  readonly protection: string;
  readonly address: Address;
  readonly memorySize: number;
  readonly offset: number;
  readonly fileSize: number;
}

export interface InspectedSection {
  readonly name: string;
  /** `SHT_PROGBITS`, `S_REGULAR`. */
  readonly type: string;
  /** Null where it is not in memory. */
  readonly protection: string | null;
  /** Null where it is not in memory. */
  readonly address: Address | null;
  readonly memorySize: number;
  /** Null where it has no bytes in the file. */
  readonly offset: number | null;
  readonly fileSize: number;
}

/** What every frozen file says of itself. */
export interface FrozenFacts {
  /** Version of unexec. */
  readonly tool: string;
  /** What was frozen: a path, or the name of a program or library. */
  readonly program: string;
  /** ISO 8601, UTC. */
  readonly frozenAt: string;
  readonly zones: readonly InspectedZone[];
  readonly regions: readonly InspectedRegion[];
  /** `regions`, summed up; largest first. */
  readonly regionKinds: readonly RegionSum[];
  /** What each start makes anew, in words. */
  readonly fresh: readonly string[];
}

/** Style `resume`: a process that goes on. */
export interface FrozenProcess extends FrozenFacts {
  readonly style: 'resume';
  readonly argv: readonly string[];
  readonly freezePoint: string;
  /** Where it was frozen: uname(2). */
  readonly kernel: {
    readonly sysname: string;
    readonly release: string;
    readonly version: string;
    readonly machine: string;
  };
  /**
   * What it needs: features as in /proc/cpuinfo, and bits of XCR0. `level` is what the program was started for (`--cpu`),
   * `by` how: `tunables` (what the C library chose) or `trapping` (every CPUID was answered); null for `native`.
   */
  readonly cpu: {
    readonly features: readonly string[];
    readonly xcr0: Address;
    readonly level: string;
    readonly by: string | null;
  };
  readonly cwd: string;
  readonly modules: readonly { readonly path: string; readonly start: Address; readonly buildId: string }[];
  readonly threads: readonly InspectedThread[];
  readonly descriptors: readonly { readonly fds: readonly number[]; readonly what: string }[];
  /** Other files that have pages of it (`--thin`), and must be as they were. */
  readonly files: readonly InspectedFile[];
  /** Bytes that what it has stored takes in the file as LZ4 blocks (`--compress`); null: stored as it is. */
  readonly compressed: number | null;
  /** What is started where it cannot resume (`--or-start`), with the new arguments behind these. */
  readonly orStart: { readonly program: string; readonly argv: readonly string[] } | null;
  readonly restoreProgram: {
    readonly address: Address;
    readonly count: number;
    /** Null unless asked for (`--steps`). */
    readonly steps: readonly InspectedStep[] | null;
  };
}

/** A file that is known again by its build-id, or by its size and the time of its last change. */
export interface InspectedFile {
  readonly path: string;
  /** It must have at least these bytes. */
  readonly leastSize: number;
  /** Hexadecimal. */
  readonly buildId: string | null;
  /** ISO 8601, UTC. */
  readonly changed: string | null;
}

/** Style `restart`: a program that begins again at main with its state. */
export interface FrozenProgram extends FrozenFacts {
  readonly style: 'restart';
  readonly argv: readonly string[];
  /** `stop`, …, or `core`. */
  readonly freezePoint: string;
  /** How many times this program has been dumped, one after the other. */
  readonly generation: number;
  readonly pointers: { readonly found: string; readonly count: number };
}

/** Style `shared`: a library that is initialised when it is opened. */
export interface FrozenLibrary extends FrozenFacts {
  readonly style: 'shared';
  /** The function that was called; null: constructors did it all. */
  readonly initialiser: string | null;
  /** In which order blocks lie. */
  readonly order: string;
  readonly blocks: { readonly address: Address; readonly count: number; readonly bytes: number };
  readonly pointers: {
    readonly relative: number;
    readonly symbolic: number;
    readonly relocations: string;
  };
  /** Imports that leave blocks of the image alone. */
  readonly rerouted: readonly string[];
}

/** A program that `unexec prepare` gave address space for its heap, not yet dumped. */
export interface PreparedProgram {
  readonly style: 'prepared';
  readonly reserve: { readonly address: Address; readonly size: number };
}

export interface InspectedZone {
  /** `heap`, `thread-arena`, `reserve`, … */
  readonly kind: string;
  readonly address: Address;
  readonly size: number;
  /** Null where the allocator's own structures do not tell. */
  readonly used: number | null;
  /** Bytes from the beginning beyond which nothing was handed out. */
  readonly highWater: number;
  readonly pageSize: number;
  readonly isDefault: boolean;
}

/** A stretch of the memory that comes back. `size` is `stored + zero + sharedWithFile + kernel`. */
export interface InspectedRegion extends RegionBytes {
  readonly address: Address;
  /** `heap`, `stack`, `module-text`, …; of programs and libraries `code`, `constants`, `variables`, `heap`. */
  readonly kind: string;
  /** `rw-p` as in /proc/PID/maps, or `rw-`. */
  readonly protection: string;
  readonly name: string;
}

export interface RegionSum extends RegionBytes {
  readonly kind: string;
  readonly count: number;
}

export interface RegionBytes {
  readonly size: number;
  /** In the image's file, but for pages of zeros. */
  readonly stored: number;
  /** Zero when it starts: elided pages. */
  readonly zero: number;
  /** From another file that is mapped again at each start, and shared with it. */
  readonly sharedWithFile: number;
  /** Mapped by the kernel itself: vdso, vvar. */
  readonly kernel: number;
}

export interface InspectedThread {
  readonly tid: number;
  readonly name: string;
  /** Where it goes on. */
  readonly at: Address;
  /** Null where no symbol is there. */
  readonly symbol: InspectedSymbol | null;
  readonly stackPointer: Address;
}

export interface InspectedSymbol {
  readonly name: string;
  /** Bytes from where the symbol begins. */
  readonly offset: number;
}

/** A step of the restore program. */
export interface InspectedStep {
  /** `SYSCALL`, `LOAD`, … */
  readonly op: string;
  /** Without it the process does not go on; otherwise it is skipped where the kernel refuses. */
  readonly required: boolean;
  readonly name: string;
  /** Of a system call; null for other operations. */
  readonly call: string | null;
  /** Constants in hexadecimal, slots as `$17`. */
  readonly args: readonly string[];
  /** The slot that gets the result: `$17`; null where nobody wants it. */
  readonly result: string | null;
}

/** What is at an address: `unexec inspect --json --address 0x… FILE`. */
export interface AddressReport {
  readonly version: 1;
  readonly path: string;
  readonly address: Address;
  /** One for each image that has something there: a fat file may have several. */
  readonly places: readonly AddressPlace[];
}

export interface AddressPlace {
  readonly arch: string;
  /** Of a frozen process; null in other files. */
  readonly region: { readonly kind: string; readonly name: string; readonly address: Address } | null;
  readonly segment: { readonly name: string; readonly address: Address } | null;
  /** Null where the bytes are in no section; then `what` says what they are. */
  readonly section: { readonly name: string; readonly address: Address } | null;
  /** `section`, `header`, `segment`, `linkedit`, `gap`, with its name. */
  readonly what: string;
  readonly protection: string;
  readonly symbol: InspectedSymbol | null;
  /** In the file; null where it has no byte for this address. */
  readonly offset: number | null;
  /** Where the byte comes from: the file, zeros, or nowhere (a debug file, a core that left it out). */
  readonly backing: 'file' | 'zero' | 'absent';
  /** Lines of 16 bytes around the address; a byte that the file does not have is `??`. */
  readonly bytes: readonly { readonly address: Address; readonly hex: string; readonly text: string }[];
}

/** What looks like a credential: `unexec inspect --json --secrets FILE`. */
export interface SecretsReport {
  readonly version: 1;
  readonly path: string;
  /** How many there are; `secrets` has at most 1000 of them. */
  readonly count: number;
  readonly secrets: readonly FoundSecret[];
}

export interface FoundSecret {
  readonly kind: 'private key' | 'token' | 'password in a URL' | 'environment' | 'assignment';
  /** What it is called: `GITHUB_TOKEN`, `AWS access key`, `RSA PRIVATE KEY`. Never the value. */
  readonly name: string;
  /** Section, segment or region: `heap.rw-`, `.data`. */
  readonly region: string;
  /** Null where the bytes are not in memory. */
  readonly address: Address | null;
  /** In the file: of the value, or of the compressed block that it is in. */
  readonly offset: number;
  /** At most a quarter of the value, and at most four characters. */
  readonly begins: string;
  /** Characters of the value, as far as it was followed. */
  readonly length: number;
}
