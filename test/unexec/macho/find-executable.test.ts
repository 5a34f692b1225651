import { readFileSync } from 'node:fs';
import test from 'ava';
import fc from 'fast-check';
import { MH } from '../../../formats/macho/constants.ts';
import { segmentsOf } from '../../../formats/macho/find.ts';
import { readFixups } from '../../../formats/macho/fixups.ts';
import { readUuid } from '../../../formats/macho/image.ts';
import { readMachO } from '../../../formats/macho/read.ts';
import { UnexecError } from '../../../unexec/errors.ts';
import { findMachO } from '../../../unexec/macho/find-executable.ts';
import { loadedSegments } from '../../../unexec/macho/loaded-segments.ts';
import { compileMachO } from '../../support/macho/toolchain.ts';
import { sandbox } from '../../support/sandbox.ts';
import { memoryOf, type Stretch } from '../../support/synthetic-memory.ts';

const directory = sandbox('find-executable');
const SOURCES = ['test/fixtures/macho/variables.c'];
const SLIDE = 0x2_3456_8000n;
const BASE = 0x1_0000_0000n;

const compile = (name: string, linkFlags: readonly string[] = []): Uint8Array =>
  new Uint8Array(
    readFileSync(
      compileMachO({ sources: SOURCES, arch: 'x86_64', fixups: 'chained', directory, name, linkFlags }),
    ),
  );
const PROGRAM = compile('program');
const OTHER = compile('other', ['-headerpad', '0x100']);
const ANONYMOUS = compile('anonymous', ['-no_uuid']);
const OTHER_ANONYMOUS = compile('other-anonymous', ['-no_uuid', '-pagezero_size', '0x200000000']);
const file = readMachO(PROGRAM);

/** The segments of a program as the loader maps them. */
function mapped(program: Uint8Array, slide: bigint): Stretch[] {
  const file = readMachO(program);
  const fill = loadedSegments(file, slide);
  return segmentsOf(file).flatMap(segment => {
    if (segment.initprot === 0) return [];
    const bytes = new Uint8Array(Math.ceil(Number(segment.vmsize) / 4096) * 4096);
    fill(segment, 0, bytes.subarray(0, segment.filesize));
    return [{ start: segment.vmaddr + slide, bytes, name: segment.segname }];
  });
}

const changed = (bytes: Uint8Array, at: number, value: number): Uint8Array => {
  const copy = bytes.slice();
  new DataView(copy.buffer).setUint32(at, value, true);
  return copy;
};
const copyAt = (start: bigint, bytes: Uint8Array): Stretch => ({ start, bytes });
const find = (stretches: readonly Stretch[], of = file, listed?: Parameters<typeof findMachO>[2]) =>
  findMachO(memoryOf([...stretches].sort((a, b) => (a.start < b.start ? -1 : 1))), of, listed);

const HERE = { address: BASE + SLIDE, slide: SLIDE };
/** filetype, cputype: their place in the header. */
const [FILETYPE, CPUTYPE] = [12, 4];

const surroundings: readonly (readonly [what: string, stretches: readonly Stretch[]])[] = [
  ['alone', []],
  [
    'beside other memory',
    [copyAt(0x1000n, new Uint8Array(0x1000)), copyAt(0x7000_0000_0000n, new Uint8Array(0x3000))],
  ],
  ['beside a library of the same UUID', [copyAt(0x10_0000n, changed(PROGRAM, FILETYPE, MH.MH_DYLIB))]],
  ['beside the same for another machine', [copyAt(0x10_0000n, changed(PROGRAM, CPUTYPE, 0x0100_000c))]],
  ['beside another executable', mapped(OTHER, 0x7000_0000_0000n)],
  ['beside a copy of its file, below', [copyAt(0x10_0000n, PROGRAM)]],
  ['beside a copy of its file, above', [copyAt(0x7000_0000_0000n, PROGRAM)]],
];
for (const [what, stretches] of surroundings) {
  test(`findMachO() finds an executable ${what}`, t => {
    t.deepEqual(find([...mapped(PROGRAM, SLIDE), ...stretches]), HERE);
  });
}

test('findMachO() finds an executable without a slide', t => {
  t.deepEqual(find(mapped(PROGRAM, 0n)), { address: BASE, slide: 0n });
});

test('findMachO() finds a header within a region', t => {
  const stretches = mapped(PROGRAM, SLIDE);
  const [text] = stretches;
  if (text === undefined) throw new Error('it has segments');
  const joined = new Uint8Array(0x3000 + text.bytes.length);
  joined.set(text.bytes, 0x3000);
  t.deepEqual(find([{ start: text.start - 0x3000n, bytes: joined }, ...stretches.slice(1)]), HERE);
});

