import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { contentsSize, wholeContents } from '../../../formats/contents.ts';
import { FormatError } from '../../../formats/errors.ts';
import { ARM_FLAVOR, CPU_TYPE, VM_PROT, X86_FLAVOR } from '../../../formats/macho/constants.ts';
import { type MachOCore, type NewNote, newNote, readCore } from '../../../formats/macho/core.ts';
import {
  allImageInfosSize,
  CORE_NOTE,
  type CoreImage,
  encodeAddressableBits,
  encodeAllImageInfos,
  encodeLoadBinary,
} from '../../../formats/macho/core-notes.ts';
import {
  programCounter,
  registerState,
  stackPointer,
  wrapState,
} from '../../../formats/macho/core-threads.ts';
import { newMachO } from '../../../formats/macho/model.ts';
import { readMachO } from '../../../formats/macho/read.ts';
import { arm_exception_state64, x86_exception_state64 } from '../../../formats/macho/structs.ts';
import { machoBytes } from '../../../formats/macho/write.ts';
import { run } from '../../support/run.ts';
import { sandbox } from '../../support/sandbox.ts';
import { armRegisters, coreBytes, threadOf, x86Registers } from '../../support/synthetic-core.ts';

const directory = sandbox('macho-core');
const ORDERS = ['xnu', 'lldb'] as const;
const DATA = 0x1_0000_4000n;
const CODE = 0x1_0000_0000n;
const data = Uint8Array.from({ length: 0x4000 }, (_, i) => i * 7);
const code = Uint8Array.from({ length: 0x1000 }, (_, i) => i * 3);
const STRETCHES = [
  { address: DATA, bytes: data },
  { address: CODE, bytes: code, protection: VM_PROT.VM_PROT_READ | VM_PROT.VM_PROT_EXECUTE },
];
const UUID = '00112233445566778899aabbccddeeff';
const IMAGES: readonly CoreImage[] = [
  {
    path: '/tmp/program',
    uuid: UUID,
    loadAddress: CODE,
    segments: [
      { name: '__TEXT', address: CODE },
      { name: '__DATA', address: DATA },
    ],
    executing: true,
  },
  { path: undefined, uuid: undefined, loadAddress: undefined, segments: [], executing: false },
];
const imageList = (images: readonly CoreImage[]): NewNote => ({
  owner: CORE_NOTE.ALL_IMAGE_INFOS,
  size: allImageInfosSize(images),
  at: offset => encodeAllImageInfos(images, offset),
});
const NOTES = [
  imageList(IMAGES),
  newNote(CORE_NOTE.ADDRABLE_BITS, encodeAddressableBits({ low: 47, high: 48 })),
  newNote(
    CORE_NOTE.LOAD_BINARY,
    encodeLoadBinary({ type: undefined, uuid: UUID, address: CODE, slide: 0n, name: 'program' }),
  ),
  newNote(CORE_NOTE.PROCESS_METADATA, new TextEncoder().encode('{"threads":[{"thread_id":7},{}]}')),
];

const read = (bytes: Uint8Array): MachOCore => readCore(readMachO(bytes));

for (const order of ORDERS) {
  test(`readCore() reads back what newCore() made in the order of ${order}`, t => {
    const registers = [x86Registers({ rip: 0x1234n, rsp: 0x5678n, r15: 15n }), x86Registers({ rip: 1n })];
    const core = read(coreBytes(STRETCHES, { order, threads: registers.map(threadOf), notes: NOTES }));
    t.is(core.cputype, CPU_TYPE.CPU_TYPE_X86_64);
    // By address, whatever the order in the file.
    t.deepEqual(
      core.memory.map(({ address, size, protection }) => [address, size, protection]),
      [
        [CODE, 0x1000, 5],
        [DATA, 0x4000, 3],
      ],
    );
    t.deepEqual(
      core.memory.map(({ contents }) => contents && wholeContents(contents)),
      [code, data],
    );
    t.deepEqual(
      core.threads.map(thread => thread.registers),
      registers,
    );
    t.deepEqual(core.images, IMAGES);
    t.deepEqual(core.addressableBits, { low: 47, high: 48 });
    t.deepEqual(core.binaries, [{ type: undefined, uuid: UUID, address: CODE, slide: 0n, name: 'program' }]);
    t.deepEqual(core.threadIds, [7, 0]);
    t.deepEqual(
      core.notes.map(({ owner, contents }) => [owner, contentsSize(contents)]),
      NOTES.map(({ owner, size }) => [owner, size]),
    );
  });
}

