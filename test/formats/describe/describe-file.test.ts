/** Every byte of real files is something, and exactly one thing; readelf and otool's like agree on what. */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import {
  bytesSource,
  describeFile,
  type FileDescription,
  FormatError,
  type ImageDescription,
} from '../../../formats/describe/index.ts';
import { elfBytes } from '../../../formats/elf/index.ts';
import type { ByteSource } from '../../../formats/source.ts';
import { conformanceFiles } from '../../support/conformance-files.ts';
import { compileFixture } from '../../support/fixtures.ts';
import { freezeProgram } from '../../support/freeze-program.ts';
import { sandbox } from '../../support/sandbox.ts';
import { core } from '../elf/support/core.ts';
import { withFile, withoutSections } from '../elf/support/files.ts';
import { bytesOf, compile, compiled, output } from '../elf/support/tools.ts';
import { fat, linked } from '../macho/support/tools.ts';

const directory = sandbox('describe');

/** Every file of this many of the system's. */
const SAMPLE = 9;

test('every byte of programs and libraries of this system is in one part, and none overlap in memory', t => {
  const paths = ['/usr/bin', '/usr/lib/x86_64-linux-gnu']
    .flatMap(directory => readdirSync(directory).map(name => join(directory, name)))
    .filter(path => statSync(path, { throwIfNoEntry: false })?.isFile() === true)
    .filter((_, i) => i % SAMPLE === 0);
  let described = 0;
  for (const path of paths) {
    withFile(path, source => {
      if (!isElf64(source)) return;
      described++;
      assertCovered(t, describeFile(source), source.size, path);
    });
  }
  t.true(described > 50, `${described} files`);
});

for (const { name, path } of conformanceFiles()) {
  test(`every byte of ${name} is in one part`, t => {
    withFile(path, source => {
      const file = describeFile(source);
      assertCovered(t, file, source.size, name);
      for (const image of file.images) assertPlaces(t, image);
    });
  });
}

test('an image that unexec wrote is described by its regions', async t => {
  const { path, report } = await freezeProgram(compileFixture('image/sparse.c'), join(directory, 'sparse'), {
    at: 'stop',
  });
  withFile(path, source => {
    const file = describeFile(source);
    assertCovered(t, file, source.size, path);
    const image = theOne(file);
    t.is(image.kind, 'image');
    const regions = image.memory.filter(({ section }) => section !== undefined);
    t.true(regions.some(({ name, backing }) => name === 'heap.rw-' && backing === 'file'));
    t.true(regions.some(({ backing }) => backing === 'zero'));
    // vvar and vdso are the kernel's: they are made anew, and no part of the file.
    const bytes = regions.reduce((sum, { size }) => sum + size, 0);
    const missing = report.memoryBytes - bytes;
    t.true(Math.abs(missing) <= 8 * 4096, `${bytes} of ${report.memoryBytes}`);
    const main = image.findSymbols('main', 1)[0];
    t.is(main?.name, 'main');
    t.is(image.symbolAt((main?.address ?? 0n) + 4n)?.into, 4);
    assertPlaces(t, image);
  });
});

test('sections, segments and symbols are those that readelf tells', t => {
  const path = compile('int zeros[99], ones[9] = {1}; int main(void) { return ones[zeros[0]]; }', ['-g']);
  const image = theOne(describeFile(bytesSource(bytesOf(path))));
  t.is(image.kind, 'position-independent executable');
  t.is(image.arch, 'x86_64');
  const headers = output('readelf', ['-SW', path]);
  for (const [index, { name, offset, fileSize, address }] of image.sections.entries()) {
    if (name === '') continue;
    const row = new RegExp(
      `^ +\\[ *${index}\\] (\\S+) +\\S+ +([0-9a-f]{16}) ([0-9a-f]{6}) ([0-9a-f]{6})`,
      'm',
    );
    const [, ...fields] = row.exec(headers) ?? [];
    t.is(fields[0], name);
    t.is(BigInt(`0x${fields[1]}`), address ?? 0n, name);
    if (offset === undefined) continue;
    t.deepEqual([Number(`0x${fields[2]}`), Number(`0x${fields[3]}`)], [offset, fileSize], name);
  }
  const symbols = output('readelf', ['-sW', path]);
  for (const name of ['main', 'ones', 'zeros', '_start']) {
    const [, value = '', size = ''] = new RegExp(`: (\\S{16}) +(\\d+) .* ${name}$`, 'm').exec(symbols) ?? [];
    const [found] = image.findSymbols(name, 1);
    t.is(found?.address, BigInt(`0x${value}`), name);
    t.is(found?.size, Number(size), name);
    t.is(image.symbolAt(found?.address ?? 0n)?.symbol.name, name);
    // What .bss holds has no bytes in the file.
    t.is(found?.offset === undefined, name === 'zeros', name);
  }
  const data = image.memory.find(({ name }) => name === '.bss');
  t.is(data?.backing, 'zero');
  t.is(data?.protection, 'rw-');
  assertPlaces(t, image);
});