test('findMachO() finds an executable without UUID by its segments', t => {
  const anonymous = readMachO(ANONYMOUS);
  t.is(readUuid(anonymous), undefined);
  t.deepEqual(find([...mapped(ANONYMOUS, SLIDE), ...mapped(OTHER_ANONYMOUS, 0n)], anonymous), HERE);
  t.is(
    codeOf(() => find(mapped(OTHER_ANONYMOUS, 0n), anonymous)),
    'NOT_THIS_EXECUTABLE',
  );
});

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof UnexecError) return error.code;
    throw error;
  }
  return 'found';
}

/** Bytes of LC_SEGMENT_64 before vmsize; __DATA is the fourth command. */
function otherBuild(): Stretch[] {
  const [text, ...others] = mapped(PROGRAM, SLIDE);
  if (text === undefined) throw new Error('it has segments');
  const at = Buffer.from(text.bytes).indexOf('__DATA\0');
  return [{ ...text, bytes: changed(text.bytes, at + 24, 0x100_0000) }, ...others];
}

const refusals: readonly (readonly [what: string, code: string, stretches: readonly Stretch[]])[] = [
  ['memory without any executable', 'EXECUTABLE_NOT_FOUND', [copyAt(0n, new Uint8Array(0x4000))]],
  ['no memory at all', 'EXECUTABLE_NOT_FOUND', []],
  ['another executable', 'NOT_THIS_EXECUTABLE', mapped(OTHER, SLIDE)],
  ['an executable of the same UUID with other segments', 'EXECUTABLE_CHANGED', otherBuild()],
  [
    'an executable that runs twice',
    'EXECUTABLE_AMBIGUOUS',
    [...mapped(PROGRAM, SLIDE), ...mapped(PROGRAM, 0n)],
  ],
];
for (const [what, code, stretches] of refusals) {
  test(`findMachO() refuses ${what}`, t => {
    t.is(
      codeOf(() => find(stretches)),
      code,
    );
  });
}

test('findMachO() believes a list of images where the header itself is missing, for the right UUID', t => {
  const [, ...data] = mapped(PROGRAM, SLIDE);
  const uuid = readUuid(file);
  const { address } = HERE;
  t.deepEqual(find(data, file, [{ address, uuid }]), HERE);
  t.is(
    codeOf(() => find(data, file, [{ address, uuid: undefined }])),
    'EXECUTABLE_NOT_FOUND',
  );
  t.is(
    codeOf(() => find(data, file, [{ address, uuid: 'f'.repeat(32) }])),
    'EXECUTABLE_NOT_FOUND',
  );
  // Where the list says that it is, there is nothing of it.
  t.is(
    codeOf(() => find(data, file, [{ address: 0x7000_0000_0000n, uuid }])),
    'EXECUTABLE_NOT_FOUND',
  );
});

test('findMachO() does not believe a list against the memory', t => {
  const uuid = readUuid(file);
  const listed = [0x10_0000n, BASE].map(address => ({ address, uuid }));
  t.deepEqual(
    find([...mapped(PROGRAM, SLIDE), copyAt(0x10_0000n, new Uint8Array(0x1000))], file, listed),
    HERE,
  );
});

test('findMachO() finds the program or says why not, whatever the header is', t => {
  const clean = mapped(PROGRAM, SLIDE);
  const [text, ...others] = clean;
  if (text === undefined) throw new Error('it has segments');
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(0x600 / 4), fc.integer()), { minLength: 1, maxLength: 4 }),
      words => {
        let bytes = text.bytes;
        for (const [at, value] of words) bytes = changed(bytes, at * 4, value);
        const outcome = codeOf(() => find([{ ...text, bytes }, ...others]));
        t.regex(outcome, /^(found|EXECUTABLE_NOT_FOUND|EXECUTABLE_CHANGED|NOT_THIS_EXECUTABLE)$/);
      },
    ),
    { numRuns: 500 },
  );
});

test('loadedSegments() moves every pointer that the file rebases', t => {
  const fill = loadedSegments(file, SLIDE);
  const { rebases, binds } = readFixups(file);
  t.true(rebases.length > 0 && binds.length > 0);
  const word = new DataView(new ArrayBuffer(8));
  const at = (address: bigint): bigint => {
    const segment = segmentsOf(file).find(
      ({ vmaddr, vmsize }) => vmaddr <= address && address < vmaddr + vmsize,
    );
    if (segment === undefined) throw new Error('it lies in a segment');
    fill(segment, Number(address - segment.vmaddr), new Uint8Array(word.buffer));
    return word.getBigUint64(0, true);
  };
  for (const { address, target } of rebases) t.is(at(address), target + SLIDE);
  for (const { address } of binds) t.is(at(address), 0n);
});
