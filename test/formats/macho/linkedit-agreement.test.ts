/** What is decoded of real macOS files, and of lld's, is what LLVM decodes: entry by entry. */
import { createHash } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { readCodeSignature, verifyPages, verifySpecialSlots } from '../../../formats/macho/code-signature.ts';
import { decodeDataInCode } from '../../../formats/macho/data-in-code.ts';
import { decodeExports, type ExportedSymbol, isReexport } from '../../../formats/macho/exports-trie.ts';
import { type FileBind, readFixups } from '../../../formats/macho/fixups.ts';
import { decodeFunctionStarts } from '../../../formats/macho/function-starts.ts';
import {
  decodeBinds,
  findBlob,
  findSection,
  findSegment,
  type LinkeditKind,
  type MachOFile,
  readChainedFixups,
  readDylibs,
  sectionContents,
  segmentsOf,
  wholeContents,
} from '../../../formats/macho/index.ts';
import { FIXUP_STYLES, MACHO_ARCHES } from '../../support/macho/toolchain.ts';
import { forEachRealFile, type RealFile } from './support/real-files.ts';
import { linked, output } from './support/tools.ts';

interface Sample extends RealFile {
  /** What `llvm-objdump --macho` prints with these options. */
  objdump(...options: readonly string[]): string;
}

/** Every real file, each architecture of it, and lld's in all variants. */
function forEachSample(t: ExecutionContext, use: (sample: Sample) => void): void {
  const own = MACHO_ARCHES.flatMap(arch =>
    FIXUP_STYLES.flatMap(fixups =>
      (['execute', 'dylib'] as const).map(kind => {
        const name = `${kind} ${arch} ${fixups}`;
        return { name, path: linked({ arch, fixups, kind }) };
      }),
    ),
  );
  const samples = forEachRealFile(sample => {
    const { arch, path } = sample;
    const objdump = (...options: readonly string[]) =>
      output('llvm-objdump-19', '--macho', '--arch', arch, ...options, path);
    use({ ...sample, objdump });
  }, own);
  t.true(samples >= 14 + own.length);
}

/** One by one, but without millions of assertions: the first that differs is what is asserted. */
function same(t: ExecutionContext, ours: readonly string[], theirs: readonly string[], what: string): void {
  t.is(ours.length, theirs.length, what);
  const wrong = ours.findIndex((line, i) => line !== theirs[i]);
  t.is(ours[wrong], theirs[wrong], what);
}

const blobOf = (file: MachOFile, kind: LinkeditKind): Uint8Array =>
  wholeContents(findBlob(file, kind)?.contents ?? new Uint8Array(0));
const hex = (value: bigint | number): string => value.toString(16).toUpperCase();
const number = (digits: string): string => hex(BigInt(`0x${digits}`));
const lines = (text: string): string[] => text.split('\n');

/** The name that llvm-objdump has for a library: of its path, without what it takes for a version. */
function libraryNames(file: MachOFile): (ordinal: number) => string {
  const special = new Map([
    [0, 'this-image'],
    [-1, 'main-executable'],
    [-2, 'flat-namespace'],
    [-3, 'weak'],
  ]);
  const names = readDylibs(file).map(({ path }) => path.split('/').at(-1)?.split('.')[0] ?? '');
  return ordinal => special.get(ordinal) ?? names[ordinal - 1] ?? '?';
}

test('rebases of opcodes are those that llvm-objdump finds', t => {
  let rebases = 0;
  forEachSample(t, ({ name, file, objdump }) => {
    const fixups = readFixups(file);
    if (fixups.style !== 'dyld-info') return;
    const theirs = [...objdump('--rebase').matchAll(/^\S+ +\S+ +0x([0-9A-F]+) +pointer$/gm)].map(
      ([, address = '']) => number(address),
    );
    same(t, [...fixups.rebases.addresses].map(hex).sort(), theirs.sort(), name);
    rebases += theirs.length;
  });
  t.true(rebases > 100_000);
});

test('targets of rebases are the words in the file', t => {
  forEachSample(t, ({ name, file }) => {
    const fixups = readFixups(file);
    if (fixups.style !== 'dyld-info') return;
    const segments = segmentsOf(file).map(({ vmaddr, contents }) => ({
      vmaddr,
      bytes: new DataView(wholeContents(contents ?? new Uint8Array(0)).slice().buffer),
    }));
    let wrong = 0;
    for (const { address, target } of fixups.rebases) {
      const segment = segments.findLast(({ vmaddr }) => vmaddr <= address);
      const word = segment?.bytes.getBigUint64(Number(address - segment.vmaddr), true);
      if (word !== target) wrong++;
    }
    t.is(wrong, 0, name);
  });
});

