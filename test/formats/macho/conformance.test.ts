/** Real macOS files are written as they were read, and say of themselves what LLVM says of them. */
import test from 'ava';
import {
  contentsSize,
  findBlob,
  findCommand,
  findSegment,
  INDIRECT_SYMBOL,
  indirectSymbolsOf,
  isFat,
  LC,
  layoutFat,
  layoutMachO,
  type MachOFile,
  MH,
  machoBytes,
  nameOf,
  readBuildVersion,
  readDylibs,
  readEntry,
  readFat,
  readIndirectSymbols,
  readMachO,
  readSymbols,
  readUuid,
  relayLinkedit,
  removeBlob,
  removeCommand,
  type SegmentCommand,
  sectionsOf,
  segmentsOf,
  versionName,
  wholeContents,
  writeFat,
  writeMachO,
} from '../../../formats/macho/index.ts';
import type { ByteSource } from '../../../formats/source.ts';
import { viewOf } from '../../../formats/struct.ts';
import { conformanceFile, conformanceFiles } from '../../support/conformance-files.ts';
import { withFile } from '../elf/support/files.ts';
import { firstDifference, withoutSource } from './support/files.ts';
import { onDisk, output } from './support/tools.ts';

/** The Mach-O files in a file: itself, or the parts of a fat one. */
const thinFiles = (source: ByteSource): ByteSource[] =>
  isFat(source.read(0, 4))
    ? readFat(source).architectures.map(({ contents }) => {
        if (contents instanceof Uint8Array) throw new Error('a fat file that was read has sources');
        return contents;
      })
    : [source];

const written = (file: MachOFile, source: ByteSource): string | undefined => {
  const layout = layoutMachO(file);
  return firstDifference(writeMachO(layout), layout.size, source);
};

test('write(read(x)) is x for every real macOS file', t => {
  let files = 0;
  for (const { name, path } of conformanceFiles()) {
    withFile(path, source => {
      if (isFat(source.read(0, 4))) {
        const layout = layoutFat(readFat(source));
        t.is(firstDifference(writeFat(layout), layout.size, source), undefined, name);
      }
      for (const thin of thinFiles(source)) {
        const file = readMachO(thin);
        t.is(written(file, thin), undefined, name);
        // Once more from the model alone: `file` could be right because everything stays in its source.
        t.is(written(withoutSource(file), thin), undefined, `${name}, from the model alone`);
        t.deepEqual(file.kept, [], `${name} has nothing that the model does not know`);
        files++;
      }
    });
  }
  // As many as .ci/macho-files.json had when this was written.
  t.true(files >= 14);
});

test('relayLinkedit() where it already is changes no real macOS file but for padding', t => {
  for (const { name, path } of conformanceFiles()) {
    withFile(path, source => {
      for (const thin of thinFiles(source)) {
        const file = readMachO(thin);
        const before = file.linkedit.map(({ kind, offset, contents }) => ({
          kind,
          offset: offset ?? 0,
          exact: contentsSize(contents),
        }));
        const linkedit = segmentsOf(file).find(({ segname }) => segname === '__LINKEDIT');
        relayLinkedit(file, linkedit?.fileoff ?? 0);
        const layout = layoutMachO(file);
        for (const { kind, offset, exact } of before) {
          const after = layout.linkedit.get(kind) ?? { offset: 0, size: 0 };
          // Linkers leave strings where they come to lie, and so the signature behind them.
          const slack = kind === 'strings' ? 8 : kind === 'code-signature' ? 32 : 1;
          t.true(
            after.offset >= offset && after.offset < offset + slack,
            `${name} ${kind} at ${after.offset}, was ${offset}`,
          );
          t.true(
            after.size >= exact && after.size < exact + 8,
            `${name} ${kind} of ${after.size}, was ${exact}`,
          );
        }
      }
    });
  }
});

/** What LLVM prints of everything in __LINKEDIT, without the file's name. */
function linkeditAsPrinted(path: string): string {
  const dyldInfo = ['--rebase', '--bind', '--lazy-bind', '--weak-bind'];
  const others = ['--exports-trie', '--function-starts', '--data-in-code', '--indirect-symbols'];
  const text = output('llvm-objdump-19', '--macho', ...dyldInfo, ...others, path);
  return (text + output('llvm-nm-19', '-x', '-a', '-p', path)).replaceAll(path, '');
}

