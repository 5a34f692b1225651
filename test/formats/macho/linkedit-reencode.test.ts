/** What was decoded of real macOS files is encoded again: it says the same, to us and to LLVM. */
import { createHash } from 'node:crypto';
import test from 'ava';
import {
  type ChainSlot,
  chainPage,
  decodeBinds,
  decodeExports,
  decodeFunctionStarts,
  decodeRebases,
  type ExportedSymbol,
  encodeBinds,
  encodeChainedFixups,
  encodeExports,
  encodeFunctionStarts,
  encodeRebases,
  encodeSignature,
  findBlob,
  findBlobBySlot,
  findSegment,
  hashPages,
  type LinkeditKind,
  type MachOFile,
  MH,
  machoBytes,
  planSignature,
  readChainedFixups,
  readChains,
  readCodeSignature,
  relayLinkedit,
  segmentsOf,
  setBlob,
  verifyPages,
  verifySpecialSlots,
  wholeContents,
} from '../../../formats/macho/index.ts';
import { forEachRealFile } from './support/real-files.ts';
import { onDisk, output } from './support/tools.ts';

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

const blobOf = (file: MachOFile, kind: LinkeditKind): Uint8Array =>
  wholeContents(findBlob(file, kind)?.contents ?? new Uint8Array(0));
const equal = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

const BINDS = [
  ['bind', 'bind'],
  ['weak', 'weak-bind'],
  ['lazy', 'lazy-bind'],
] as const;

test('rebases of every real file are the same when encoded and decoded again, and rarely take more bytes', t => {
  let before = 0;
  let after = 0;
  forEachRealFile(({ name, file }) => {
    const segments = segmentsOf(file);
    const blob = blobOf(file, 'rebase');
    const slots = decodeRebases(blob, segments);
    const encoded = encodeRebases(slots);
    const again = decodeRebases(encoded, segments);
    t.deepEqual(
      again.map(({ segment }) => segment),
      slots.map(({ segment }) => segment),
    );
    for (const [i, { offsets }] of slots.entries()) {
      const { offsets: found = new Float64Array() } = again[i] ?? {};
      t.true(equal(new Uint8Array(offsets.buffer), new Uint8Array(found.buffer)), name);
    }
    t.true(encoded.length <= blob.length + 8, name);
    before += blob.length;
    after += encoded.length;
  });
  t.log(`${before} bytes by the linkers, ${after} by us`);
  t.true(after < before / 3);
});

test('binds, exports and function starts of every real file are the same when encoded and decoded again', t => {
  forEachRealFile(({ name, file }) => {
    const segments = segmentsOf(file);
    for (const [kind, blob] of BINDS) {
      const binds = decodeBinds(blobOf(file, blob), kind, segments);
      const encoded = encodeBinds(binds, kind);
      t.is(JSON.stringify(decodeBinds(encoded, kind, segments), text), JSON.stringify(binds, text), name);
      // Offsets in the stream of lazy binds are in the program.
      if (kind === 'lazy') t.true(equal(encoded, blobOf(file, blob)), name);
    }
    const trie = findBlob(file, 'exports-trie') ? 'exports-trie' : 'export';
    const exports = decodeExports(blobOf(file, trie));
    const again = decodeExports(encodeExports(exports));
    t.is(JSON.stringify(again.sort(bySymbol), text), JSON.stringify(exports.sort(bySymbol), text), name);
    const starts = blobOf(file, 'function-starts');
    t.true(equal(encodeFunctionStarts(decodeFunctionStarts(starts)), starts), name);
  });
});

const bySymbol = (a: ExportedSymbol, b: ExportedSymbol): number => (a.symbol < b.symbol ? -1 : 1);
const text = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? String(value) : value);

test('chained fixups of every real file are the same when encoded again', t => {
  let files = 0;
  forEachRealFile(({ name, file }) => {
    const blob = blobOf(file, 'chained-fixups');
    if (blob.length === 0) return;
    const fixups = readChainedFixups(blob);
    const encoded = encodeChainedFixups(fixups);
    const again = readChainedFixups(encoded);
    t.deepEqual(again.segments, fixups.segments, name);
    t.is(JSON.stringify(again.imports, text), JSON.stringify(fixups.imports, text), name);
    // What Apple's linkers write is what we write, byte by byte; bun's is lld, which counts padding as part of a segment's starts.
    if (!name.includes('bun')) t.true(equal(encoded, blob), name);
    files++;
  });
  t.true(files >= 4);
});

