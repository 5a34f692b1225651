/** LLVM reads from files what was encoded into them: fixups as no linker writes them, but a dump may need. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import {
  type Bind,
  type ChainSlot,
  chainPage,
  chainTarget,
  type ExportedSymbol,
  encodeBinds,
  encodeChainedFixups,
  encodeExports,
  encodeImports,
  encodeRebases,
  findSection,
  findSegment,
  type LinkeditKind,
  type MachOFile,
  machoBytes,
  readMachO,
  relayLinkedit,
  segmentsOf,
  setBlob,
  wholeContents,
} from '../../../formats/macho/index.ts';
import { compileMachO, type FixupStyle } from '../../support/macho/toolchain.ts';
import { sandbox } from '../../support/sandbox.ts';
import { bytesOf, onDisk, output } from './support/tools.ts';

const SIZE = 0x1_0000;
const directory = sandbox('formats-macho-encoded');
const source = join(directory, 'big.c');
writeFileSync(source, `char big[${SIZE}] = {1}; int main(void) { return big[0]; }`);

/** A program with one large array of data, whose __DATA is that array and nothing else. */
const programs = new Map<FixupStyle, Uint8Array>();
function program(fixups: FixupStyle): { file: MachOFile; index: number; start: bigint } {
  const bytes =
    programs.get(fixups) ?? bytesOf(compileMachO({ sources: [source], arch: 'x86_64', fixups, directory }));
  programs.set(fixups, bytes);
  const file = readMachO(bytes);
  const index = segmentsOf(file).findIndex(({ segname }) => segname === '__DATA');
  const section = findSection(file, '__DATA', '__data');
  const segment = segmentsOf(file)[index];
  if (section?.size !== BigInt(SIZE) || segment?.vmaddr !== section.addr)
    throw new Error('unexpected __DATA');
  return { file, index, start: segment.vmaddr };
}

/** What llvm-objdump prints of the file with these blobs. */
function printed(file: MachOFile, blobs: Partial<Record<LinkeditKind, Uint8Array>>, option: string): string {
  for (const kind of Object.keys(blobs) as LinkeditKind[])
    setBlob(file, kind, blobs[kind] ?? new Uint8Array(0));
  relayLinkedit(file, findSegment(file, '__LINKEDIT')?.fileoff ?? 0);
  return output('llvm-objdump-19', '--macho', option, onDisk(machoBytes(file)));
}

const hex = (value: bigint | number): string => value.toString(16).toUpperCase();
const number = (digits = ''): string => hex(BigInt(`0x${digits}`));
const RUNS = { numRuns: 12 };
const NONE = { rebase: new Uint8Array(0), bind: new Uint8Array(0), 'lazy-bind': new Uint8Array(0) };

/** Ascending offsets, 8 bytes and more apart: rows, strides, odd steps; multiples of `unit`. */
const offsets = (unit: number): fc.Arbitrary<number[]> =>
  fc
    .array(
      fc.record({
        gap: fc.oneof(fc.constant(0), fc.nat(Math.floor(130 / unit)), fc.nat(Math.floor(3000 / unit))),
        count: fc.oneof(fc.nat(3), fc.nat(200)),
      }),
      { minLength: 1, maxLength: 20 },
    )
    .map(runs => {
      const list: number[] = [];
      let at = 0;
      for (const { gap, count } of runs) {
        for (let i = 0; i < count && at + gap * unit <= SIZE - 8; i++) {
          list.push(at + gap * unit);
          at += gap * unit + 8;
        }
      }
      return list;
    });

test('llvm-objdump reads the rebases that were encoded', t => {
  fc.assert(
    fc.property(offsets(1), list => {
      const { file, index, start } = program('dyld-info');
      const text = printed(
        file,
        { ...NONE, rebase: encodeRebases([{ segment: index, offsets: list }]) },
        '--rebase',
      );
      const theirs = [...text.matchAll(/ 0x([0-9A-F]+) +pointer$/gm)].map(([, address]) => number(address));
      t.is(theirs.join(), list.map(offset => hex(start + BigInt(offset))).join());
    }),
    RUNS,
  );
});

