import test from 'ava';
import {
  BIND_SYMBOL_FLAGS,
  BIND_TYPE,
  type Bind,
  CPU_TYPE,
  DYLD_CHAINED_PTR,
  decodeBinds,
  decodeRebases,
  encodeBinds,
  encodeChainedFixups,
  encodeImports,
  encodeRebases,
  type FileBind,
  findBlob,
  LC,
  type LinkeditKind,
  type MachOFile,
  MH,
  newCommand,
  newMachO,
  newSegment,
  readChainedFixups,
  segmentsOf,
  setBlob,
  wholeContents,
} from '../../../../formats/macho/index.ts';
import { dyld_info_command, linkedit_data_command } from '../../../../formats/macho/structs.ts';
import { setChains, setOpcodes } from '../../../../unexec/styles/restart-macho/fixup-blobs.ts';
import type { SegmentFixups } from '../../../../unexec/styles/restart-macho/fixup-plan.ts';

const BASE = 0x1_0000_0000n;
const segment = (segname: string, at: bigint) =>
  newSegment({ segname, vmaddr: BASE + at, vmsize: 0x4000n, filesize: 0x4000, fileoff: Number(at) });

const fileOf = (cmd: number): MachOFile => ({
  ...newMachO({ cputype: CPU_TYPE.CPU_TYPE_ARM64, filetype: MH.MH_EXECUTE }),
  commands: [
    segment('__TEXT', 0n),
    segment('__CONST', 0x4000n),
    segment('__DATA', 0x8000n),
    segment('__LINKEDIT', 0xc000n),
    cmd === LC.LC_DYLD_INFO_ONLY
      ? newCommand(cmd, dyld_info_command, {
          ...{
            rebase_off: 0,
            rebase_size: 0,
            bind_off: 0,
            bind_size: 0,
            weak_bind_off: 0,
            weak_bind_size: 0,
          },
          ...{ lazy_bind_off: 0, lazy_bind_size: 0, export_off: 0, export_size: 0 },
        })
      : newCommand(cmd, linkedit_data_command, { dataoff: 0, datasize: 0 }),
  ],
});

const bind = (segment: number, offset: number, symbol: string, rest: Partial<Bind> = {}): Bind => ({
  segment,
  offset,
  type: BIND_TYPE.BIND_TYPE_POINTER,
  symbol,
  libOrdinal: 1,
  addend: 0n,
  flags: 0,
  ...rest,
});
const nothing: SegmentFixups = {
  dumped: new Float64Array(),
  kept: new Float64Array(),
  bound: new Float64Array(),
  added: [],
};
const planWith = (...parts: readonly Partial<SegmentFixups>[]): SegmentFixups[] =>
  parts.map(part => ({ ...nothing, ...part }));
const blob = (file: MachOFile, kind: LinkeditKind): Uint8Array =>
  wholeContents(findBlob(file, kind)?.contents ?? new Uint8Array());
const like = (symbol: string, rest: Partial<FileBind> = {}): FileBind => ({
  address: BASE,
  symbol,
  libOrdinal: 2,
  addend: 0n,
  weak: false,
  lazy: false,
  importOrdinal: undefined,
  ...rest,
});

function opcodes(): MachOFile {
  const file = fileOf(LC.LC_DYLD_INFO_ONLY);
  setBlob(file, 'rebase', encodeRebases([{ segment: 2, offsets: [0, 8] }]));
  setBlob(
    file,
    'bind',
    encodeBinds(
      { binds: [bind(1, 0x10, '_a'), bind(2, 0x18, '_b'), bind(2, 0x20, '_c')], strong: [] },
      'bind',
    ),
  );
  const weak = [bind(2, 0x28, '_new', { libOrdinal: -3 }), bind(2, 0x30, '_delete', { libOrdinal: -3 })];
  setBlob(file, 'weak-bind', encodeBinds({ binds: weak, strong: ['_mine'] }, 'weak'));
  setBlob(file, 'lazy-bind', encodeBinds({ binds: [bind(2, 0x100, '_lazy')], strong: [] }, 'lazy'));
  return file;
}

test('setOpcodes() writes rebases of what was dumped and of what was kept, in every segment', t => {
  const file = opcodes();
  const dumped = Float64Array.of(0x40, 0x1001, 0x3ff8);
  setOpcodes(file, planWith({}, { kept: Float64Array.of(0x8) }, { dumped, kept: Float64Array.of(0x48) }, {}));
  t.deepEqual(
    decodeRebases(blob(file, 'rebase'), segmentsOf(file)).map(({ segment, offsets }) => [
      segment,
      ...offsets,
    ]),
    [
      [1, 0x8],
      [2, 0x40, 0x48, 0x1001, 0x3ff8],
    ],
  );
});