test('binds of opcodes are those that llvm-objdump finds', t => {
  let binds = 0;
  forEachSample(t, ({ name, file, objdump }) => {
    const fixups = readFixups(file);
    if (fixups.style !== 'dyld-info') return;
    const library = libraryNames(file);
    const isWeak = ({ libOrdinal }: FileBind) => libOrdinal === -3;
    const flags = (weak: boolean) => (weak ? ' (weak_import)' : '');
    const ours = {
      bind: fixups.binds
        .filter(bind => !bind.lazy && !isWeak(bind))
        .map(
          bind =>
            `${hex(bind.address)} ${bind.addend} ${library(bind.libOrdinal)} ${bind.symbol}${flags(bind.weak)}`,
        ),
      lazy: fixups.binds
        .filter(({ lazy }) => lazy)
        .map(bind => `${hex(bind.address)} ${library(bind.libOrdinal)} ${bind.symbol}${flags(bind.weak)}`),
      weak: fixups.binds
        .filter(isWeak)
        .map(({ address, addend, symbol }) => `${hex(address)} ${addend} ${symbol}`),
    };
    const rows = (option: string, row: RegExp) =>
      [...objdump(option).matchAll(row)].map(([, address = '', ...rest]) =>
        [number(address), ...rest].join(' '),
      );
    const bind = /^\S+ +\S+ +0x([0-9A-F]+) +pointer +(-?\d+) +(\S+) +(\S.*)$/gm;
    const lazy = /^\S+ +\S+ +0x([0-9A-F]+) +(\S+) +(\S.*)$/gm;
    const weak = /^\S+ +\S+ +0x([0-9A-F]+) +pointer +(-?\d+) +(\S.*)$/gm;
    same(t, ours.bind, rows('--bind', bind), `${name} --bind`);
    same(t, ours.lazy, rows('--lazy-bind', lazy), `${name} --lazy-bind`);
    const strong = decodeBinds(blobOf(file, 'weak-bind'), 'weak', segmentsOf(file)).strong;
    const theirStrong = [...objdump('--weak-bind').matchAll(/^ +strong +(\S+)$/gm)].map(
      ([, symbol = '']) => symbol,
    );
    same(t, ours.weak, rows('--weak-bind', weak), `${name} --weak-bind`);
    same(t, strong, theirStrong, `${name}, strong symbols`);
    binds += fixups.binds.length;
  });
  t.true(binds > 10_000);
});

test('chained fixups are those that llvm-objdump finds', t => {
  let fixed = 0;
  forEachSample(t, ({ name, file, objdump }) => {
    const fixups = readFixups(file);
    if (fixups.style !== 'chained') return;
    const library = libraryNames(file);
    const ours = [
      ...Array.from(fixups.rebases, ({ address, target, high8 }) => {
        return `${hex(address)} rebase ${hex(target + (BigInt(high8) << 56n))}`;
      }),
      ...fixups.binds.map(({ address, addend, libOrdinal, symbol, weak }) => {
        return `${hex(address)} bind ${hex(addend)} ${library(libOrdinal)} ${symbol}${weak ? ' (weak import)' : ''}`;
      }),
    ];
    const printed = objdump('--dyld-info');
    const rebase = /^\S+ +\S+ +0x([0-9A-F]+) +0x[0-9A-F]+ rebase +0x([0-9A-F]+)$/gm;
    const bind = /^\S+ +\S+ +0x([0-9A-F]+) +0x[0-9A-F]+ bind +0x([0-9A-F]+) +(\S+) +(\S.*)$/gm;
    const theirs = [
      ...Array.from(printed.matchAll(rebase), ([, address = '', target = '']) => {
        return `${number(address)} rebase ${number(target)}`;
      }),
      ...Array.from(printed.matchAll(bind), ([, address = '', addend = '', dylib, symbol]) => {
        return `${number(address)} bind ${number(addend)} ${dylib} ${symbol}`;
      }),
    ];
    same(t, ours, theirs, name);
    fixed += ours.length;
  });
  t.true(fixed > 400_000);
});

