/** Random bytes and spoiled files: each reader gives a result or a FormatError, soon and in little memory. */
import test from 'ava';
import fc from 'fast-check';
import {
  atAddress,
  FormatError,
  fatBytes,
  findCommands,
  headerRoom,
  indirectSymbolsOf,
  isFat,
  LC,
  layoutMachO,
  type MachOFile,
  mach_header_64,
  machoBytes,
  newCommand,
  noteContents,
  readBuildVersion,
  readDylibId,
  readDylibs,
  readEntry,
  readFat,
  readIndirectSymbols,
  readMachO,
  readNotes,
  readRpaths,
  readSymbols,
  readThreadStates,
  readUuid,
  relayLinkedit,
  sectionContents,
  sectionsOf,
  segment_command_64,
  segmentsOf,
  uuid_command,
} from '../../../formats/macho/index.ts';
import { viewOf } from '../../../formats/struct.ts';
import { withoutSource } from './support/files.ts';
import { tiny } from './support/tiny.ts';
import { bytesOf, dsym, fat, linked, object } from './support/tools.ts';

/** The longest that any file here may take, in ms: a hundred times what it does take. */
const PATIENCE = 5000;

/** The result, or undefined for a FormatError. Anything else that is thrown ends the test. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof FormatError && error.code !== '' && error.message !== '') return undefined;
    throw error;
  }
}

/** Everything that reads; says whether the file was one. What could be read is written as it was. */
function exercise(bytes: Uint8Array): boolean {
  const start = performance.now();
  const archive = isFat(bytes) ? attempt(() => readFat(bytes)) : undefined;
  if (archive) {
    const written = attempt(() => fatBytes(archive));
    if (written && Buffer.compare(written, bytes) !== 0) throw new Error('write(read(x)) is not x, fat');
    for (const { contents } of archive.architectures) {
      attempt(() => readMachO(contents));
    }
  }
  const file = attempt(() => readMachO(bytes));
  if (file) {
    if (Buffer.compare(machoBytes(file), bytes) !== 0) throw new Error('write(read(x)) is not x');
    const alone = attempt(() => machoBytes(withoutSource(file)));
    // Where things share bytes, the one that is kept last is all that a model without its source can say.
    if (alone && Buffer.compare(alone, bytes) !== 0)
      throw new Error('write(read(x)) is not x, from the model alone');
    readEverything(file);
  }
  const elapsed = performance.now() - start;
  if (elapsed > PATIENCE) throw new Error(`took ${elapsed.toFixed()} ms`);
  return file !== undefined || archive !== undefined;
}

function readEverything(file: MachOFile): void {
  const indirect = attempt(() => readIndirectSymbols(file)) ?? new Uint32Array(0);
  for (const section of sectionsOf(file)) {
    attempt(() => sectionContents(file, section));
    attempt(() => indirectSymbolsOf(section, indirect));
    attempt(() => atAddress(file, section.addr));
  }
  for (const note of attempt(() => readNotes(file)) ?? []) attempt(() => noteContents(file, note));
  for (const thread of findCommands(file, LC.LC_THREAD, LC.LC_UNIXTHREAD))
    attempt(() => readThreadStates(thread));
  for (const read of [
    readSymbols,
    readUuid,
    readEntry,
    readBuildVersion,
    readDylibs,
    readDylibId,
    readRpaths,
  ])
    attempt(() => read(file));
  headerRoom(file);
  attempt(() => {
    file.commands.push(newCommand(LC.LC_UUID, uuid_command, { uuid: new Uint8Array(16) }));
    relayLinkedit(file, 0x10_0000);
    layoutMachO(file);
  });
}

test('random bytes give only FormatErrors', t => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 500 }), bytes => void exercise(bytes)),
    { numRuns: 1000 },
  );
  t.pass();
});

test('random bytes after a good magic and machine give only FormatErrors', t => {
  const thin = Uint8Array.of(0xcf, 0xfa, 0xed, 0xfe, 7, 0, 0, 1, 3, 0, 0, 0, 2, 0, 0, 0);
  const several = Uint8Array.of(0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 2);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 500 }), fc.constantFrom(thin, several), (bytes, magic) => {
      exercise(Buffer.concat([magic, bytes]));
    }),
    { numRuns: 1000 },
  );
  t.pass();
});

/** Numbers at which readers fail. The size of the file comes on top, to point at and past its end. */
const LIMITS = [
  ...[0n, 1n, 7n, 8n, 0x20n, 0x7fn, 0xffn, 0x1000n, 0xffffn, 0x7fff_ffffn, 0x8000_0000n, 0xffff_fff0n],
  ...[
    2n ** 32n - 1n,
    2n ** 32n,
    2n ** 53n - 1n,
    2n ** 53n,
    2n ** 63n - 1n,
    2n ** 63n,
    2n ** 64n - 8n,
    2n ** 64n - 1n,
  ],
];

interface Mutation {
  readonly where: 'header' | 'commands' | 'anywhere';
  readonly at: number;
  readonly width: 1 | 2 | 4 | 8;
  readonly value: bigint;
  readonly relative: boolean;
}

