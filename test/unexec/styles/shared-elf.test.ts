import { readFileSync } from 'node:fs';
import test from 'ava';
import {
  atAddress,
  DT,
  elfNotes,
  findSection,
  readDynamic,
  readDynamicRelocations,
  readElf,
  readSymbols,
  sectionContents,
} from '../../../formats/elf/index.ts';
import { FileSource } from '../../../unexec/file-source.ts';
import { NOTE, type SharedManifest } from '../../../unexec/manifest.ts';
import type { SharedReport } from '../../../unexec/shared.ts';
import { verifyFile } from '../../../unexec/verify-file.ts';
import { decodeZones } from '../../../unexec/zones/note.ts';
import { output, run } from '../../formats/elf/support/tools.ts';
import { compileLibrary, freezeTo, OWN_CXX } from '../../support/frozen-library.ts';

const reports = new Map<string, SharedReport>();

test.before(async () => {
  const world = compileLibrary('samples/shared/world.c');
  const shapes = compileLibrary('samples/shared/shapes.cc', OWN_CXX);
  reports.set('world', await freezeTo(world, { init: 'urf_init' }));
  reports.set('world, plain', await freezeTo(world, { init: 'urf_init', relocations: 'rela' }, 'plain.so'));
  reports.set('shapes', await freezeTo(shapes, { init: 'urf_init' }));
});

function made(name: string): SharedReport {
  const found = reports.get(name);
  if (found === undefined) throw new Error(`${name} was not frozen`);
  return found;
}

const NAMES = ['world', 'world, plain', 'shapes'];

for (const name of NAMES) {
  test(`${name}: eu-elflint finds nothing but what it does not know`, t => {
    const lines = run('eu-elflint', ['--gnu-ld', made(name).target])
      .stdout.split('\n')
      .filter(line => !/owner name 'unexec'/.test(line))
      // elfutils 0.188 takes the name for that of an SHT_REL, of linkers' files too.
      .filter(line => !/'\.relr\.dyn' has wrong type: expected REL/.test(line));
    const library = made(name).library;
    const known = new Set(run('eu-elflint', ['--gnu-ld', library]).stdout.split('\n'));
    t.deepEqual(
      lines.filter(line => line !== '' && line !== 'No errors' && !known.has(line)),
      [],
    );
  });

  test(`${name}: readelf and llvm-readobj read all of it without a warning`, t => {
    t.true(output('readelf', ['-aW', made(name).target]).length > 0);
    t.true(output('llvm-readobj', ['--all', made(name).target]).length > 0);
  });

  test(`${name}: our verifier finds nothing`, t => {
    t.deepEqual(verifyFile(made(name).target).findings, []);
  });
}

test('gdb shows the values of variables, and what they lead to, before anything runs', t => {
  const commands = [
    'p bytes',
    'p sorted[0]->name->text',
    'p *objects',
    'p objects->next->number',
    'p numbers',
  ];
  const args = commands.flatMap(command => ['-ex', command]);
  const { stdout } = run('gdb', ['-nx', '-batch', ...args, made('world').target]);
  t.regex(stdout, /"word 0"/);
  t.regex(stdout, /\{next = 0x[0-9a-f]+.*, name = 0x[0-9a-f]+.*, number = 99999\}/);
  t.regex(stdout, /= 99998/);
});

test('lists lie in the file link by link', t => {
  const file = readElf(new Uint8Array(readFileSync(made('world').target)));
  const symtab = findSection(file, '.symtab');
  const objects = symtab && readSymbols(file, symtab).find(({ name }) => name === 'objects');
  const word = (address: bigint): bigint => {
    const bytes = atAddress(file, address)?.read(0, 8) ?? new Uint8Array(8);
    return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  };
  let links = 0;
  let adjacent = 0;
  for (let at = word(objects?.value ?? 0n); at !== 0n && links < 100_000; links++) {
    const next = word(at);
    if (next - at === 32n) adjacent++;
    at = next;
  }
  t.is(links, 100_000);
  t.true(adjacent > 99_000, `${adjacent}`);
});

test('each block has its usable size in the word before it', t => {
  const { stdout } = run('gdb', [
    '-nx',
    '-batch',
    '-ex',
    'p ((long *)objects)[-1]',
    '-ex',
    'p ((long *)sorted)[-1]',
    made('world').target,
  ]);
  const [object, array] = [...stdout.matchAll(/= (\d+)/g)].map(([, size]) => Number(size));
  t.is(object, 24);
  t.true(array !== undefined && array >= 800_000 && array < 804_096);
});

test('constructors that have run are no initialisers any more, and destructors go on to be', t => {
  const source = new FileSource(made('shapes').target);
  const tags = new Set(readDynamic(readElf(source)).map(({ tag }) => tag));
  t.false(tags.has(DT.DT_INIT_ARRAY));
  t.false(tags.has(DT.DT_INIT));
  t.true(tags.has(DT.DT_FINI_ARRAY));
  source.close();
});

test('relative relocations are compact ones, sorted, and in the words is what they lead to', t => {
  const { target, relocations } = made('world');
  const file = readElf(new Uint8Array(readFileSync(target)));
  const { relr, rela } = readDynamicRelocations(file);
  t.is(relr.length, relocations.relative);
  t.is(rela.length, relocations.symbolic);
  const heap = findSection(file, '.unexec.heap');
  if (heap === undefined) return t.fail('there is no .unexec.heap');
  const bytes = sectionContents(heap);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = heap.address + BigInt(bytes.length);
  const inHeap = [...relr].filter(address => address >= heap.address && address < end);
  t.true(inHeap.length > 300_000);
  for (const address of inHeap) {
    const value = view.getBigUint64(Number(address - heap.address), true);
    if (value === 0n || value >= end)
      return t.fail(`0x${address.toString(16)} leads to 0x${value.toString(16)}`);
  }
});

test('the manifest and the zone note say what was frozen, and in which order it lies', t => {
  const { target, blocks } = made('world');
  const file = readElf(new Uint8Array(readFileSync(target)));
  const notes = elfNotes(file).filter(({ owner }) => owner === 'unexec');
  const desc = (type: number): Uint8Array => notes.find(note => note.type === type)?.desc ?? new Uint8Array();
  const manifest: SharedManifest = JSON.parse(new TextDecoder().decode(desc(NOTE.MANIFEST)));
  t.like(manifest, {
    version: 1,
    style: 'shared',
    program: 'libworld.so',
    initialiser: 'urf_init',
    order: 'depth-first',
    pointers: { found: 'comparison', relocations: 'relr', symbolic: 5003 },
    rerouted: ['free', 'realloc'],
  });
  t.like(manifest.blocks, { count: blocks.count, bytes: blocks.bytes });
  const [zone] = decodeZones(desc(NOTE.ZONES));
  t.like(zone, { kind: 'frozen', used: blocks.bytes });
  t.is(zone?.base, findSection(file, '.unexec.heap')?.address);
});

test('two freezes of a library differ in nothing but when they were made', async t => {
  const { library, target } = made('world');
  const again = await freezeTo(library, { init: 'urf_init' }, 'same.so');
  const without = (path: string): string => readFileSync(path, 'latin1').replace(/"frozenAt":"[^"]*"/, '');
  t.true(without(again.target) === without(target));
});