test('the symbols of a relocatable are found by offset', t => {
  const bytes = compiled('int f(int x) { return x + 1; } int g(int x) { return x - 1; }', ['-c']);
  const image = theOne(describeFile(bytesSource(bytes)));
  t.is(image.kind, 'relocatable');
  t.deepEqual(image.memory, []);
  const text = image.sections.find(({ name }) => name === '.text');
  const [g] = image.findSymbols('g', 1);
  t.is(g?.address, undefined);
  t.true((g?.offset ?? 0) > (text?.offset ?? 0));
  t.like(image.symbolAtOffset((g?.offset ?? 0) + 2), { into: 2, symbol: { name: 'g', type: 'function' } });
  t.is(image.symbolAtOffset(text?.offset ?? 0)?.symbol.name, 'f');
});

test('a program without section headers is described by its segments', t => {
  const bytes = withoutSections(compiled('int main(void) { return 0; }', []));
  const file = describeFile(bytesSource(bytes));
  assertCovered(t, file, bytes.length, 'without sections');
  const names = new Set(file.parts.map(({ name }) => name));
  for (const name of ['PT_LOAD r-x', 'PT_DYNAMIC', 'PT_INTERP']) t.true(names.has(name), name);
});

test('a core is described by its memory, and what it does not hold is absent', t => {
  const bytes = elfBytes(core([new Uint8Array(0x1000).fill(1), new Uint8Array(0x2000)]));
  const file = describeFile(bytesSource(bytes));
  assertCovered(t, file, bytes.length, 'core');
  const image = theOne(file);
  t.is(image.kind, 'core');
  t.deepEqual(
    image.memory.map(({ backing, size }) => [backing, size]),
    [
      ['file', 0x1000],
      ['absent', 0x1000],
      ['file', 0x2000],
      ['absent', 0x2000],
    ],
  );
  t.true(file.parts.some(({ kind, name }) => kind === 'note' && name === 'PT_NOTE'));
});

test('each slice of a fat file is described, offsets counting from the beginning of the file', t => {
  const slices = [
    linked({ arch: 'x86_64', fixups: 'dyld-info' }),
    linked({ arch: 'arm64', fixups: 'chained' }),
  ];
  const bytes = bytesOf(fat(...slices));
  const file = describeFile(bytesSource(bytes));
  assertCovered(t, file, bytes.length, 'fat');
  t.is(file.format, 'fat Mach-O');
  t.deepEqual(
    file.images.map(({ arch, kind }) => [arch, kind]),
    [
      ['x86_64', 'executable'],
      ['arm64', 'executable'],
    ],
  );
  for (const [i, image] of file.images.entries()) {
    assertPlaces(t, image);
    const slice = bytesOf(slices[i] ?? '');
    const header = image.offsetOf(image.memory[0]?.address ?? 0n) ?? -1;
    t.deepEqual(bytes.subarray(header, header + 4096), slice.subarray(0, 4096));
    t.is(image.findSymbols('main', 1)[0]?.name, '_main');
  }
});

test('what is neither ELF nor Mach-O is refused by what it begins with', t => {
  const error = t.throws(() => describeFile(bytesSource(new TextEncoder().encode('#!/bin/sh\n'))), {
    instanceOf: FormatError,
  });
  t.is(error.code, 'UNKNOWN_FORMAT');
  t.regex(error.message, /23 21 2f 62/);
  t.throws(() => describeFile(bytesSource(new Uint8Array(0))), { instanceOf: FormatError });
});

const ELF = compiled('int x = 1, y; int main(void) { return x + y; }', []);
const MACHO = bytesOf(linked({ arch: 'arm64', fixups: 'chained' }));

