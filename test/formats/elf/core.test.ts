import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import {
  type CoreStatus,
  type ElfFile,
  EM,
  ET,
  elfBytes,
  encodeMappedFiles,
  encodeProcess,
  encodeStatus,
  FormatError,
  layoutElf,
  NT,
  newElf,
  newElfCore,
  PF,
  readElf,
  readElfCore,
  threadNote,
} from '../../../formats/elf/index.ts';
import { sandbox } from '../../support/sandbox.ts';

const directory = sandbox('elf-core');
const PAGE = 4096;

const statusOf = (tid: number, machine: number): CoreStatus => ({
  signal: 6,
  tid,
  ppid: 1,
  pgrp: 77,
  sid: 78,
  pending: 1n << 9n,
  held: 0x8000_0000_0000_0001n,
  registers: Array.from(
    { length: machine === EM.EM_X86_64 ? 27 : 34 },
    (_, i) => BigInt(tid) * 1000n + BigInt(i),
  ),
});

const PROCESS = {
  pid: 4711,
  ppid: 1,
  pgrp: 77,
  sid: 78,
  uid: 1000,
  gid: 1001,
  name: 'fifteen-letters',
  arguments: '/bin/fifteen-letters -x',
};
const FILES = [
  { start: 0x400000n, end: 0x402000n, offset: 0n, path: '/usr/bin/größer' },
  { start: 0x402000n, end: 0x405000n, offset: 0x7000n, path: '/with a space\nand a line' },
];

const notesOf = (machine: number) => [
  { owner: 'CORE', type: NT.NT_PRSTATUS, desc: encodeStatus(statusOf(4711, machine), machine) },
  { owner: 'CORE', type: NT.NT_PRPSINFO, desc: encodeProcess(PROCESS, 'S') },
  { owner: 'CORE', type: NT.NT_AUXV, desc: new Uint8Array(32).fill(5) },
  { owner: 'CORE', type: NT.NT_FILE, desc: encodeMappedFiles(FILES, PAGE) },
  { owner: 'CORE', type: NT.NT_PRFPREG, desc: new Uint8Array(512).fill(1) },
  { owner: 'CORE', type: NT.NT_PRSTATUS, desc: encodeStatus(statusOf(4712, machine), machine) },
  { owner: 'CORE', type: NT.NT_PRFPREG, desc: new Uint8Array(512).fill(2) },
  { owner: 'LINUX', type: NT.NT_X86_XSTATE, desc: new Uint8Array(832).fill(3) },
  { owner: 'unexec', type: 9, desc: new Uint8Array(8) },
];

/** The bytes of a core whose memory is as `fill` says, of each region. */
function bytesOf(file: ElfFile, fill: (i: number) => number): Uint8Array {
  const kept = file.segments.slice(1).map(({ offset, fileSize }, i) => ({
    offset,
    contents: new Uint8Array(fileSize).fill(fill(i)),
  }));
  return elfBytes({ ...file, kept: [...file.kept, ...kept] });
}

for (const machine of [EM.EM_X86_64, EM.EM_AARCH64]) {
  test(`readElfCore() gives what newElfCore() was given, for e_machine ${machine}`, t => {
    const memory = [
      { address: 0x400000n, size: PAGE, fileSize: PAGE, flags: PF.PF_R },
      { address: 0x500000n, size: 3 * PAGE, fileSize: 0, flags: PF.PF_R | PF.PF_X },
      { address: 0x7ff0_0000_0000n, size: 2 * PAGE, fileSize: PAGE, flags: PF.PF_R | PF.PF_W },
    ];
    const core = readElfCore(
      readElf(bytesOf(newElfCore({ machine, memory, notes: notesOf(machine) }), i => i + 1)),
    );
    t.is(core.machine, machine);
    t.deepEqual(
      core.memory.map(({ address, size, flags, contents }) => ({
        address,
        size,
        flags,
        fileSize: contents.size,
      })),
      memory.map(({ address, size, flags, fileSize }) => ({ address, size, flags, fileSize })),
    );
    t.is(core.memory[2]?.contents.read(PAGE - 1, 1)[0], 3);
    t.deepEqual(core.process, PROCESS);
    t.deepEqual(core.files, FILES);
    t.is(core.auxv?.length, 32);
    t.is(core.notes.length, 9);
    t.deepEqual(
      core.threads.map(({ notes, ...status }) => ({ status, types: notes.map(({ type }) => type) })),
      [
        { status: statusOf(4711, machine), types: [NT.NT_PRFPREG] },
        { status: statusOf(4712, machine), types: [NT.NT_PRFPREG, NT.NT_X86_XSTATE] },
      ],
    );
    const [, second] = core.threads;
    t.is(second && threadNote(second, NT.NT_X86_XSTATE)?.length, 832);
  });
}

