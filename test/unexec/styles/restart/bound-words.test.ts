import test from 'ava';
import { viewOf } from '../../../../formats/struct.ts';
import { type Bound, readBoundWords } from '../../../../unexec/styles/restart/bound-words.ts';
import { memoryOf } from '../../../support/synthetic-memory.ts';

const SLIDE = 0x4000_0000n;
/** The table of the loader, and the program's data behind it. Of the file. */
const TABLE = 0x1_0000_0000n;
const DATA = 0x1_0000_0100n;
const END = 0x1_0000_0200n;
/** Of the process: where two functions of a library are, and one that is elsewhere in it. */
const LIBRARY = 0x7fff_0000_0000n;
const [STRCMP, MALLOC, OTHER] = [LIBRARY + 0x100n, LIBRARY + 0x200n, LIBRARY + 0x300n];
const STUB_HELPER = TABLE + SLIDE + 0x1f0n;

const bind = (address: bigint, symbol: string, rest: Partial<Bound> = {}): Bound => ({
  address,
  symbol,
  libOrdinal: 1,
  addend: 0n,
  weak: false,
  lazy: false,
  ...rest,
});

function read(
  binds: readonly Bound[],
  words: ReadonlyMap<bigint, bigint>,
  isClean: (address: bigint) => boolean = () => false,
) {
  const bytes = new Uint8Array(Number(END - TABLE));
  for (const [address, value] of words)
    viewOf(bytes).setBigUint64(Number(address - TABLE), BigInt.asUintN(64, value), true);
  const { kept, overwritten, importOf, unknown } = readBoundWords({
    binds,
    isLoaders: address => address < DATA,
    memory: memoryOf([{ start: TABLE + SLIDE, bytes }]).memory,
    slide: SLIDE,
    isInImage: address => address >= TABLE + SLIDE && address < END + SLIDE,
    isClean,
    isMapped: address => address >= LIBRARY && address < LIBRARY + 0x1000n,
  });
  return {
    kept: kept.map(({ address }) => address),
    overwritten: overwritten.map(({ address }) => address),
    imports: [...importOf].map(([value, { symbol }]) => [value, symbol]),
    unknown,
  };
}

/** The word at DATA is bound to strcmp and holds `value`; `others` says what else is known. */
type Case = readonly [what: string, value: bigint, isKept: boolean, rest?: Partial<Bound>];
const known: readonly Case[] = [
  ['what the loader put there', STRCMP, true],
  ['another address of the library', OTHER, false],
  ['null', 0n, false],
  ['an address of the program', DATA + SLIDE, false],
  ['what the loader put there, with its addend', STRCMP + 8n, true, { addend: 8n }],
  ['what the loader put there, without its addend', STRCMP, false, { addend: 8n }],
];
for (const [what, value, isKept, rest] of known)
  test(`a bound word of a known import is ${isKept ? 'left alone' : 'overwritten'} where it holds ${what}`, t => {
    const binds = [bind(TABLE, 'strcmp'), bind(DATA, 'strcmp', rest)];
    const { kept, overwritten } = read(
      binds,
      new Map([
        [TABLE, STRCMP],
        [DATA, value],
      ]),
    );
    t.deepEqual(kept, isKept ? [TABLE, DATA] : [TABLE]);
    t.deepEqual(overwritten, isKept ? [] : [DATA]);
  });

const unknown: readonly Case[] = [
  ['an address of the library', OTHER, true],
  ['the address of another import', MALLOC, false],
  ['an address of nothing', 0x5555n, false],
  ['an address of the program', DATA + SLIDE, false],
  ['null', 0n, false],
  ['null, and the symbol may be missing', 0n, true, { weak: true }],
];
for (const [what, value, isKept, rest] of unknown)
  test(`a bound word of an import that is nowhere else is ${isKept ? 'left alone' : 'overwritten'} where it holds ${what}`, t => {
    const binds = [bind(TABLE, 'malloc'), bind(DATA, 'strcmp', rest)];
    const { overwritten } = read(
      binds,
      new Map([
        [TABLE, MALLOC],
        [DATA, value],
      ]),
    );
    t.deepEqual(overwritten, isKept ? [] : [DATA]);
  });

test('a word of the loader is kept whatever it holds', t => {
  const { kept, overwritten } = read([bind(TABLE, 'strcmp')], new Map([[TABLE, 0x5555n]]));
  t.deepEqual([kept, overwritten], [[TABLE], []]);
});

test('a lazy pointer says nothing of its import until it has been bound', t => {
  const binds = [bind(TABLE, 'strcmp', { lazy: true }), bind(DATA, 'strcmp')];
  const before = read(
    binds,
    new Map([
      [TABLE, STUB_HELPER],
      [DATA, STRCMP],
    ]),
  );
  t.deepEqual([before.kept, before.imports], [[TABLE, DATA], [[STRCMP, 'strcmp']]]);
  const bound = read(
    binds,
    new Map([
      [TABLE, STRCMP],
      [DATA, OTHER],
    ]),
  );
  t.deepEqual([bound.kept, bound.overwritten], [[TABLE], [DATA]]);
  t.deepEqual(bound.imports, [[STRCMP, 'strcmp']]);
});

test('values stand for imports only where they are of a library, and exact', t => {
  const binds = [
    bind(TABLE, 'strcmp'),
    bind(TABLE + 8n, 'own'),
    bind(TABLE + 16n, 'missing', { weak: true }),
    bind(TABLE + 24n, 'array', { addend: 16n }),
    bind(DATA, 'malloc'),
  ];
  const words = new Map([
    [TABLE, STRCMP],
    [TABLE + 8n, DATA + SLIDE],
    [TABLE + 24n, OTHER + 16n],
    [DATA, MALLOC],
  ]);
  t.deepEqual(read(binds, words).imports, [
    [STRCMP, 'strcmp'],
    [MALLOC, 'malloc'],
  ]);
});

test('the same name in two libraries is two imports', t => {
  const binds = [bind(TABLE, 'open'), bind(DATA, 'open', { libOrdinal: 2 })];
  const { overwritten } = read(
    binds,
    new Map([
      [TABLE, STRCMP],
      [DATA, STRCMP],
    ]),
  );
  t.deepEqual(overwritten, [DATA]);
});

test('words that nobody has written to stay bound, though memory does not have them', t => {
  const binds = [bind(TABLE, 'strcmp'), bind(DATA, 'strcmp'), bind(DATA + 8n, 'malloc')];
  const all = read(binds, new Map(), () => true);
  t.deepEqual([all.kept, all.overwritten, all.imports, all.unknown], [[TABLE, DATA, DATA + 8n], [], [], 1]);
  const table = read(binds, new Map([[DATA, STRCMP]]), address => address < DATA);
  t.deepEqual([table.kept, table.overwritten, table.unknown], [[TABLE, DATA], [DATA + 8n], 1]);
});

test('an import of which memory has no library is known by its value, and counted', t => {
  const elsewhere = 0x7eee_0000_0000n;
  const binds = [bind(TABLE, 'strcmp'), bind(DATA, 'malloc'), bind(DATA + 8n, 'strcmp')];
  const words = new Map([
    [TABLE, elsewhere],
    [DATA, elsewhere + 8n],
    [DATA + 8n, elsewhere],
  ]);
  const { kept, unknown, imports } = read(binds, words);
  t.deepEqual([kept, unknown], [[TABLE, DATA, DATA + 8n], 1]);
  t.deepEqual(imports, [
    [elsewhere, 'strcmp'],
    [elsewhere + 8n, 'malloc'],
  ]);
});