test('chains of every real file are the same, byte by byte, when their words are written and linked again', t => {
  let pages = 0;
  forEachRealFile(({ name, file }) => {
    const blob = blobOf(file, 'chained-fixups');
    if (blob.length === 0) return;
    for (const [index, starts] of readChainedFixups(blob).segments.entries()) {
      const contents = segmentsOf(file)[index]?.contents;
      if (!starts || !contents) continue;
      const bytes = wholeContents(contents).slice();
      const { offsets, targets, high8, binds } = readChains(starts, bytes);
      const slots = new Map<number, ChainSlot[]>();
      const add = (slot: ChainSlot) => {
        const page = Math.floor(slot.offset / starts.pageSize);
        const onPage = slots.get(page) ?? [];
        onPage.push({ ...slot, offset: slot.offset % starts.pageSize });
        slots.set(page, onPage);
      };
      for (const [i, offset] of offsets.entries()) {
        add({ offset, kind: 'rebase', target: targets[i] ?? 0, high8: high8[i] ?? 0 });
      }
      for (const bind of binds) add(bind);
      for (const [page, list] of slots) {
        list.sort((a, b) => a.offset - b.offset);
        const there = bytes.subarray(page * starts.pageSize, (page + 1) * starts.pageSize);
        const copy = there.slice();
        for (const { offset } of list) copy.fill(0xee, offset, offset + 8);
        const start = chainPage(copy, list);
        if (start !== starts.pageStarts[page] || !equal(copy, there)) t.fail(`${name}: page ${page}`);
        pages++;
      }
    }
  });
  t.log(`${pages} pages`);
  t.true(pages > 1_000);
});

/** What LLVM has to say of a file, in lines without their order, and without its name. */
const described = (path: string): string =>
  ['--rebase', '--bind', '--lazy-bind', '--weak-bind', '--dyld-info', '--exports-trie', '--function-starts']
    .flatMap(option => output('llvm-objdump-19', '--macho', option, path).split('\n').slice(1).sort())
    .join('\n');

test('llvm-objdump reads from a file with everything encoded again what it reads from the original', t => {
  let files = 0;
  forEachRealFile(({ name, file, source }) => {
    if (source.size > 12 * 2 ** 20) return;
    const original = onDisk(machoBytes(file));
    const segments = segmentsOf(file);
    const replace = (kind: LinkeditKind, encode: (blob: Uint8Array) => Uint8Array) => {
      const blob = blobOf(file, kind);
      if (blob.length > 0) setBlob(file, kind, encode(blob));
    };
    replace('rebase', blob => encodeRebases(decodeRebases(blob, segments)));
    for (const [kind, blob] of BINDS)
      replace(blob, bytes => encodeBinds(decodeBinds(bytes, kind, segments), kind));
    replace('chained-fixups', blob => encodeChainedFixups(readChainedFixups(blob)));
    for (const kind of ['export', 'exports-trie'] as const)
      replace(kind, blob => encodeExports(decodeExports(blob)));
    replace('function-starts', blob => encodeFunctionStarts(decodeFunctionStarts(blob)));
    relayLinkedit(file, findSegment(file, '__LINKEDIT')?.fileoff ?? 0);
    const copy = onDisk(machoBytes(file));
    t.true(described(copy) === described(original), name);
    files++;
  });
  t.true(files >= 8);
});

test('a signature of ours, with what is kept of the old one, verifies on every signed real file', t => {
  let signed = 0;
  forEachRealFile(({ name, file, source }) => {
    const blob = findBlob(file, 'code-signature');
    if (!blob) return;
    const old = readCodeSignature(wholeContents(blob.contents));
    const plan = planSignature({
      identifier: old.codeDirectory.identifier,
      codeLimit: old.codeDirectory.codeLimit,
      execSegLimit: Number(old.codeDirectory.execSegLimit),
      mainBinary: file.header.filetype === MH.MH_EXECUTE,
      requirements: findBlobBySlot(old, 2),
      entitlements: findBlobBySlot(old, 5),
      entitlementsDer: findBlobBySlot(old, 7),
    });
    const hashes = hashPages(source, old.codeDirectory.codeLimit, plan.pageSize, sha256);
    const ours = readCodeSignature(encodeSignature(plan, hashes, sha256));
    t.deepEqual(verifyPages(ours.codeDirectory, source, sha256), [], name);
    t.deepEqual(verifySpecialSlots(ours, sha256), [], name);
    t.is(ours.codeDirectory.execSegFlags, old.codeDirectory.execSegFlags, name);
    // 4 KiB pages on both: then the hashes are the very same.
    if (old.codeDirectory.pageSize === plan.pageSize) {
      t.true(equal(ours.codeDirectory.pageHashes, old.codeDirectory.pageHashes), name);
    }
    signed++;
  });
  t.true(signed >= 4);
});
