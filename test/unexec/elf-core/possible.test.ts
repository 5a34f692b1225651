import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import {
  type CoreMappedFile,
  type ElfNote,
  EM,
  encodeMappedFiles,
  encodeProcess,
  encodeStatus,
  layoutElf,
  type NewCoreMemory,
  NT,
  newElfCore,
  PF,
  writeElf,
} from '../../../formats/elf/index.ts';
import { UnexecError } from '../../../unexec/errors.ts';
import { freeze } from '../../../unexec/freeze.ts';
import { sandbox } from '../../support/sandbox.ts';

const directory = sandbox('possible-cores');
let count = 0;

/** Most of these took minutes, gigabytes or forever when they were believed. */
interface Parts {
  readonly memory?: readonly NewCoreMemory[];
  readonly files?: readonly CoreMappedFile[];
  readonly threads?: number;
  readonly auxv?: Uint8Array;
}

const AT_ENTRY = 9n;
const ENTRY = 0x40_1000n;
const AUXV = new Uint8Array(new BigUint64Array([AT_ENTRY, ENTRY, 0n, 0n]).buffer);
const IDS = { ppid: 1, pgrp: 1000, sid: 1000 };

function writeCore({ memory = [], files = [], threads = 1, auxv = AUXV }: Parts): string {
  const core = (type: number, desc: Uint8Array): ElfNote => ({ owner: 'CORE', type, desc });
  const statuses = Array.from({ length: threads }, (_, i) => {
    const registers = Array.from({ length: 27 }, (_, n) => (n === 17 ? 0x33n : 0n));
    const status = { signal: 0, tid: 10_000 + i, ...IDS, pending: 0n, held: 0n, registers };
    return core(NT.NT_PRSTATUS, encodeStatus(status, EM.EM_X86_64));
  });
  const process = { pid: 10_000, ...IDS, uid: 0, gid: 0, name: 'made', arguments: 'made' };
  const notes = [
    ...statuses,
    core(NT.NT_PRPSINFO, encodeProcess(process, 'R')),
    core(NT.NT_SIGINFO, new Uint8Array(128)),
    core(NT.NT_AUXV, auxv),
    core(NT.NT_FILE, encodeMappedFiles(files, 1)),
  ];
  const layout = layoutElf(newElfCore({ machine: EM.EM_X86_64, memory, notes }));
  const last = memory.reduce((end, { fileSize }) => Math.ceil(end / 4096) * 4096 + fileSize, layout.size);
  const bytes = new Uint8Array(Math.max(layout.size, last));
  for (const part of writeElf(layout)) bytes.set(part.bytes, part.offset);
  const path = join(directory, `core-${count++}`);
  writeFileSync(path, bytes);
  return path;
}

async function refused(t: ExecutionContext, parts: Parts): Promise<UnexecError> {
  return await t.throwsAsync(freeze(writeCore(parts), join(directory, `out-${count}`)), {
    instanceOf: UnexecError,
  });
}

const segment = (address: bigint, size: number, fileSize = 0): NewCoreMemory => ({
  address,
  size,
  flags: PF.PF_R | PF.PF_W,
  fileSize,
});
const mapped = (start: bigint, end: bigint, offset = 0n): CoreMappedFile => ({
  start,
  end,
  offset,
  path: '/x',
});

const IMPOSSIBLE: Readonly<Record<string, readonly [Parts, RegExp]>> = {
  'memory that begins within a page': [{ memory: [segment(0x1000_0010n, 4096)] }, /whole pages/],
  'memory that ends within a page': [{ memory: [segment(0x1000_0000n, 100)] }, /whole pages/],
  'memory of the kernel': [{ memory: [segment(0xffff_8000_0000_0000n, 4096)] }, /user space/],
  'a file that is mapped within a page': [{ files: [mapped(0x1000_0801n, 0x1000_0902n)] }, /whole pages/],
  'a file that is mapped from an odd offset': [
    { files: [mapped(0x1000_0000n, 0x1000_1000n, 5n)] },
    /offset 0x5/,
  ],
  'a file that is mapped from an enormous offset': [
    { files: [mapped(0x1000_0000n, 0x1000_1000n, 1n << 60n)] },
    /offset/,
  ],
  'thousands of files on one page': [
    {
      files: Array.from({ length: 5000 }, (_, i) => mapped(0x1000_0000n + BigInt(i) * 4096n, 0x1_0000_0000n)),
    },
    /where the next one begins/,
  ],
  'more segments than a kernel allows': [
    { memory: Array.from({ length: 600_000 }, (_, i) => segment(0x1000_0000n + BigInt(i) * 8192n, 4096)) },
    /600000 segments/,
  ],
  'more threads than a kernel allows': [{ threads: 70_000 }, /70000 threads/],
};

for (const [what, [parts, message]] of Object.entries(IMPOSSIBLE)) {
  test(`a core with ${what} is refused`, async t => {
    const error = await refused(t, parts);
    t.is(error.code, 'CORE_IMPOSSIBLE');
    t.regex(error.message, message);
  });
}

test('a core with 20,000 threads and memory that looks like their ids is read at once', async t => {
  const { code } = await refused(t, { threads: 20_000, memory: [segment(0x1000_0000n, 8 << 20, 8 << 20)] });
  t.is(code, 'CANNOT_BE_KEPT');
});

test('a core with 60,000 gigabytes of memory that it does not hold is read at once', async t => {
  const memory = Array.from({ length: 60_000 }, (_, i) =>
    segment(0x1000_0000n + BigInt(i) * 0x4000_0000n, 0x4000_0000),
  );
  t.is((await refused(t, { memory })).code, 'CANNOT_BE_KEPT');
});

test('a core whose auxiliary vector has megabytes is read at once', async t => {
  const auxv = new Uint8Array(3 << 20).fill(1);
  auxv.set(AUXV.subarray(0, 16));
  const error = await refused(t, { auxv, threads: 2, memory: [segment(0x1000_0000n, 4 << 20, 4 << 20)] });
  t.is(error.code, 'CANNOT_BE_KEPT');
});