test('readCore() takes thread states as xnu and as lldb have them, x86-64', t => {
  const registers = x86Registers({ rip: 0xabcn, rsp: 0xdefn });
  const exception = { trapno: 3, cpu: 1, err: 2, faultvaddr: 0x1234n };
  const states = [
    registerState(registers),
    { flavor: X86_FLAVOR.x86_EXCEPTION_STATE64, state: x86_exception_state64.encode(exception, true) },
  ];
  const wrapped = states.map(state => wrapState(state, state.flavor + 3));
  for (const [threadIndex, thread] of read(coreBytes([], { threads: [states, wrapped] })).threads.entries()) {
    t.deepEqual(thread.registers, registers);
    t.deepEqual(thread.exception, exception);
    t.is(thread.states[0]?.flavor, threadIndex === 0 ? 4 : 7);
    t.is(thread.registers && programCounter(thread.registers), 0xabcn);
    t.is(thread.registers && stackPointer(thread.registers), 0xdefn);
  }
});

test('readCore() takes thread states as xnu and as lldb have them, arm64', t => {
  const registers = armRegisters({
    pc: 0xabcn,
    sp: 0xdefn,
    x: Array.from({ length: 29 }, (_, i) => BigInt(i)),
  });
  const exception = { far: 0x1234n, esr: 0xf200_0000, exception: 6 };
  const states = [
    registerState(registers),
    { flavor: ARM_FLAVOR.ARM_EXCEPTION_STATE64, state: arm_exception_state64.encode(exception, true) },
  ];
  const wrapped = [wrapState(registerState(registers), ARM_FLAVOR.ARM_THREAD_STATE), ...states.slice(1)];
  const cputype = CPU_TYPE.CPU_TYPE_ARM64;
  for (const thread of read(coreBytes([], { cputype, threads: [states, wrapped] })).threads) {
    t.deepEqual(thread.registers, registers);
    t.deepEqual(thread.exception, exception);
    t.is(thread.registers && programCounter(thread.registers), 0xabcn);
    t.is(thread.registers && stackPointer(thread.registers), 0xdefn);
  }
});

test('readCore() leaves a thread without registers where it does not know the flavor', t => {
  const [thread] = read(coreBytes([], { threads: [[{ flavor: 99, state: new Uint8Array(8) }]] })).threads;
  t.is(thread?.registers, undefined);
  t.is(thread?.states.length, 1);
});

test('readCore() tells nothing where there are no notes', t => {
  const core = read(coreBytes(STRETCHES, { order: 'xnu' }));
  t.is(core.images, undefined);
  t.is(core.addressableBits, undefined);
  t.is(core.threadIds, undefined);
  t.deepEqual(core.binaries, []);
});

test('readCore() reads the notes of version 1 to 3', t => {
  const v3 = Uint8Array.from([3, 0, 0, 0, 47, 0, 0, 0, ...new Array(8).fill(0)]);
  t.deepEqual(read(coreBytes([], { notes: [newNote(CORE_NOTE.ADDRABLE_BITS, v3)] })).addressableBits, {
    low: 47,
    high: 47,
  });
  // version, type, address 0x10000, uuid, log2_pagesize, unused.
  const uuid = Array.from({ length: 16 }, (_, i) => i * 0x11);
  const v1 = Uint8Array.from([
    1,
    0,
    0,
    0,
    2,
    0,
    0,
    0,
    0,
    0,
    1,
    0,
    0,
    0,
    0,
    0,
    ...uuid,
    12,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
  ]);
  t.deepEqual(read(coreBytes([], { notes: [newNote(CORE_NOTE.MAIN_BIN_SPEC, v1)] })).binaries, [
    { type: 2, uuid: UUID, address: 0x10000n, slide: undefined, name: undefined },
  ]);
});

const word = (core: Uint8Array, at: number, value: number): Uint8Array => {
  const changed = core.slice();
  new DataView(changed.buffer).setUint32(at, value, true);
  return changed;
};
/** In the order of xnu the first segment_command_64 is right behind the header; then comes the next. */
const SEGMENT = 32;
const xnuCore = coreBytes(STRETCHES, { order: 'xnu' });
const noteCore = coreBytes([], { notes: NOTES });
/** `all image infos` is the first note, and its contents the first thing after the commands. */
const imageNote = Number(new DataView(noteCore.buffer).getBigUint64(32 + 24, true));

