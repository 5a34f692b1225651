import test from 'ava';
import fc from 'fast-check';
import { DT } from '../../../formats/elf/constants.ts';
import { type ElfDynamic, readDynamic } from '../../../formats/elf/dynamic.ts';
import { newElf, newSegment } from '../../../formats/elf/model.ts';
import { readElf } from '../../../formats/elf/read.ts';
import { elfBytes } from '../../../formats/elf/write.ts';
import {
  changeDynamic,
  dynamicCapacity,
  dynamicSize,
  encodeDynamic,
  writeDynamic,
} from '../../../formats/elf/write-dynamic.ts';
import { FormatError } from '../../../formats/errors.ts';
import { withoutSections } from './support/files.ts';
import { compiled, onDisk, output } from './support/tools.ts';

const anyEntries: fc.Arbitrary<ElfDynamic[]> = fc.array(
  fc.record({ tag: fc.integer({ min: 1, max: 0x7fff_ffff }), value: fc.bigInt(0n, 2n ** 64n - 1n) }),
);

const program = compiled('int main(void) { return 0; }', []);

/** The file with these entries, written and read again. */
function rewritten(bytes: Uint8Array, entries: readonly ElfDynamic[]): ElfDynamic[] {
  const file = readElf(bytes);
  writeDynamic(file, entries);
  return readDynamic(readElf(elfBytes(file)));
}

test('writeDynamic() writes entries that readDynamic() reads, into a file with and one without section headers', t => {
  const capacity = dynamicCapacity(readElf(program));
  fc.assert(
    fc.property(anyEntries, entries => {
      const some = entries.slice(0, capacity);
      t.deepEqual(rewritten(program, some), some);
      t.deepEqual(rewritten(withoutSections(program), some), some);
    }),
    { numRuns: 20 },
  );
});

test('writeDynamic() fills the spare entries of ld, as readelf shows, and changes nothing else', t => {
  const file = readElf(program);
  const entries = readDynamic(file);
  const capacity = dynamicCapacity(file);
  t.true(capacity > entries.length);
  const more = Array.from({ length: capacity - entries.length }, () => ({ tag: DT.DT_DEBUG, value: 7n }));
  writeDynamic(file, [...entries, ...more]);
  const bytes = elfBytes(file);
  t.is(bytes.length, program.length);
  const said = output('readelf', ['-dW', onDisk(bytes)]);
  t.is([...said.matchAll(/\(DEBUG\) +0x7/g)].length, capacity - entries.length);
  const changed = [...bytes.keys()].filter(i => bytes[i] !== program[i]);
  t.true(changed.length > 0 && changed.length <= 2 * more.length);
  t.deepEqual(
    rewritten(bytes, entries),
    entries,
    'the entries that are no longer there have become DT_NULL again',
  );
});

test('changeDynamic() changes values in place, adds tags at the end and takes entries away', t => {
  const entries = [
    { tag: DT.DT_NEEDED, value: 1n },
    { tag: DT.DT_RELA, value: 2n },
    { tag: DT.DT_RELACOUNT, value: 3n },
  ];
  const changes = new Map<number, bigint | undefined>([
    [DT.DT_RELACOUNT, undefined],
    [DT.DT_RELA, 20n],
    [DT.DT_RELR, 4n],
    [DT.DT_TEXTREL, undefined],
  ]);
  t.deepEqual(changeDynamic(entries, changes), [
    { tag: DT.DT_NEEDED, value: 1n },
    { tag: DT.DT_RELA, value: 20n },
    { tag: DT.DT_RELR, value: 4n },
  ]);
  t.deepEqual(changeDynamic(entries, new Map()), entries);
});

test('encodeDynamic() ends with DT_NULL, and takes what is left of its size for more of them', t => {
  const entries = [{ tag: DT.DT_DEBUG, value: 5n }];
  t.is(encodeDynamic(entries).length, dynamicSize(1));
  t.deepEqual(
    [...encodeDynamic(entries, 48)],
    [21, 0, 0, 0, 0, 0, 0, 0, 5, ...new Array<number>(39).fill(0)],
  );
});

test('writeDynamic() refuses more entries than there is room for, and a file without a dynamic section', t => {
  const file = readElf(program);
  const many = Array.from({ length: dynamicCapacity(file) + 1 }, () => ({ tag: 1, value: 1n }));
  const full = t.throws(() => writeDynamic(file, many), { instanceOf: FormatError });
  t.is(full?.code, 'ELF_DYNAMIC_FULL');
  t.regex(full?.message ?? '', /dynamic entries take \d+ bytes with DT_NULL, expected at most \d+/);
  const none = t.throws(() => writeDynamic(newElf({ type: 3 }), []), { instanceOf: FormatError });
  t.is(none?.code, 'ELF_BAD_DYNAMIC');
  t.is(dynamicCapacity(newElf({ type: 3 })), 0);
  const nowhere = newElf({ type: 3 });
  nowhere.segments.push(newSegment({ type: 2, flags: 4, fileSize: 64, offset: 4096 }));
  const lost = t.throws(() => writeDynamic(nowhere, []), { instanceOf: FormatError });
  t.is(lost?.code, 'ELF_NOT_IN_FILE');
});