const symbol = fc.integer({ min: 0, max: 5 }).map(n => `_symbol${n}`);

for (const [kind, blob] of [
  ['bind', 'bind'],
  ['weak', 'weak-bind'],
] as const) {
  test(`llvm-objdump reads the binds that were encoded, ${kind}`, t => {
    const what = fc.record({
      symbol,
      addend: fc.oneof(fc.constant(0n), fc.bigInt(-(2n ** 40n), 2n ** 40n)),
      flags: kind === 'bind' ? fc.constantFrom(0, 1) : fc.constant(0),
    });
    fc.assert(
      fc.property(offsets(1), fc.array(what, { minLength: 1 }), (list, whats) => {
        const { file, index, start } = program('dyld-info');
        const binds = list.slice(0, 500).map((offset, i): Bind => {
          const { symbol, addend, flags } = whats[i % whats.length] ?? { symbol: '', addend: 0n, flags: 0 };
          return {
            segment: index,
            offset,
            type: 1,
            libOrdinal: kind === 'weak' ? -3 : 1,
            symbol,
            addend,
            flags,
          };
        });
        const option = kind === 'weak' ? '--weak-bind' : '--bind';
        const text = printed(file, { ...NONE, [blob]: encodeBinds({ binds, strong: [] }, kind) }, option);
        const row = / 0x([0-9A-F]+) +pointer +(-?\d+) +(?:libSystem +)?(\S+)( \(weak_import\))?$/gm;
        const theirs = [...text.matchAll(row)].map(
          ([, address, addend, name, weak]) => `${number(address)} ${addend} ${name} ${weak ? 1 : 0}`,
        );
        const ours = binds.map(
          ({ offset, addend, symbol, flags }) =>
            `${hex(start + BigInt(offset))} ${addend} ${symbol} ${flags}`,
        );
        t.is(theirs.join('\n'), ours.join('\n'));
      }),
      RUNS,
    );
  });
}

