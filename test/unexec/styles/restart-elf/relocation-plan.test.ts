import test from 'ava';
import {
  dynamicTypes,
  EM,
  ET,
  newElf,
  newSegment,
  PF,
  PT,
  relaTableOf,
  relocationsOf,
} from '../../../../formats/elf/index.ts';
import { planRelocations, wordReader } from '../../../../unexec/styles/restart-elf/relocation-plan.ts';

const types = dynamicTypes(EM.EM_X86_64);
const data = newSegment({
  type: PT.PT_LOAD,
  flags: PF.PF_R | PF.PF_W,
  address: 0x4000n,
  fileSize: 0x100,
  memorySize: 0x200,
});
const file = newElf({ type: ET.ET_DYN, machine: EM.EM_X86_64 });
const none = relaTableOf([]);
const dumped = [{ index: 0, segment: data, size: 0x200, kept: [] }];

const plan = (input: Partial<Parameters<typeof planRelocations>[0]>) =>
  planRelocations({
    file,
    present: { relr: new BigUint64Array(), rela: none, jmprel: none },
    usesRelr: false,
    dumped,
    found: new Map(),
    isKept: () => false,
    redirected: new Map(),
    added: [],
    targetOf: address => address + 0x1000n,
    ...input,
  });

const relative = (offset: bigint, addend: bigint) => ({ offset, type: types.relative, symbol: 0, addend });

test('relative relocations of dumped words are made anew, and those of kept words stay', t => {
  const rela = relaTableOf([relative(0x4000n, 1n), relative(0x3000n, 2n)]);
  const { rela: made, relativeCount } = plan({
    present: { relr: new BigUint64Array(), rela, jmprel: none },
    isKept: address => address < 0x4000n,
    found: new Map([[0, Float64Array.of(8, 0x109)]]),
  });
  t.deepEqual(
    [...relocationsOf(made)],
    [relative(0x3000n, 2n), relative(0x4008n, 0x5008n), relative(0x4109n, 0x5109n)],
  );
  t.is(relativeCount, 3);
});

test('an initialiser that is redirected keeps its relocation, with the new target', t => {
  const rela = relaTableOf([relative(0x3000n, 2n)]);
  const { rela: made } = plan({
    present: { relr: new BigUint64Array(), rela, jmprel: none },
    isKept: () => true,
    redirected: new Map([[0x3000n, 0x77n]]),
  });
  t.deepEqual([...relocationsOf(made)], [relative(0x3000n, 0x77n)]);
});

test('words at even places are compact where the file has such, others are not', t => {
  const { rela, relr, relativeCount } = plan({
    usesRelr: true,
    present: { relr: BigUint64Array.of(0x2000n, 0x4000n), rela: none, jmprel: none },
    isKept: address => address < 0x4000n,
    found: new Map([[0, Float64Array.of(3, 8, 16)]]),
  });
  t.deepEqual([...(relr ?? [])], [0x2000n, 0x4008n, 0x4010n]);
  t.deepEqual([...relocationsOf(rela)], [relative(0x4003n, 0x5003n)]);
  t.is(relativeCount, 1);
});

test('symbolic relocations stay where the word is kept, copies and others always, and new ones follow', t => {
  const symbolic = { offset: 0x4010n, type: types.absolute, symbol: 3, addend: 4n };
  const overwritten = { ...symbolic, offset: 0x4018n };
  const copy = { offset: 0x4020n, type: types.copy, symbol: 5, addend: 0n };
  const { rela, relr, relativeCount } = plan({
    present: { relr: new BigUint64Array(), rela: relaTableOf([symbolic, overwritten, copy]), jmprel: none },
    isKept: address => address === 0x4010n,
    found: new Map([[0, Float64Array.of(0)]]),
    added: [{ address: 0x4080n, symbolIndex: 9, addend: 8n }],
  });
  t.deepEqual(
    [...relocationsOf(rela)],
    [
      relative(0x4000n, 0x5000n),
      symbolic,
      copy,
      { offset: 0x4080n, type: types.absolute, symbol: 9, addend: 8n },
    ],
  );
  t.is(relativeCount, 1);
  t.is(relr, undefined);
});

test('words are read wherever they are, each place once in a while', t => {
  let reads = 0;
  const memory = {
    read: (address: bigint, into: Uint8Array) => {
      reads++;
      const view = new DataView(into.buffer, into.byteOffset, into.length);
      for (let at = 0; at + 8 <= into.length; at += 8) view.setBigUint64(at, address + BigInt(at), true);
    },
    touched: () => [],
  };
  const read = wordReader(memory, 0x10000n);
  for (const address of [0x1000n, 0x1008n, 0x2000n]) t.is(read(address), address + 0x10000n);
  t.is(reads, 1);
  t.is(read(0x1000n + 65_544n), 0x11000n + 65_544n);
  t.is(read(0x0n), 0x10000n);
  t.is(reads, 3);
});
