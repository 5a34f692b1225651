import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import test from 'ava';
import {
  bytesSource,
  DT,
  dynamicCapacity,
  dynamicTypes,
  type ElfFile,
  elfBytes,
  findSection,
  PT,
  readDynamic,
  readDynamicRelocations,
  readElf,
} from '../../../../formats/elf/index.ts';
import { UnexecError } from '../../../../unexec/errors.ts';
import { FileSource } from '../../../../unexec/file-source.ts';
import { loadersWords } from '../../../../unexec/styles/restart-elf/loaders-words.ts';
import { nameOfPlace } from '../../../../unexec/styles/restart-elf/place-name.ts';
import { planRelocations } from '../../../../unexec/styles/restart-elf/relocation-plan.ts';
import {
  isStatic,
  librariesStretches,
  programEnds,
} from '../../../../unexec/styles/restart-elf/static-libraries.ts';
import { planTables } from '../../../../unexec/styles/restart-elf/tables.ts';
import { dumpedSegments, loadersStretches } from '../../../../unexec/styles/restart-elf/territory.ts';
import { buildElf } from '../../../support/restart-elf.ts';
import { sandbox } from '../../../support/sandbox.ts';

const directory = sandbox('restart-elf-program');
const source = 'test/fixtures/restart-elf/words.c';

function read(path: string): ElfFile {
  const opened = new FileSource(path);
  const bytes = opened.read(0, opened.size).slice();
  opened.close();
  return readElf(bytesSource(bytes));
}

const dynamic = read(buildElf({ source, directory, name: 'dynamic' }));
const fixed = read(buildElf({ source, directory, name: 'fixed', flags: ['-no-pie'] }));
const still = read(buildElf({ source, directory, name: 'static', flags: ['-static'] }));

/** Address of a symbol, as nm(1) says. */
function address(name: string, symbol: string): bigint {
  const lines = execFileSync('nm', [join(directory, name)], { encoding: 'utf8' }).split('\n');
  const line = lines.find(text => text.split(' ')[2] === symbol) ?? '';
  return BigInt(`0x${line.split(' ')[0]}`);
}

test('the words of a loader are those that it binds by name, copies, and fills with what functions choose', t => {
  const present = readDynamicRelocations(dynamic);
  const { symbols, others } = loadersWords(dynamic, present);
  const types = dynamicTypes(dynamic.header.machine);
  const kinds = new Map(symbols.map(({ symbol, type }) => [symbol, type]));
  t.is(kinds.get('tolower'), types.absolute);
  t.is(kinds.get('dlsym'), types.jumpSlot);
  t.true(symbols.find(({ symbol }) => symbol === 'dlsym')?.lazy);
  const own = symbols.find(({ symbol }) => symbol === 'isalpha');
  t.is(own?.address, address('dynamic', 'cleared'));
  t.false(own?.lazy);
  const copied = others.find(({ start }) => start === address('dynamic', 'optind@GLIBC_2.2.5'));
  t.is(copied && copied.end - copied.start, 4n);
});

test('what a loader makes anew is not dumped: RELRO, the dynamic section, templates, lists of functions', t => {
  for (const [file, names] of [
    [dynamic, ['.dynamic', '.init_array', '.fini_array', '.got']],
    [fixed, ['.dynamic', '.init_array', '.fini_array', '.got']],
    [still, ['.init_array', '.data.rel.ro', '.got']],
  ] as const) {
    const stretches = loadersStretches(file);
    for (const name of names) {
      const section = findSection(file, name);
      const at = section?.address ?? 0n;
      t.true(
        stretches.some(({ start, end }) => at >= start && at < end),
        name,
      );
    }
    const data = findSection(file, '.data')?.address ?? 0n;
    t.false(stretches.some(({ start, end }) => data + 8n > start && data < end - 24n && end - start > 24n));
  }
});