test('__LINKEDIT means the same to LLVM after it has moved', t => {
  const names = ['@rescript/darwin-x64 bin/rescript.exe', '@rescript/darwin-arm64 bin/rescript.exe'];
  names.push(
    '@rollup/rollup-darwin-arm64 rollup.darwin-arm64.node',
    '@duckdb/node-bindings-darwin-x64 duckdb.node',
  );
  names.push('@rescript/darwin-arm64 bin/bsc.exe', '@esbuild/darwin-x64 bin/esbuild');
  for (const name of names) {
    const { path } = conformanceFile(name);
    const moved = withFile(path, source => {
      const file = readMachO(source);
      const linkedit = findSegment(file, '__LINKEDIT');
      relayLinkedit(file, (linkedit?.fileoff ?? 0) + 0x1_0000);
      // A signature of something else would say so.
      const signature = findCommand(file, LC.LC_CODE_SIGNATURE);
      if (signature) removeCommand(file, signature);
      removeBlob(file, 'code-signature');
      return onDisk(machoBytes(file));
    });
    const [before, after] = [linkeditAsPrinted(path), linkeditAsPrinted(moved)];
    t.true(after === before, name);
    t.true(before.length > 10_000, name);
  }
});

const hex = (value: number | bigint, width = 0): string => value.toString(16).padStart(width, '0');

test('segments and sections are those that llvm-objdump finds in every real macOS file', t => {
  for (const { name, path } of conformanceFiles()) {
    const printed = output('llvm-objdump-19', '--macho', '--arch', 'all', '--private-headers', path);
    const theirs = printed
      .split('\n')
      .map(line => line.trim().split(/\s+/))
      .filter(([field = '']) => SEGMENT_FIELDS.has(field))
      .map(([field, value = '']) => `${field} ${value}`);
    const ours = withFile(path, source =>
      thinFiles(source).flatMap(thin => segmentsOf(readMachO(thin)).flatMap(describeSegment)),
    );
    t.deepEqual(ours, theirs, name);
    t.true(ours.length > 0, name);
  }
});

/** Fields that no other command has, in the words of llvm-objdump. */
const SEGMENT_FIELDS = new Set(
  (
    'segname vmaddr vmsize fileoff filesize maxprot initprot nsects ' +
    'sectname addr size offset align reloff nreloc reserved1 reserved2'
  ).split(' '),
);

const describeSegment = (segment: SegmentCommand): string[] => [
  `segname ${segment.segname}`,
  `vmaddr 0x${hex(segment.vmaddr, 16)}`,
  `vmsize 0x${hex(segment.vmsize, 16)}`,
  `fileoff ${segment.fileoff}`,
  `filesize ${segment.filesize}`,
  `maxprot ${protection(segment.maxprot)}`,
  `initprot ${protection(segment.initprot)}`,
  `nsects ${segment.sections.length}`,
  ...segment.sections.flatMap(section => [
    `sectname ${section.sectname}`,
    `segname ${section.segname}`,
    `addr 0x${hex(section.addr, 16)}`,
    `size 0x${hex(section.size, 16)}`,
    `offset ${section.offset}`,
    `align 2^${section.align}`,
    `reloff ${section.reloff}`,
    `nreloc ${section.nreloc}`,
    `reserved1 ${section.reserved1}`,
    `reserved2 ${section.reserved2}`,
  ]),
];

const protection = (bits: number): string =>
  ['r', 'w', 'x'].map((letter, i) => ((bits >> i) & 1 ? letter : '-')).join('');

test('symbols are those that llvm-nm finds in every real macOS file', t => {
  let symbols = 0;
  for (const { name, path } of conformanceFiles()) {
    const printed = output('llvm-nm-19', '-x', '-a', '-p', '--arch=all', path);
    const theirs = printed.split('\n').filter(line => /^[0-9a-f]{16} /.test(line));
    const ours = withFile(path, source =>
      thinFiles(source).flatMap(thin => {
        const file = readMachO(thin);
        const offsets = nameOffsets(file);
        return readSymbols(file).map(({ value, type, section, desc, name }, i) =>
          [hex(value, 16), hex(type, 2), hex(section, 2), hex(desc, 4), hex(offsets[i] ?? 0, 8), name].join(
            ' ',
          ),
        );
      }),
    );
    t.is(ours.length, theirs.length, name);
    const wrong = ours.findIndex((line, i) => line !== theirs[i]);
    t.is(ours[wrong], theirs[wrong], name);
    symbols += ours.length;
  }
  t.true(symbols > 1_000_000);
});

