import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import {
  elfBytes,
  findSegment,
  newSection,
  PF,
  PT,
  readElf,
  SHT,
  segmentContents,
  verifyElf,
} from '../../../formats/elf/index.ts';
import { alignmentOf, endOfFile, endOfMemory } from '../../../unexec/elf/address-space.ts';
import {
  addLoadSegment,
  displacementOf,
  movedHeaders,
  moveProgramHeaders,
} from '../../../unexec/elf/program-headers.ts';
import { describeSection, placeSectionTables } from '../../../unexec/elf/section-tables.ts';
import { UnexecError } from '../../../unexec/errors.ts';
import { complaintsOfElf } from '../../support/judge-elf.ts';
import { run } from '../../support/run.ts';
import { sandbox } from '../../support/sandbox.ts';

const directory = sandbox('program-headers');
const source = join(directory, 'program.c');
writeFileSync(source, '#include <stdio.h>\nchar bss[100000];\nint main(void) { return puts("runs") < 0; }\n');

function compiled(name: string, flags: readonly string[] = []): string {
  const path = join(directory, name);
  execFileSync('gcc', ['-o', path, source, ...flags]);
  return path;
}

const read = (path: string) => readElf(new Uint8Array(readFileSync(path)));

for (const [name, flags] of [
  ['pie', []],
  ['no-pie', ['-no-pie']],
  ['static', ['-static']],
  ['aligned', ['-Wl,-z,max-page-size=0x10000']],
] as const) {
  test(`segments with and without bytes are added to a program, which goes on to run: ${name}`, async t => {
    const path = compiled(name, flags);
    const file = read(path);
    const table = moveProgramHeaders(file);
    t.is(moveProgramHeaders(file), table, 'the second time nothing happens');
    const headers = file.segments.length;
    const empty = addLoadSegment(file, { flags: PF.PF_R | PF.PF_W, memorySize: 5_000_000, unit: 0x4000 });
    const contents = new TextEncoder().encode('added bytes');
    const full = addLoadSegment(file, { flags: PF.PF_R, memorySize: 11, fileSize: contents.length });
    for (const { address, offset } of [table, empty, full]) {
      t.is((address - BigInt(offset)) % BigInt(alignmentOf(file)), 0n);
    }
    t.is(table.address - BigInt(table.offset), displacementOf(file));
    t.is(empty.address % 0x4000n, 0n);
    t.true(full.address >= empty.address + 5_000_000n);
    t.is(endOfMemory(file), full.address + 11n);
    t.is(endOfFile(file), full.offset + 11);
    const { address, offset } = full;
    describeSection(
      file,
      newSection({ name: '.added', type: SHT.SHT_PROGBITS, flags: 2, address, offset, contents }),
    );
    placeSectionTables(file);
    const output = `${path}.more`;
    writeFileSync(output, elfBytes(file), { mode: 0o755 });

    t.like(await run(output), { stdout: 'runs\n', status: 0, stderr: '' });
    t.deepEqual(complaintsOfElf(output, path), []);
    const written = read(output);
    t.deepEqual(verifyElf(written), verifyElf(read(path)));
    t.is(written.segments.length, headers + 2);
    t.is(movedHeaders(written)?.address, table.address);
    t.is(
      findSegment(written, PT.PT_PHDR)?.fileSize ?? written.segments.length * 56,
      written.segments.length * 56,
    );
    const dump = execFileSync('readelf', ['-p', '.added', output], { encoding: 'utf8' });
    t.regex(dump, /added bytes/);
  });
}

test('addLoadSegment() refuses to add a segment where the table is full, or has not moved', t => {
  const file = read(compiled('full'));
  const add = () => addLoadSegment(file, { flags: PF.PF_R, memorySize: 1 });
  t.is(t.throws(add, { instanceOf: UnexecError })?.code, 'NO_HEADER_ROOM');
  moveProgramHeaders(file);
  for (let room = Math.floor(0x1000 / 56) - file.segments.length; room > 0; room--) add();
  const error = t.throws(add, { instanceOf: UnexecError });
  t.is(error?.message, '74 program headers take 0x1030 bytes, and there is room for 0x1000');
});

test('segments are added to a file that was written and read again, in the room behind its table', async t => {
  const path = compiled('again');
  let file = read(path);
  moveProgramHeaders(file);
  const { address } = moveProgramHeaders(file);
  for (let life = 0; life < 3; life++) {
    const size = 100 + life;
    const { offset } = addLoadSegment(file, { flags: PF.PF_R, memorySize: size, fileSize: size });
    file.kept.push({ offset, contents: new Uint8Array(size).fill(life) });
    placeSectionTables(file);
    file = readElf(elfBytes(file));
    t.is(movedHeaders(file)?.address, address);
  }
  const output = `${path}.more`;
  writeFileSync(output, elfBytes(file), { mode: 0o755 });
  t.like(await run(output), { stdout: 'runs\n', status: 0 });
  t.deepEqual(verifyElf(file), verifyElf(read(path)));
  const loaded = file.segments.filter(({ type, memorySize }) => type === PT.PT_LOAD && memorySize < 103);
  t.deepEqual(
    loaded.map(segment => segmentContents(file, segment)[50]),
    [0, 1, 2],
  );
});

test('the tables of sections go behind all else in the file, and a file without any gets none', t => {
  const file = read(compiled('tables'));
  const end = endOfFile(file);
  const added = newSection({ name: '.new', type: SHT.SHT_NOBITS, size: 9 });
  t.is(describeSection(file, added), file.sections.length - 1);
  placeSectionTables(file);
  const written = readElf(elfBytes(file));
  t.is(written.sections.at(-1)?.name, '.new');
  const names = written.sections[written.shstrndx ?? 0]?.offset ?? 0;
  t.true(names < (written.shoff ?? 0) && names <= end);
  t.is(endOfFile(written), (written.shoff ?? 0) + 64 * written.sections.length);

  const none = { ...file, sections: [], shstrndx: undefined, shoff: undefined };
  t.is(describeSection(none, added), undefined);
  placeSectionTables(none);
  t.is(none.shoff, undefined);
});