test('writable segments are dumped, a reserve up to its high-water mark, without what is kept', t => {
  const [own, ...more] = dumpedSegments(dynamic, [{ start: 0n, end: 0x10_0000n }], undefined);
  t.deepEqual(more, []);
  t.is(own?.size, own?.segment.memorySize);
  t.deepEqual(own?.kept, [{ start: 0, end: own?.segment.memorySize ?? 0 }]);
  const base = own?.segment.address ?? 0n;
  const [reserve] = dumpedSegments(dynamic, [], { base: base + 16n, highWater: 64 });
  t.is(reserve?.size, 80);
});

test('of a static program, variables behind the runtime are the libraries’ own', t => {
  t.true(isStatic(still));
  t.false(isStatic(dynamic) || isStatic(fixed));
  const at = (symbol: string): bigint => address('static', symbol);
  const ends = { lastData: at('last_data'), lastBss: at('last_bss'), lastStart: at('last_start') };
  const stretches = librariesStretches(still, ends);
  const isKept = (symbol: string): boolean =>
    stretches.some(({ start, end }) => at(symbol) >= start && at(symbol) < end);
  for (const symbol of ['replaced', 'found', 'own_stack', 'exits']) t.false(isKept(symbol), symbol);
  for (const symbol of ['_IO_2_1_stdout_', 'stdout', 'environ', '_IO_stdfile_1_lock'])
    t.true(isKept(symbol), symbol);
});

test('a static program without runtime or without section headers is refused', t => {
  const targetOf = (): bigint => 0n;
  t.throws(() => programEnds(still, 'it', undefined, targetOf), {
    instanceOf: UnexecError,
    code: 'STATIC_WITHOUT_RUNTIME',
  });
  const [segment] = still.segments;
  if (segment === undefined) return t.fail();
  const reserve = { segment, offset: 0, address: 0n, base: 0n, size: 0 };
  t.throws(() => programEnds(still, 'it', reserve, targetOf), { code: 'STATIC_WITHOUT_SECTIONS' });
});

test('places are named by symbol and section, or by the segment', t => {
  t.is(nameOfPlace(dynamic, address('dynamic', 'found') + 3n), 'found+0x3 (.bss)');
  t.is(nameOfPlace(dynamic, address('dynamic', 'replaced')), 'replaced (.data)');
  t.is(nameOfPlace(dynamic, 0x7fff_0000n), '0x7fff0000 (nowhere)');
});

test('tables go behind everything else, and the dynamic section leads to them', t => {
  const file = readElf(bytesSource(elfBytes(dynamic)));
  const present = readDynamicRelocations(file);
  const relocations = planRelocations({
    file,
    present,
    usesRelr: true,
    dumped: [],
    found: new Map(),
    isKept: () => true,
    redirected: new Map(),
    added: [],
    targetOf: word => word,
  });
  const manifest = {
    version: 1,
    style: 'restart',
    tool: 'test',
    argv: [],
    freezePoint: 'request',
    frozenAt: '',
    arch: 'x86_64',
    program: 'it',
    generation: 1,
    pointers: { found: 'comparison', count: 1 },
  } as const;
  const { segment, tables, dynamicWords } = planTables(file, relocations, manifest, []);
  const loads = file.segments.filter(({ type }) => type === PT.PT_LOAD);
  t.is(loads.at(-1), segment);
  t.true(tables.every(({ address: at }) => at >= segment.address && at % 8n === 0n));
  t.deepEqual(
    tables.map(({ section }) => section.name),
    ['.note.unexec', '.rela.dyn', '.relr.dyn'],
  );
  // DT_RELR and DT_RELRSZ are new: they take the place of spare entries, and DT_NULL is left.
  const start = file.segments.find(({ type }) => type === PT.PT_DYNAMIC)?.address ?? 0n;
  const used = readDynamic(file).length;
  const tags = dynamicWords
    .filter(({ address: at }) => (at - start) % 16n === 0n)
    .map(({ address: at, value }) => [Number(at - start) / 16, Number(value)]);
  const expected = [DT.DT_RELR, DT.DT_RELRSZ, DT.DT_RELRENT].map((tag, i) => [used + i, tag]);
  t.deepEqual(tags, expected);
  t.true(used + expected.length <= dynamicCapacity(file));
});