for (const [name, good, headers] of [
  ['ELF', ELF, 64 + 13 * 56],
  ['Mach-O', MACHO, 0x600],
] as const) {
  test(`a mutated ${name} file is described, or refused with a FormatError`, t => {
    const tables = name === 'ELF' ? good.length - 32 * 64 : 0;
    const place = fc.oneof(fc.nat(headers), fc.integer({ min: tables, max: good.length - 1 }));
    const change = fc.tuple(place, fc.constantFrom(0, 1, 0x7f, 0x80, 0xff));
    let described = 0;
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 6 }), fc.nat(good.length), (changes, cut) => {
        const bytes = good.slice(0, cut % 5 === 0 ? cut : good.length);
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        const start = performance.now();
        if (exercise(t, bytes)) described++;
        if (performance.now() - start > 2000) throw new Error('took more than 2 s');
      }),
      { numRuns: 1500 },
    );
    t.true(described > 100, `${described}`);
  });
}

test('sections that all overlap are told apart in reasonable time', t => {
  // 60,000 section headers, each of the whole file from another byte on.
  const count = 60_000;
  const bytes = new Uint8Array(64 + 64 * count);
  bytes.set(ELF.subarray(0, 64));
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0x20, 0n, true);
  view.setUint16(0x38, 0, true);
  view.setBigUint64(0x28, 64n, true);
  view.setUint16(0x3c, count, true);
  view.setUint16(0x3e, 0, true);
  for (let i = 1; i < count; i++) {
    const at = 64 + 64 * i;
    view.setUint32(at + 4, 1, true);
    view.setBigUint64(at + 8, 2n, true);
    view.setBigUint64(at + 16, BigInt(0x1000 + i), true);
    view.setBigUint64(at + 24, BigInt(i), true);
    view.setBigUint64(at + 32, BigInt(bytes.length - 2 * i), true);
  }
  const start = performance.now();
  assertCovered(t, describeFile(bytesSource(bytes)), bytes.length, 'overlapping');
  t.true(performance.now() - start < 4000);
});

/** Describes and asks; false for a FormatError. */
function exercise(t: ExecutionContext, bytes: Uint8Array): boolean {
  try {
    const file = describeFile(bytesSource(bytes));
    assertCovered(t, file, bytes.length, 'mutated');
    for (const image of file.images) {
      image.symbolAt(0x401000n);
      image.symbolAtOffset(bytes.length >> 1);
      image.findSymbols('a', 3);
    }
    return true;
  } catch (error) {
    if (error instanceof FormatError && error.code !== '') return false;
    throw error;
  }
}

/** Throws where something is wrong: an assertion a part would be a million. */
function assertCovered(t: ExecutionContext, file: FileDescription, size: number, what: string): void {
  let position = 0;
  for (const part of file.parts) {
    if (part.offset !== position || part.size <= 0) {
      throw new Error(`${what}: ${part.name} is at ${part.offset}, expected ${position}`);
    }
    position += part.size;
  }
  t.is(position, size, what);
  for (const { memory } of file.images) {
    let end = -1n;
    for (const { name, address, size, backing, offset } of memory) {
      if (address < end || size <= 0) throw new Error(`${what}: ${name} overlaps at ${address}`);
      if ((backing === 'file') !== (offset !== undefined)) throw new Error(`${what}: ${name} has ${backing}`);
      end = address + BigInt(size);
    }
  }
}

/** Offsets and addresses lead to each other, wherever a part of the memory has bytes. */
function assertPlaces(t: ExecutionContext, image: ImageDescription): void {
  let count = 0;
  for (const { address, offset, size, name } of image.memory) {
    if (offset === undefined) continue;
    t.is(image.offsetOf(address), offset, name);
    t.is(image.offsetOf(address + BigInt(size - 1)), offset + size - 1, name);
    const back = image.addressOf(offset);
    if (back === address) count++;
  }
  t.true(count > 0);
}

function theOne({ images }: FileDescription): ImageDescription {
  const [image] = images;
  if (image === undefined || images.length !== 1) throw new Error(`${images.length} images, expected one`);
  return image;
}

function isElf64(source: ByteSource): boolean {
  if (source.size < 64) return false;
  const ident = source.read(0, 6);
  return [0x7f, 0x45, 0x4c, 0x46, 2, 1].every((byte, i) => ident[i] === byte);
}