/** n_strx of every symbol, which llvm-nm prints and the model does not keep. */
function nameOffsets(file: MachOFile): number[] {
  const blob = findBlob(file, 'symbols');
  if (!blob) return [];
  const table = viewOf(wholeContents(blob.contents));
  return Array.from({ length: table.byteLength / 16 }, (_, i) => table.getUint32(16 * i, true));
}

test('indirect symbols are those that llvm-objdump finds in every real macOS file', t => {
  for (const { name, path } of conformanceFiles()) {
    const printed = output('llvm-objdump-19', '--macho', '--arch', 'all', '--indirect-symbols', path);
    const theirs = [...printed.matchAll(/^0x[0-9a-f]{16} +(\d+|LOCAL|ABSOLUTE)/gm)].map(([, index]) => index);
    const ours = withFile(path, source =>
      thinFiles(source).flatMap(thin => {
        const file = readMachO(thin);
        const indirect = readIndirectSymbols(file);
        return sectionsOf(file)
          .flatMap(section => [...indirectSymbolsOf(section, indirect)])
          .map(indexName);
      }),
    );
    t.deepEqual(ours, theirs, name);
    t.true(ours.length > 0, name);
  }
});

const indexName = (index: number): string => {
  if ((index & INDIRECT_SYMBOL.INDIRECT_SYMBOL_LOCAL) !== 0) return 'LOCAL';
  return (index & INDIRECT_SYMBOL.INDIRECT_SYMBOL_ABS) !== 0 ? 'ABSOLUTE' : String(index);
};

test('UUIDs, libraries, entries and versions are those that llvm-objdump finds in every real macOS file', t => {
  for (const { name, path } of conformanceFiles()) {
    const printed = output('llvm-objdump-19', '--macho', '--arch', 'all', '--private-headers', path);
    const theirs = (pattern: RegExp): string[] =>
      [...printed.matchAll(pattern)].map(([, value = '']) => value);
    withFile(path, source => {
      const files = thinFiles(source).map(thin => readMachO(thin));
      const uuids = files.flatMap(file => readUuid(file) ?? []);
      t.deepEqual(
        uuids,
        theirs(/^ +uuid (\S+)/gm).map(uuid => uuid.replaceAll('-', '').toLowerCase()),
        name,
      );
      const dylibs = files.flatMap(readDylibs).map(({ path, cmd }) => `${nameOf(LC, cmd)} ${path}`);
      const loads = [
        ...printed.matchAll(/cmd (LC_\w*LOAD\w*_DYLIB|LC_REEXPORT_DYLIB)\n.*\n +name (.*) \(offset/g),
      ];
      t.deepEqual(
        dylibs,
        loads.map(([, cmd, path]) => `${cmd} ${path}`),
        name,
      );
      t.true(dylibs.length > 0, name);
      const mains = files
        .filter(({ header }) => header.filetype === MH.MH_EXECUTE)
        .map(file => readEntry(file));
      const headers = files.map(file => findSegment(file, '__TEXT')?.vmaddr ?? 0n);
      const entries = [
        ...theirs(/^ +entryoff (\d+)/gm).map(entryoff => BigInt(entryoff) + (headers[0] ?? 0n)),
        ...theirs(/ rip +(0x[0-9a-f]{16})/g).map(BigInt),
      ];
      t.deepEqual(
        mains.map(entry => entry?.address),
        entries,
        name,
      );
      const versions = files.flatMap(file => readBuildVersion(file) ?? []);
      const sdks = theirs(/^ +sdk (\S+)/gm);
      t.deepEqual(
        versions.map(({ sdk }) => (sdk === 0 ? 'n/a' : versionName(sdk))),
        sdks,
        name,
      );
      t.is(versions.length, files.length, name);
    });
  }
});