test('llvm-objdump reads the chains, starts and imports that were encoded', t => {
  const fixup = fc.record({
    isBind: fc.boolean(),
    target: fc.nat(SIZE),
    high8: fc.constantFrom(0, 0, 0x7f),
    ordinal: fc.nat(4),
    addend: fc.constantFrom(0, 0, 200),
  });
  const library = fc.constantFrom(1, -2, -3);
  // Not of 33 bits: LLVM 19 reads the names of DYLD_CHAINED_IMPORT_ADDEND64 from the wrong bits (its issue 180166).
  const addend = fc.constantFrom(0n, 5n, -(2n ** 30n));
  const imports = fc
    .tuple(library, addend, fc.boolean())
    .map(([libOrdinal, addend, weak]) =>
      Array.from({ length: 5 }, (_, i) => ({ libOrdinal, weak, symbol: `_symbol${i}`, addend })),
    );
  const names: Readonly<Record<number, string>> = { 1: 'libSystem', [-2]: 'flat-namespace', [-3]: 'weak' };
  const formats = fc.constantFrom(2, 6);
  const pageSizes = fc.constantFrom(0x1000, 0x4000);
  fc.assert(
    fc.property(
      offsets(4),
      fc.array(fixup, { minLength: 1 }),
      imports,
      formats,
      pageSizes,
      (list, whats, symbols, pointerFormat, pageSize) => {
        const { file, index, start } = program('chained');
        const segments = segmentsOf(file);
        const segment = segments[index];
        const base = findSegment(file, '__TEXT')?.vmaddr ?? 0n;
        if (!segment?.contents) throw new Error('unexpected __DATA');
        const contents = wholeContents(segment.contents).slice();
        segment.contents = contents;
        const ours: string[] = [];
        const pageStarts = Uint16Array.from({ length: SIZE / pageSize }, (_, page) => {
          const at = page * pageSize;
          const slots = list
            .filter(offset => offset >= at && offset <= at + pageSize - 8)
            .map((offset, i): ChainSlot => {
              const what = whats[(page + i) % whats.length];
              if (!what) throw new Error('no fixups');
              const address = hex(start + BigInt(offset));
              if (what.isBind) {
                const { ordinal } = what;
                const { libOrdinal = 0, addend: more = 0n, symbol = '', weak } = symbols[ordinal] ?? {};
                // LLVM does not add them up, as dyld does.
                const addend = more === 0n ? what.addend : 0;
                const flag = weak === true ? ' (weak import)' : '';
                ours.push(
                  `${address} bind ${hex(BigInt.asUintN(64, more + BigInt(addend)))} ${names[libOrdinal]} ${symbol}${flag}`,
                );
                return { offset: offset - at, kind: 'bind', ordinal, addend };
              }
              const { target, high8 } = what;
              const to = start + BigInt(target);
              ours.push(`${address} rebase ${hex(to + (BigInt(high8) << 56n))}`);
              return {
                offset: offset - at,
                kind: 'rebase',
                target: chainTarget(pointerFormat, to, base),
                high8,
              };
            });
          return chainPage(contents.subarray(at, at + pageSize), slots);
        });
        const blob = encodeChainedFixups({
          pointerFormat,
          maxValidPointer: 0,
          segments: segments.map((_, i) =>
            i === index ? { segmentOffset: start - base, pageSize, pageStarts } : undefined,
          ),
          ...encodeImports(symbols),
        });
        const text = printed(file, { 'chained-fixups': blob }, '--dyld-info');
        const row =
          / 0x([0-9A-F]+) +0x[0-9A-F]+ +(?:(rebase) +0x([0-9A-F]+)|(bind) +0x([0-9A-F]+) +(\S+) +(\S.*))$/gm;
        const theirs = [...text.matchAll(row)].map(([, address, rebase, target, , addend, dylib, name]) =>
          rebase === undefined
            ? `${number(address)} bind ${number(addend)} ${dylib} ${name}`
            : `${number(address)} rebase ${number(target)}`,
        );
        t.is(theirs.join('\n'), ours.join('\n'));
      },
    ),
    RUNS,
  );
});

test('llvm-objdump reads the exports that were encoded', t => {
  const name = fc.array(fc.constantFrom('_', 'a', 'ab', 'b', 'long_name'), { minLength: 1, maxLength: 8 });
  const symbols = fc.uniqueArray(
    fc.record({
      symbol: name.map(parts => `_${parts.join('')}`),
      flags: fc.constantFrom(0, 4),
      offset: fc.bigInt(0n, 2n ** 40n),
      other: fc.constant(undefined),
    }),
    { selector: ({ symbol }) => symbol, minLength: 1, maxLength: 200 },
  );
  fc.assert(
    fc.property(symbols, (list: ExportedSymbol[]) => {
      const { file } = program('chained');
      const base = findSegment(file, '__TEXT')?.vmaddr ?? 0n;
      const text = printed(file, { 'exports-trie': encodeExports(list) }, '--exports-trie');
      const theirs = [...text.matchAll(/^0x([0-9A-F]+) +(\S+)(?: \[(weak_def)\])?$/gm)].map(
        ([, address, symbol, weak]) => `${number(address)} ${symbol} ${weak ? 4 : 0}`,
      );
      const ours = list.map(symbol => {
        const offset = 'offset' in symbol ? symbol.offset : 0n;
        return `${hex(base + offset)} ${symbol.symbol} ${symbol.flags}`;
      });
      t.is(theirs.sort().join('\n'), ours.sort().join('\n'));
    }),
    RUNS,
  );
});