test('readelf sees the threads and the memory of a core that newElfCore() laid out', t => {
  const path = join(directory, 'made.core');
  const memory = [{ address: 0x400000n, size: 2 * PAGE, fileSize: PAGE, flags: PF.PF_R }];
  writeFileSync(
    path,
    bytesOf(newElfCore({ machine: EM.EM_X86_64, memory, notes: notesOf(EM.EM_X86_64) }), () => 7),
  );
  const text = execFileSync('eu-readelf', ['-n', path], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.regex(text, /pid: 4712, ppid: 1, pgrp: 77, sid: 78/);
  t.regex(text, /fname: fifteen-letters, psargs: \/bin\/fifteen-letters -x/);
  t.regex(text, /00400000-00402000 00000000 8192 +\/usr\/bin\/größer/);
  t.regex(
    execFileSync('readelf', ['-lW', path], { encoding: 'utf8' }),
    /LOAD +0x001000 0x0*400000 0x0+ 0x001000 0x002000 R/,
  );
});

test('a core of 70,000 regions is read again, with PN_XNUM in its header', t => {
  const memory = Array.from({ length: 70_000 }, (_, i) => ({
    address: 0x10000n + BigInt(i) * 0x2000n,
    size: PAGE,
    fileSize: i % 7000 === 0 ? PAGE : 0,
    flags: PF.PF_R,
  }));
  const file = newElfCore({ machine: EM.EM_X86_64, memory, notes: notesOf(EM.EM_X86_64) });
  t.is(layoutElf(file).header.e_phnum, 0xffff);
  const core = readElfCore(readElf(bytesOf(file, i => (i % 251) + 1)));
  t.is(core.memory.length, 70_000);
  t.is(core.memory[63_000]?.contents.read(0, 1)[0], (63_000 % 251) + 1);
  t.is(core.threads.length, 2);
});

const small = (): Uint8Array =>
  bytesOf(
    newElfCore({
      machine: EM.EM_X86_64,
      memory: [
        { address: 0x400000n, size: PAGE, fileSize: PAGE, flags: PF.PF_R },
        { address: 0x500000n, size: PAGE, fileSize: PAGE, flags: PF.PF_R },
      ],
      notes: notesOf(EM.EM_X86_64),
    }),
    () => 1,
  );

test('a core that is cut off anywhere is refused with a FormatError', t => {
  const bytes = small();
  for (let size = 0; size < bytes.length; size += 97) {
    t.throws(() => readElfCore(readElf(bytes.subarray(0, size))), { instanceOf: FormatError });
  }
  const error = t.throws(() => readElfCore(readElf(bytes.subarray(0, bytes.length - 1))), {
    instanceOf: FormatError,
  });
  t.is(error?.code, 'ELF_TRUNCATED');
});

/** Puts a number of 64 bits into a program header (56 bytes each from 64 on). */
function withField(index: number, field: number, value: bigint): Uint8Array {
  const bytes = small().slice();
  new DataView(bytes.buffer).setBigUint64(64 + index * 56 + field, value, true);
  return bytes;
}

for (const [what, code, bytes] of [
  ['two segments at one address', 'ELF_OVERLAP', () => withField(2, 16, 0x400000n)],
  ['a segment beyond the address space', 'ELF_OVERLAP', () => withField(2, 16, 0xffff_ffff_ffff_f800n)],
  ['more bytes in the file than in memory', 'ELF_BAD_SEGMENT', () => withField(1, 40, 8n)],
  ['an executable', 'ELF_NOT_A_CORE', () => elfBytes(newElf({ type: ET.ET_EXEC }))],
] as const) {
  test(`readElfCore() refuses ${what} with ${code}`, t => {
    const error = t.throws(() => readElfCore(readElf(bytes())), { instanceOf: FormatError });
    t.is(error?.code, code);
  });
}

const withNote = (type: number, desc: Uint8Array, machine: number = EM.EM_X86_64): Uint8Array =>
  elfBytes(newElfCore({ machine, memory: [], notes: [{ owner: 'CORE', type, desc }] }));

for (const [what, code, bytes] of [
  ['a short NT_PRSTATUS', 'ELF_BAD_CORE_NOTE', () => withNote(NT.NT_PRSTATUS, new Uint8Array(335))],
  ['a short NT_PRPSINFO', 'ELF_BAD_CORE_NOTE', () => withNote(NT.NT_PRPSINFO, new Uint8Array(135))],
  ['a short NT_FILE', 'ELF_BAD_CORE_NOTE', () => withNote(NT.NT_FILE, new Uint8Array(15))],
  [
    'an NT_FILE of 2^64 - 1 files',
    'ELF_BAD_CORE_NOTE',
    () => withNote(NT.NT_FILE, new Uint8Array(64).fill(255)),
  ],
  [
    'an NT_FILE with a name too few',
    'ELF_BAD_CORE_NOTE',
    () => withNote(NT.NT_FILE, encodeMappedFiles(FILES, PAGE).slice(0, -3)),
  ],
  [
    'threads of another machine',
    'ELF_UNSUPPORTED_MACHINE',
    () => withNote(NT.NT_PRSTATUS, new Uint8Array(400), EM.EM_RISCV),
  ],
] as const) {
  test(`readElfCore() refuses ${what} with ${code}`, t => {
    const error = t.throws(() => readElfCore(readElf(bytes())), { instanceOf: FormatError });
    t.is(error?.code, code);
  });
}
