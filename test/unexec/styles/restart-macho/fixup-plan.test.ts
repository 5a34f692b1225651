import test from 'ava';
import {
  CPU_TYPE,
  type FileBind,
  type FileFixups,
  MH,
  newMachO,
  newSegment,
  RebaseTable,
} from '../../../../formats/macho/index.ts';
import { placeIn, planFixups } from '../../../../unexec/styles/restart-macho/fixup-plan.ts';

const BASE = 0x1_0000_0000n;
const segment = (segname: string, at: bigint, vmsize = 0x1000n) =>
  newSegment({ segname, vmaddr: BASE + at, vmsize });
const file = {
  ...newMachO({ cputype: CPU_TYPE.CPU_TYPE_X86_64, filetype: MH.MH_EXECUTE }),
  commands: [
    segment('__TEXT', 0n),
    segment('__CONST', 0x1000n),
    segment('__DATA', 0x2000n),
    segment('__LINKEDIT', 0x4000n),
  ],
};
const DATA = 2;
const data = {
  index: DATA,
  segment: segment('__DATA', 0x2000n),
  size: 0x1000,
  kept: [{ start: 0x100, end: 0x180 }],
};

const bindAt = (address: bigint): FileBind => ({
  address: BASE + address,
  symbol: '_f',
  libOrdinal: 1,
  addend: 0n,
  weak: false,
  lazy: false,
  importOrdinal: 0,
});

function rebasesAt(...addresses: bigint[]): FileFixups {
  const rebases = new RebaseTable(addresses.length);
  rebases.addresses.set(addresses.map(address => BASE + address));
  return { style: 'dyld-info', pointerFormat: undefined, rebases, binds: [] };
}

const plan = (fixups: FileFixups, rest: Partial<Parameters<typeof planFixups>[0]> = {}) =>
  planFixups({
    file,
    fixups,
    dumped: [data],
    found: new Map(),
    bound: [],
    added: new Map(),
    unfixed: new Set(),
    ...rest,
  }).map(({ dumped, kept, bound, added }) => ({
    dumped: [...dumped],
    kept: [...kept],
    bound: [...bound],
    added,
  }));

const nothing = { dumped: [], kept: [], bound: [], added: [] };

test('what is not dumped keeps its rebases, and of what is dumped the words that come from the file', t => {
  const fixups = rebasesAt(0x1ff8n, 0x1008n, 0x2100n, 0x2178n, 0x2180n, 0x20f8n);
  t.deepEqual(plan(fixups), [
    nothing,
    { ...nothing, kept: [0x8, 0xff8] },
    { ...nothing, kept: [0x100, 0x178] },
    nothing,
  ]);
});

test('pointers that were found are fixed, and binds that stay are bound, each once and in order', t => {
  const found = new Map([[DATA, Float64Array.of(0x10, 0x20)]]);
  const bound = [bindAt(0x2110n), bindAt(0x2108n), bindAt(0x2108n), bindAt(0x1000n)];
  const added = new Map([[DATA, [{ offset: 0x30, like: bindAt(0x1000n) }]]]);
  const [, constants, own] = plan(rebasesAt(), { found, bound, added });
  t.deepEqual(constants, { ...nothing, bound: [0] });
  t.deepEqual(own, { dumped: [0x10, 0x20], kept: [], bound: [0x108, 0x110], added: added.get(DATA) });
});

test('words that are no pointers any more are not fixed', t => {
  const unfixed = new Set([BASE + 0x2100n, BASE + 0x1008n]);
  t.deepEqual(plan(rebasesAt(0x1008n, 0x1010n, 0x2100n, 0x2108n), { unfixed }), [
    nothing,
    { ...nothing, kept: [0x10] },
    { ...nothing, kept: [0x108] },
    nothing,
  ]);
});

test('placeIn() finds segments by addresses in any order', t => {
  const place = placeIn(file);
  t.deepEqual(place(BASE + 0x2ff8n), { index: 2, offset: 0xff8 });
  t.deepEqual(place(BASE), { index: 0, offset: 0 });
  t.deepEqual(place(BASE + 0x4000n), { index: 3, offset: 0 });
  t.deepEqual(place(BASE + 0x4fffn), { index: 3, offset: 0xfff });
});