const mutation: fc.Arbitrary<Mutation> = fc.record({
  where: fc.oneof(
    { weight: 1, arbitrary: fc.constant('header' as const) },
    { weight: 8, arbitrary: fc.constant('commands' as const) },
    { weight: 2, arbitrary: fc.constant('anywhere' as const) },
  ),
  at: fc.nat(2 ** 30),
  width: fc.constantFrom(1, 2, 4, 8),
  value: fc.oneof(fc.constantFrom(...LIMITS), fc.bigInt(0n, 2n ** 64n - 1n)),
  relative: fc.boolean(),
});

/** A copy, cut off at `keep` of its bytes, with these fields overwritten. */
function spoil(original: Uint8Array, mutations: readonly Mutation[], keep: number): Uint8Array {
  const bytes = original.slice(0, Math.ceil(original.length * keep));
  const view = viewOf(bytes);
  const sizeofcmds = isFat(original)
    ? 40
    : viewOf(original).getUint32(mach_header_64.offsets.sizeofcmds, true);
  for (const { where, at, width, value, relative } of mutations) {
    const [start, length] = { header: [0, 32], commands: [32, sizeofcmds], anywhere: [0, bytes.length] }[
      where
    ] as [number, number];
    // Fields are aligned to their width.
    const offset = start + Math.floor((at % Math.max(1, length)) / width) * width;
    if (offset + width > bytes.length) continue;
    const number = relative ? value + BigInt(bytes.length) : value;
    for (let i = 0; i < width; i++) view.setUint8(offset + i, Number((number >> BigInt(8 * i)) & 0xffn));
  }
  return bytes;
}

const spoiled = test.macro<[string, () => Uint8Array, number]>({
  exec(t, title, make, numRuns) {
    const original = make();
    t.true(exercise(original), 'the file itself can be read');
    let readable = 0;
    const keep = fc.oneof(
      { weight: 4, arbitrary: fc.constant(1) },
      fc.double({ min: 0, max: 1, noNaN: true }),
    );
    fc.assert(
      fc.property(fc.array(mutation, { minLength: 1, maxLength: 4 }), keep, (mutations, share) => {
        if (exercise(spoil(original, mutations, share))) readable++;
      }),
      { numRuns },
    );
    t.log(`${readable} of ${numRuns} spoiled copies of ${title} could still be read`);
    // Copies that are all refused at the first look would test nothing behind it.
    t.true(readable > numRuns / 50);
    t.true(process.memoryUsage().rss < 2 ** 30);
  },
  title: (_, title) => `${title}, spoiled in any way, gives only FormatErrors`,
});
const arm = { arch: 'arm64', fixups: 'chained' } as const;
const x86 = { arch: 'x86_64', fixups: 'dyld-info' } as const;
test(spoiled, 'a program for arm64', () => bytesOf(linked(arm)), 300);
test(spoiled, 'a program for x86_64', () => bytesOf(linked(x86)), 300);
test(spoiled, 'an object file', () => bytesOf(object('x86_64')), 300);
test(spoiled, 'debug symbols', () => bytesOf(dsym('arm64')), 300);
test(spoiled, 'a program of ours', () => machoBytes(tiny()), 500);
test(spoiled, 'a fat file', () => bytesOf(fat(linked(x86), linked(arm))), 100);

/** A file of as many load commands of one kind as this, all of them of these bytes. */
function manyCommands(count: number, command: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(mach_header_64.size + count * command.length);
  const header = { ...layoutMachO(tiny()).header, ncmds: count, sizeofcmds: count * command.length };
  mach_header_64.write(viewOf(bytes), 0, header, true);
  for (let i = 0; i < count; i++) bytes.set(command, mach_header_64.size + i * command.length);
  return bytes;
}

test('a file of 200,000 segments is read and written', t => {
  const command = { cmd: LC.LC_SEGMENT_64, cmdsize: 72, segname: new Uint8Array(16), vmaddr: 0n, vmsize: 0n };
  const rest = { fileoff: 0n, filesize: 32n, maxprot: 0, initprot: 0, nsects: 0, flags: 0 };
  const bytes = manyCommands(200_000, segment_command_64.encode({ ...command, ...rest }, true));
  const start = performance.now();
  const file = readMachO(bytes);
  t.is(segmentsOf(file).length, 200_000);
  t.is(Buffer.compare(machoBytes(file), bytes), 0);
  t.true(performance.now() - start < PATIENCE);
});

test('more commands and sections than any file has are refused', t => {
  const smallest = Uint8Array.of(0x70, 0, 0, 0, 8, 0, 0, 0);
  t.throws(() => readMachO(manyCommands(2 ** 20 + 1, smallest)), {
    instanceOf: FormatError,
    code: 'MACHO_BAD_COMMANDS',
    message: /ncmds is 1048577 at 0x10, expected at most 1048576/,
  });
  const segment = new Uint8Array(72 + 80 * 100);
  viewOf(segment).setUint32(0, LC.LC_SEGMENT_64, true);
  viewOf(segment).setUint32(4, segment.length, true);
  viewOf(segment).setUint32(segment_command_64.offsets.nsects, 100, true);
  t.throws(() => readMachO(manyCommands(41, segment)), {
    instanceOf: FormatError,
    code: 'MACHO_TOO_MANY_SECTIONS',
    message: /load command 40 \(LC_SEGMENT_64\) is the one with section 4100/,
  });
  t.is(segmentsOf(readMachO(manyCommands(40, segment))).length, 40);
});
