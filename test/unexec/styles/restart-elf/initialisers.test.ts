import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { bytesSource, type ElfFile, readElf, readSymbols, SHT } from '../../../../formats/elf/index.ts';
import { viewOf } from '../../../../formats/struct.ts';
import { FileSource } from '../../../../unexec/file-source.ts';
import { initialiserLists, settleInitialisers } from '../../../../unexec/styles/restart-elf/initialisers.ts';
import { sandbox } from '../../../support/sandbox.ts';

const directory = sandbox('initialisers');
const SOURCE = `
int ran;
__attribute__((constructor)) static void early_library(void) { ran |= 1; }
__attribute__((constructor(100))) static void implementation(void) { ran |= 2; }
__attribute__((constructor(150))) void start(void) { ran |= 4; }
__attribute__((constructor(200))) static void own_first(void) { ran |= 8; }
int main(void) { return ran; }
`;
const LATER = `
__attribute__((constructor)) static void own(void) {}
__attribute__((constructor)) void last_start(void) {}
__attribute__((constructor)) static void library(void) {}
__attribute__((section(".preinit_array"), used)) static void (*const before)(void) = own;
`;

function link(name: string, ...flags: string[]): ElfFile {
  const path = join(directory, name);
  writeFileSync(`${path}.c`, SOURCE.replace(/.*early_library.*\n/, ''));
  writeFileSync(
    `${path}.2.c`,
    flags.includes('-static') ? LATER : LATER.replace(/.*preinit.*\n/, LATER_PREINIT),
  );
  execFileSync('gcc', ['-Wno-prio-ctor-dtor', '-o', path, `${path}.c`, `${path}.2.c`, ...flags]);
  const source = new FileSource(path);
  const bytes = source.read(0, source.size).slice();
  source.close();
  return readElf(bytesSource(bytes));
}

const LATER_PREINIT = '__attribute__((section(".preinit_array"), used)) static void (*before)(void) = own;\n';

function addresses(file: ElfFile): (name: string) => bigint {
  const symtab = file.sections.find(({ type }) => type === SHT.SHT_SYMTAB);
  const symbols = symtab === undefined ? [] : readSymbols(file, symtab);
  return name => symbols.find(symbol => symbol.name === name)?.value ?? -1n;
}

/** What the entries of a program lead to that is linked to its address. */
function targetOf(file: ElfFile): (address: bigint) => bigint {
  return address => {
    const load = file.segments.find(
      segment => address >= segment.address && address < segment.address + BigInt(segment.fileSize),
    );
    const bytes = file.source?.read((load?.offset ?? 0) + Number(address - (load?.address ?? 0n)), 8);
    return bytes === undefined ? 0n : viewOf(bytes).getBigUint64(0, true);
  };
}

for (const flags of [['-no-pie'], ['-static']]) {
  test(`every entry but those of every life becomes start: ${flags.join()}`, t => {
    const file = link(`dynamic${flags.join('')}`, ...flags);
    const address = addresses(file);
    const read = targetOf(file);
    const runtime = { start: address('start'), lastStart: address('last_start'), hasLibraries: false };
    const { redirected, dropped } = settleInitialisers(file, runtime, read);
    const gone = [...redirected].map(([entry, target]) => {
      t.is(target, address('start'));
      return read(entry);
    });
    for (const name of ['implementation', 'own_first', 'own', 'library'])
      t.true(gone.includes(address(name)), name);
    t.is(gone.filter(target => target === address('own')).length, 2);
    for (const name of ['start', 'last_start', 'frame_dummy']) t.false(gone.includes(address(name)), name);
    t.is(dropped, redirected.size);
  });
}

test('of a static program, what is not between start and the last one of the runtime belongs to libraries', t => {
  const file = link('static', '-static');
  const address = addresses(file);
  const read = targetOf(file);
  const runtime = { start: address('start'), lastStart: address('last_start'), hasLibraries: true };
  const { redirected } = settleInitialisers(file, runtime, read);
  const gone = [...redirected.keys()].map(read);
  t.deepEqual(gone.sort(), [address('own'), address('own'), address('own_first')].sort());
});

test('without a runtime the entries become _init', t => {
  const file = link('without', '-no-pie');
  const runtime = { start: undefined, lastStart: undefined, hasLibraries: false };
  const { redirected } = settleInitialisers(file, runtime, targetOf(file));
  t.true(redirected.size > 0);
  for (const target of redirected.values()) t.is(target, addresses(file)('_init'));
});

test('the lists of a static program are found by their sections', t => {
  const lists = initialiserLists(link('lists', '-static'));
  t.true(lists.length === 2 && lists.every(({ start, end }) => end > start));
});