test('setOpcodes() leaves streams of binds alone that do not change', t => {
  const file = opcodes();
  const before = (['bind', 'weak-bind', 'lazy-bind'] as const).map(kind => blob(file, kind));
  setOpcodes(
    file,
    planWith(
      {},
      { bound: Float64Array.of(0x10) },
      { bound: Float64Array.of(0x18, 0x20, 0x28, 0x30, 0x100) },
      {},
    ),
  );
  t.deepEqual(
    (['bind', 'weak-bind', 'lazy-bind'] as const).map(kind => blob(file, kind)),
    before,
  );
});

test('setOpcodes() takes binds out that were overwritten, and adds those that were found', t => {
  const file = opcodes();
  const lazy = blob(file, 'lazy-bind');
  const added = [
    { offset: 0x60, like: like('_strcmp') },
    { offset: 0x68, like: like('_maybe', { weak: true }) },
    { offset: 0x70, like: like('_anywhere', { libOrdinal: -2 }) },
  ];
  setOpcodes(
    file,
    planWith({}, { bound: Float64Array.of(0x10) }, { bound: Float64Array.of(0x20, 0x30, 0x100), added }, {}),
  );
  t.deepEqual(decodeBinds(blob(file, 'bind'), 'bind', segmentsOf(file)).binds, [
    bind(1, 0x10, '_a'),
    bind(2, 0x20, '_c'),
    bind(2, 0x60, '_strcmp', { libOrdinal: 2 }),
    bind(2, 0x68, '_maybe', { libOrdinal: 2, flags: BIND_SYMBOL_FLAGS.BIND_SYMBOL_FLAGS_WEAK_IMPORT }),
    bind(2, 0x70, '_anywhere', { libOrdinal: -2 }),
  ]);
  const weak = decodeBinds(blob(file, 'weak-bind'), 'weak', segmentsOf(file));
  t.deepEqual(
    weak.binds.map(({ symbol }) => symbol),
    ['_delete'],
  );
  t.deepEqual(weak.strong, ['_mine']);
  t.deepEqual(blob(file, 'lazy-bind'), lazy);
});

test('setOpcodes() makes a stream of binds where there was none', t => {
  const file = fileOf(LC.LC_DYLD_INFO_ONLY);
  setOpcodes(file, planWith({}, {}, { added: [{ offset: 8, like: like('_puts') }] }, {}));
  t.deepEqual(decodeBinds(blob(file, 'bind'), 'bind', segmentsOf(file)).binds, [
    bind(2, 8, '_puts', { libOrdinal: 2 }),
  ]);
  t.is(findBlob(file, 'weak-bind'), undefined);
});

test('setChains() puts new chains in the place of old ones, and leaves the others and the imports', t => {
  const file = fileOf(LC.LC_DYLD_CHAINED_FIXUPS);
  const imports = encodeImports([{ symbol: '_puts', libOrdinal: 1, weak: false, addend: 0n }]);
  const starts = (segmentOffset: bigint, ...pageStarts: number[]) => ({
    segmentOffset,
    pageSize: 0x4000,
    pageStarts: Uint16Array.from(pageStarts),
  });
  const present = {
    pointerFormat: DYLD_CHAINED_PTR.DYLD_CHAINED_PTR_64_OFFSET,
    maxValidPointer: 0,
    segments: [undefined, starts(0x4000n, 8), starts(0x8000n, 16), undefined],
    ...imports,
  };
  setBlob(file, 'chained-fixups', encodeChainedFixups(present));
  const read = () => readChainedFixups(blob(file, 'chained-fixups'));
  setChains(file, new Map([[2, Uint16Array.of(0xffff, 24)]]), 0x4000);
  t.deepEqual(read().segments, [undefined, starts(0x4000n, 8), starts(0x8000n, 0xffff, 24), undefined]);
  t.is(read().pointerFormat, DYLD_CHAINED_PTR.DYLD_CHAINED_PTR_64_OFFSET);
  t.deepEqual(
    read().imports.map(({ symbol }) => symbol),
    ['_puts'],
  );
  setChains(file, new Map([[1, new Uint16Array()]]), 0x4000);
  t.deepEqual(read().segments, [undefined, undefined, starts(0x8000n, 0xffff, 24), undefined]);
});
