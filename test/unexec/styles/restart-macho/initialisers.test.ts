import test from 'ava';
import {
  CPU_TYPE,
  type MachOFile,
  MH,
  newMachO,
  newSection,
  newSegment,
  S,
} from '../../../../formats/macho/index.ts';
import { viewOf } from '../../../../formats/struct.ts';
import { settleInitialisers } from '../../../../unexec/styles/restart-macho/initialisers.ts';

const BASE = 0x1_0000_0000n;
const DATA = BASE + 0x4000n;
const [FIRST, START, LAST] = [BASE + 0x500n, BASE + 0x600n, BASE + 0x700n];
const ATTRIBUTE = 0x1000_0000;

/** A file with initialisers in both ways: pointers at DATA + 0x20, offsets at 0x800. */
function fileOf(pointers: readonly bigint[], offsets: readonly bigint[]): MachOFile {
  const text = new Uint8Array(0x1000);
  for (const [i, target] of offsets.entries())
    viewOf(text).setUint32(0x800 + 4 * i, Number(target - BASE), true);
  return {
    ...newMachO({ cputype: CPU_TYPE.CPU_TYPE_ARM64, filetype: MH.MH_EXECUTE }),
    commands: [
      newSegment({
        segname: '__TEXT',
        vmaddr: BASE,
        vmsize: 0x4000n,
        filesize: text.length,
        contents: text,
        sections: [
          newSection({
            sectname: '__init_offsets',
            segname: '__TEXT',
            addr: BASE + 0x800n,
            size: BigInt(4 * offsets.length),
            offset: 0x800,
            flags: S.S_INIT_FUNC_OFFSETS | ATTRIBUTE,
          }),
        ],
      }),
      newSegment({
        segname: '__DATA',
        vmaddr: DATA,
        vmsize: 0x4000n,
        fileoff: 0x4000,
        filesize: 0x1000,
        contents: new Uint8Array(0x1000),
        sections: [
          newSection({ sectname: '__data', segname: '__DATA', addr: DATA, size: 0x20n, offset: 0x4000 }),
          newSection({
            sectname: '__mod_init_func',
            segname: '__DATA',
            addr: DATA + 0x20n,
            size: BigInt(8 * pointers.length),
            offset: 0x4020,
            flags: S.S_MOD_INIT_FUNC_POINTERS | ATTRIBUTE,
          }),
        ],
      }),
    ],
  };
}

/** What becomes of the section that has entries. */
function settle(pointers: readonly bigint[], offsets: readonly bigint[], start: bigint | undefined) {
  const targets = new Map(pointers.map((target, i) => [DATA + 0x20n + BigInt(8 * i), target]));
  return settleInitialisers(fileOf(pointers, offsets), start, address => targets.get(address)).map(
    ({ changed: { sectname, addr, offset, size, flags }, dropped, unfixed }) => ({
      sectname,
      addr,
      offset,
      size: Number(size),
      flags,
      dropped,
      unfixed,
    }),
  );
}

test('a list of pointers shrinks to the one of the runtime, and the others are no pointers any more', t => {
  for (const [order, index] of [
    [[START, FIRST, LAST], 0],
    [[FIRST, START, LAST], 1],
    [[FIRST, LAST, START], 2],
  ] as const) {
    const slots = [0, 1, 2].filter(i => i !== index).map(i => DATA + 0x20n + BigInt(8 * i));
    t.deepEqual(settle(order, [], START), [
      {
        sectname: '__mod_init_func',
        addr: DATA + 0x20n + BigInt(8 * index),
        offset: 0x4020 + 8 * index,
        size: 8,
        flags: S.S_MOD_INIT_FUNC_POINTERS | ATTRIBUTE,
        dropped: 2,
        unfixed: slots,
      },
    ]);
  }
});

test('a list of offsets shrinks to the one of the runtime', t => {
  t.deepEqual(settle([], [FIRST, LAST, START], START), [
    {
      sectname: '__init_offsets',
      addr: BASE + 0x808n,
      offset: 0x808,
      size: 4,
      flags: S.S_INIT_FUNC_OFFSETS | ATTRIBUTE,
      dropped: 2,
      unfixed: [],
    },
  ]);
});

test('a list without the runtime becomes a section that nobody calls, whose words stay pointers', t => {
  for (const start of [undefined, START]) {
    const [pointers] = settle([FIRST, LAST], [], start);
    t.like(pointers, {
      addr: DATA + 0x20n,
      size: 16,
      flags: S.S_REGULAR | ATTRIBUTE,
      dropped: 2,
      unfixed: [],
    });
    const [offsets] = settle([], [FIRST, LAST], start);
    t.like(offsets, {
      addr: BASE + 0x800n,
      size: 8,
      flags: S.S_REGULAR | ATTRIBUTE,
      dropped: 2,
      unfixed: [],
    });
  }
});

test('where there are lists of both kinds, the runtime is in one of them', t => {
  const settled = settle([FIRST], [LAST, START], START);
  t.deepEqual(
    settled.map(({ flags }) => flags & 0xff),
    [S.S_INIT_FUNC_OFFSETS, S.S_REGULAR],
  );
});

test('the list of a later generation stays as it is', t => {
  t.like(settle([START], [], START)[0], { addr: DATA + 0x20n, size: 8, dropped: 0, unfixed: [] });
});

test('an entry that nothing is known of is dropped', t => {
  const [settled] = settleInitialisers(fileOf([FIRST, START], []), START, () => undefined);
  t.like(settled, { dropped: 2, keepsStart: false });
});