const refusals: readonly (readonly [what: string, code: string, core: Uint8Array])[] = [
  [
    'an executable',
    'MACHO_NOT_A_CORE',
    machoBytes(newMachO({ cputype: CPU_TYPE.CPU_TYPE_X86_64, filetype: 2 })),
  ],
  ['a core that is cut off', 'MACHO_TRUNCATED', xnuCore.subarray(0, xnuCore.length - 1)],
  [
    'two segments at one address',
    'MACHO_OVERLAP',
    coreBytes([...STRETCHES, { address: DATA + 8n, bytes: code }]),
  ],
  ['a segment that ends beyond 2^64', 'MACHO_OVERLAP', coreBytes([{ address: 2n ** 64n - 8n, bytes: code }])],
  ['a segment with more in the file than in memory', 'MACHO_BAD_SEGMENT', word(xnuCore, SEGMENT + 32, 1)],
  ['a segment of 2^60 bytes', 'OUT_OF_RANGE', word(xnuCore, SEGMENT + 36, 0x1000_0000)],
  [
    'a thread state that is too long',
    'MACHO_BAD_COMMAND',
    word(coreBytes([], { threads: [threadOf(x86Registers())] }), 32 + 12, 1000),
  ],
  [
    'a thread state that is too short',
    'MACHO_BAD_THREAD',
    word(coreBytes([], { threads: [threadOf(x86Registers())] }), 32 + 12, 10),
  ],
  ['a note that ends beyond the file', 'OUT_OF_RANGE', word(noteCore, 32 + 32, 0x1000_0000)],
  ['a note that is too short', 'MACHO_BAD_NOTE', word(noteCore, 32 + 32, 8)],
  ['an image list beyond the file', 'OUT_OF_RANGE', word(noteCore, imageNote + 4, 0x1000_0000)],
  ['an image list of tiny entries', 'MACHO_BAD_NOTE', word(noteCore, imageNote + 16, 4)],
];
for (const [what, code, core] of refusals) {
  test(`readCore() rejects ${what}`, t => {
    const error = t.throws(() => read(core), { instanceOf: FormatError });
    t.is(error?.code, code, error?.message);
  });
}

test('readCore() throws nothing but FormatErrors at cores that are damaged', t => {
  const original = coreBytes(STRETCHES, {
    notes: NOTES,
    threads: [
      threadOf(x86Registers()),
      [wrapState(registerState(x86Registers()), X86_FLAVOR.x86_THREAD_STATE)],
    ],
  });
  const start = 0;
  const end = imageNote + 4096;
  let readable = 0;
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: start, max: end / 4 }), fc.oneof(fc.nat(64), fc.integer())), {
        minLength: 1,
        maxLength: 4,
      }),
      fc.integer({ min: 32, max: original.length }),
      (words, length) => {
        let core = original;
        for (const [at, value] of words) if (at * 4 + 4 <= core.length) core = word(core, at * 4, value);
        try {
          read(length % 3 === 0 ? core.subarray(0, length) : core);
          readable++;
        } catch (error) {
          if (!(error instanceof FormatError)) throw error;
        }
      },
    ),
    { numRuns: 3000 },
  );
  t.true(readable > 0);
});

const judged = [
  [
    'x86_64',
    CPU_TYPE.CPU_TYPE_X86_64,
    x86Registers({ rip: CODE + 0x10n, rsp: DATA + 0x100n, rbx: 0x1122334455667788n }),
  ],
  [
    'arm64',
    CPU_TYPE.CPU_TYPE_ARM64,
    armRegisters({ pc: CODE + 0x10n, sp: DATA + 0x100n, lr: 0x1122334455667788n }),
  ],
] as const;
for (const [arch, cputype, registers] of judged) {
  for (const order of ORDERS) {
    test(`LLVM reads a core of ${arch} in the order of ${order}`, async t => {
      // lldb 19 crashes at an image that has nothing.
      const known = [imageList(IMAGES.slice(0, 1)), ...NOTES.slice(1)];
      const path = join(directory, `${arch}.${order}.core`);
      writeFileSync(
        path,
        coreBytes(STRETCHES, {
          cputype,
          order,
          threads: [threadOf(registers)],
          notes: order === 'lldb' ? known : [],
        }),
      );
      const otool = await run('/usr/bin/llvm-otool-19', { args: ['-l', path] });
      t.is(otool.stderr, '');
      t.regex(otool.stdout, /LC_THREAD[\s\S]*1122334455667788/);
      t.is(otool.stdout.match(/cmd LC_SEGMENT_64/g)?.length, 2);
      t.is(otool.stdout.match(/cmd LC_NOTE/g)?.length ?? 0, order === 'lldb' ? known.length : 0);

      const commands = [
        `target create --core ${path}`,
        'register read',
        `memory read -s8 -fx -c2 0x${(DATA + 0x100n).toString(16)}`,
      ];
      const lldb = await run('/usr/bin/lldb-19', {
        args: ['-b', '--no-lldbinit', ...commands.flatMap(c => ['-o', c])],
      });
      const [first, second] = [0x100, 0x108].map(at => new DataView(data.buffer).getBigUint64(at, true));
      t.regex(lldb.stdout, new RegExp(`0x0*${(CODE + 0x10n).toString(16)}`), lldb.stderr);
      t.regex(lldb.stdout, new RegExp(`0x0*${first?.toString(16)} 0x0*${second?.toString(16)}`));
    });
  }
}