test('starts and imports of chained fixups are those that llvm-objdump finds', t => {
  let imports = 0;
  forEachSample(t, ({ name, file, objdump }) => {
    if (readFixups(file).style !== 'chained') return;
    const fixups = readChainedFixups(blobOf(file, 'chained-fixups'));
    const library = libraryNames(file);
    const ours = [
      ...fixups.segments.flatMap(segment =>
        segment === undefined
          ? []
          : [
              `page_size = 0x${hex(segment.pageSize)}`,
              `pointer_format = ${fixups.pointerFormat}`,
              `segment_offset = 0x${hex(segment.segmentOffset)}`,
              `max_valid_pointer = ${fixups.maxValidPointer}`,
              `page_count = ${segment.pageStarts.length}`,
              ...Array.from(segment.pageStarts, (start, page) => `page_start[${page}] = ${start}`),
            ],
      ),
      ...fixups.imports.flatMap(({ libOrdinal, weak, symbol }) => [
        `lib_ordinal = ${libOrdinal} (${library(libOrdinal)})`,
        `weak_import = ${weak ? 1 : 0}`,
        `name ${symbol}`,
      ]),
    ];
    const field = /^(page_size|segment_offset|max_valid_pointer|page_count|lib_ordinal|weak_import) = /;
    const theirs = lines(objdump('--chained-fixups')).flatMap(line => {
      const row = line.trim();
      const start = /^(page_start\[\d+\]|pointer_format) = \d+/.exec(row);
      const symbol = /^name_offset = \d+ \((.*)\)$/.exec(row);
      if (start) return [start[0]];
      if (symbol) return [`name ${symbol[1]}`];
      return field.test(row) ? [row.replace(/0x\w+$/, digits => `0x${number(digits.slice(2))}`)] : [];
    });
    same(t, ours, theirs, name);
    imports += fixups.imports.length;
  });
  t.true(imports > 3_000);
});

test('exports are those that llvm-objdump finds', t => {
  let symbols = 0;
  forEachSample(t, ({ name, file, objdump }) => {
    const trie = blobOf(file, 'exports-trie');
    const base = findSegment(file, '__TEXT')?.vmaddr ?? 0n;
    const exports = decodeExports(trie.length > 0 ? trie : blobOf(file, 'export'));
    const ours = exports.map(symbol => describeExport(symbol, base));
    const theirs = lines(objdump('--exports-trie'))
      .filter(line => /^(0x|\[re-export\])/.test(line))
      .map(line => line.replace(/^0x(\w+) +/, (_, digits: string) => `${number(digits)} `).trim());
    // They name what begins with a symbol's name before the symbol itself.
    same(t, ours.sort(), theirs.sort(), name);
    symbols += ours.length;
  });
  t.true(symbols > 70_000);
});

/** As llvm-objdump has it. */
function describeExport(symbol: ExportedSymbol, base: bigint): string {
  if (isReexport(symbol)) return `[re-export] ${symbol.symbol}`;
  const notes = [
    ...((symbol.flags & 4) !== 0 ? ['weak_def'] : []),
    ...((symbol.flags & 3) === 1 ? ['per-thread'] : []),
    ...((symbol.flags & 3) === 2 ? ['absolute'] : []),
  ];
  const address = `${hex(base + symbol.offset)} ${symbol.symbol}`;
  return notes.length > 0 ? `${address} [${notes.join(', ')}]` : address;
}

test('function starts are those that llvm-objdump finds', t => {
  let starts = 0;
  forEachSample(t, ({ name, file, objdump }) => {
    const base = findSegment(file, '__TEXT')?.vmaddr ?? 0n;
    const ours = Array.from(decodeFunctionStarts(blobOf(file, 'function-starts')), start =>
      hex(base + BigInt(start)),
    );
    const theirs = lines(objdump('--function-starts=addrs'))
      .filter(line => /^[0-9a-f]{16}$/.test(line))
      .map(number);
    same(t, ours, theirs, name);
    starts += ours.length;
  });
  t.true(starts > 300_000);
});

test('data in code is what llvm-objdump finds', t => {
  forEachSample(t, ({ name, file, objdump }) => {
    const ours = decodeDataInCode(blobOf(file, 'data-in-code')).map(
      ({ offset, length }) => `${offset.toString(16).padStart(8, '0')} ${length}`,
    );
    const theirs = lines(objdump('--data-in-code')).flatMap(line => {
      const row = /^0x([0-9a-f]{8}) +(\d+) /.exec(line);
      return row ? [`${row[1]} ${row[2]}`] : [];
    });
    same(t, ours, theirs, name);
  });
});

test('every page and every blob of a signed file has the hash that its signature has', t => {
  const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();
  let signed = 0;
  let pages = 0;
  forEachSample(t, ({ name, file, source }) => {
    const blob = findBlob(file, 'code-signature');
    if (!blob) return;
    const signature = readCodeSignature(wholeContents(blob.contents));
    const plist = findSection(file, '__TEXT', '__info_plist');
    const external = plist && new Map([[1, sectionContents(file, plist)]]);
    t.is(signature.codeDirectory.codeLimit, blob.offset ?? 0, name);
    t.deepEqual(verifyPages(signature.codeDirectory, source, sha256), [], name);
    t.deepEqual(verifySpecialSlots(signature, sha256, external), [], name);
    signed++;
    pages += signature.codeDirectory.pageHashes.length / 32;
  });
  t.true(signed >= 16 && pages > 50_000);
});
