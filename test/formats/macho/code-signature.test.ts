import { createHash } from 'node:crypto';
import test from 'ava';
import fc from 'fast-check';
import { FormatError } from '../../../formats/errors.ts';
import {
  encodeSignature,
  planSignature,
  type SignatureFacts,
} from '../../../formats/macho/ad-hoc-signature.ts';
import {
  findBlobBySlot,
  hashPages,
  readCodeSignature,
  verifyPages,
  verifySpecialSlots,
} from '../../../formats/macho/code-signature.ts';
import { bytesSource } from '../../../formats/source.ts';

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();
const text = (utf8: string): Uint8Array => new TextEncoder().encode(utf8);

const REQUIREMENTS = 2;
const ENTITLEMENTS = 5;
const DER_ENTITLEMENTS = 7;
const CMS = 0x1_0000;

/** A blob: magic, length, contents. */
function blob(magic: number, contents: Uint8Array): Uint8Array {
  const out = new Uint8Array(8 + contents.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, magic);
  view.setUint32(4, out.length);
  out.set(contents, 8);
  return out;
}
const entitlements = (xml: string): Uint8Array =>
  blob(0xfade_7171, text(`<plist><dict>${xml}</dict></plist>`));
const newFacts = (fields: Partial<SignatureFacts> = {}): SignatureFacts => ({
  identifier: 'program',
  codeLimit: 10_000,
  execSegLimit: 0x4000,
  mainBinary: true,
  ...fields,
});
const fileOf = (size: number): Uint8Array => Uint8Array.from({ length: size }, (_, i) => (i * 31) ^ (i >> 8));
function sign(facts: SignatureFacts, file = fileOf(facts.codeLimit)): Uint8Array {
  const plan = planSignature(facts);
  const hashes = hashPages(bytesSource(file), facts.codeLimit, plan.pageSize, sha256);
  return encodeSignature(plan, hashes, sha256);
}

const anyFacts: fc.Arbitrary<SignatureFacts> = fc.record({
  identifier: fc.string().map(name => name.replaceAll('\0', '')),
  codeLimit: fc.nat(20_000),
  execSegLimit: fc.nat(),
  mainBinary: fc.boolean(),
  requirements: fc.option(
    fc.uint8Array().map(bytes => blob(0xfade_0c01, bytes)),
    { nil: undefined },
  ),
  entitlements: fc.option(fc.constant(entitlements('')), { nil: undefined }),
  entitlementsDer: fc.option(
    fc.uint8Array().map(bytes => blob(0xfade_7172, bytes)),
    { nil: undefined },
  ),
  externalHashes: fc.option(fc.constant(new Map([[1, sha256(text('Info.plist'))]])), { nil: undefined }),
});

test('readCodeSignature() gives back what encodeSignature() took, and everything verifies', t => {
  fc.assert(
    fc.property(anyFacts, facts => {
      const file = fileOf(facts.codeLimit);
      const bytes = sign(facts, file);
      t.is(bytes.length, planSignature(facts).size);
      t.is(bytes.length % 16, 0);
      const signature = readCodeSignature(bytes);
      const { codeDirectory } = signature;
      t.is(codeDirectory.identifier, facts.identifier);
      t.is(codeDirectory.codeLimit, facts.codeLimit);
      t.is(codeDirectory.flags, 2);
      t.is(codeDirectory.version, 0x2_0400);
      t.is(codeDirectory.pageSize, 4096);
      t.is(codeDirectory.execSegBase, 0n);
      t.is(codeDirectory.execSegLimit, BigInt(facts.execSegLimit));
      t.is(codeDirectory.execSegFlags, facts.mainBinary ? 1n : 0n);
      t.deepEqual(findBlobBySlot(signature, ENTITLEMENTS), facts.entitlements);
      t.deepEqual(findBlobBySlot(signature, DER_ENTITLEMENTS), facts.entitlementsDer);
      if (facts.requirements) t.deepEqual(findBlobBySlot(signature, REQUIREMENTS), facts.requirements);
      t.deepEqual(verifyPages(codeDirectory, bytesSource(file), sha256), []);
      const external = facts.externalHashes && new Map([[1, text('Info.plist')]]);
      t.deepEqual(verifySpecialSlots(signature, sha256, external), []);
    }),
    { numRuns: 50 },
  );
});

test('encodeSignature() writes no requirements, and an empty place for a certificate, as codesign(1) does', t => {
  const signature = readCodeSignature(sign(newFacts()));
  const empty = (slot: number) => Buffer.from(findBlobBySlot(signature, slot) ?? []).toString('hex');
  t.deepEqual(
    signature.blobs.map(({ type }) => type),
    [0, REQUIREMENTS, CMS],
  );
  t.is(empty(REQUIREMENTS), 'fade0c010000000c00000000');
  t.is(empty(CMS), 'fade0b0100000008');
});

test('encodeSignature() tells the kernel of get-task-allow', t => {
  const flags = (xml: string, mainBinary = true) =>
    readCodeSignature(sign(newFacts({ entitlements: entitlements(xml), mainBinary }))).codeDirectory
      .execSegFlags;
  t.is(flags('<key>get-task-allow</key>\n  <true/>'), 0x11n);
  t.is(flags('<key>get-task-allow</key><true />'), 0x11n);
  t.is(flags('<key>get-task-allow</key><false/>'), 1n);
  t.is(flags('<key>com.apple.security.get-task-allow</key><true/>'), 1n, 'as in the executable of Node');
  t.is(flags('<key>com.apple.security.cs.allow-jit</key><true/>'), 1n);
  t.is(flags('<key>get-task-allow</key><true/>', false), 0n);
});

test('planSignature() and encodeSignature() use codeLimit64 from 4 GiB on', t => {
  const facts = newFacts({ codeLimit: 2 ** 32 + 1 });
  const plan = planSignature(facts);
  t.is(plan.nCodeSlots, 2 ** 20 + 1);
  const bytes = encodeSignature(plan, new Uint8Array(32 * plan.nCodeSlots), sha256);
  t.is(readCodeSignature(bytes).codeDirectory.codeLimit, 2 ** 32 + 1);
  const directory = new DataView(bytes.buffer, bytes.byteOffset + new DataView(bytes.buffer).getUint32(16));
  t.is(directory.getUint32(32), 0xffff_ffff);
});

test('verifyPages() and verifySpecialSlots() name what was changed', t => {
  const facts = newFacts({ codeLimit: 3 * 2 ** 20 + 5, requirements: blob(0xfade_0c01, text('some')) });
  const file = fileOf(facts.codeLimit);
  const bytes = sign(facts, file);
  const { codeDirectory } = readCodeSignature(bytes);
  for (const at of [0, 4096 * 300 + 5, facts.codeLimit - 1]) file[at] = (file[at] ?? 0) ^ 1;
  t.deepEqual(verifyPages(codeDirectory, bytesSource(file), sha256), [0, 300, 768]);

  const at = Buffer.from(bytes).indexOf('some');
  bytes[at] = 0;
  t.deepEqual(verifySpecialSlots(readCodeSignature(bytes), sha256), [REQUIREMENTS]);
});

test('verifySpecialSlots() names a blob that has no hash, a hash that has no blob, and a wrong Info.plist', t => {
  const facts = newFacts({
    entitlements: entitlements(''),
    externalHashes: new Map([[1, sha256(text('right'))]]),
  });
  const bytes = sign(facts);
  const signature = readCodeSignature(bytes);
  t.deepEqual(verifySpecialSlots(signature, sha256), []);
  t.deepEqual(verifySpecialSlots(signature, sha256, new Map([[1, text('wrong')]])), [1]);
  t.deepEqual(verifySpecialSlots(signature, sha256, new Map([[3, text('more')]])), [3]);
  const without = { ...signature, blobs: signature.blobs.filter(({ type }) => type !== ENTITLEMENTS) };
  t.deepEqual(verifySpecialSlots(without, sha256), [ENTITLEMENTS]);
});

/** A signature with a u32, or a byte, of its code directory changed. */
function spoiled(at: number, value: number, size = 4): Uint8Array {
  const bytes = sign(newFacts());
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const directory = view.getUint32(16);
  if (size === 4) view.setUint32(directory + at, value);
  else view.setUint8(directory + at, value);
  return bytes;
}
function spoiledSuper(at: number, value: number): Uint8Array {
  const bytes = sign(newFacts());
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(at, value);
  return bytes;
}
const rejects = test.macro<[Uint8Array, RegExp]>({
  exec(t, bytes, message) {
    t.is(
      t.throws(() => readCodeSignature(bytes), { instanceOf: FormatError, message })?.code,
      'MACHO_BAD_SIGNATURE',
    );
  },
  title: (title = '') => `readCodeSignature() rejects ${title}`,
});
test('no bytes', rejects, new Uint8Array(0), /offset of super blob/);
test(
  'another magic',
  rejects,
  spoiledSuper(0, 0xfade_0c01),
  /is CSMAGIC_REQUIREMENTS, expected CSMAGIC_EMBEDDED/,
);
test('a super blob past the end', rejects, spoiledSuper(4, 0x10000), /length of super blob/);
test('a super blob without a count', rejects, spoiledSuper(4, 8), /length of the super blob/);
test('more blobs than there is room for', rejects, spoiledSuper(8, 0xffff_ffff), /count of the super blob/);
test('a blob past the end', rejects, spoiledSuper(16, 0xffff_fff0), /offset of CSSLOT_CODEDIRECTORY/);
test('no code directory', rejects, spoiledSuper(12, 9), /is of none, expected CS_HASHTYPE_SHA256/);
test('a blob that is none', rejects, spoiled(0, 0xfade_0c01), /magic of the code directory/);
test('a blob longer than the super blob', rejects, spoiled(4, 0x10000), /length of CSSLOT_CODEDIRECTORY/);
test('a code directory that is too short', rejects, spoiled(4, 40), /length of the code directory .* is 40/);
test('a version of the future', rejects, spoiled(8, 0x3_0000), /version .* is 0x30000/);
test('hashes past the end', rejects, spoiled(16, 0x10000), /hashOffset/);
test('special hashes before the start', rejects, spoiled(24, 1000), /hashOffset/);
test('an identifier past the end', rejects, spoiled(20, 0x10000), /identOffset/);
test('another number of pages than the limit has', rejects, spoiled(28, 2), /nCodeSlots .* is 2, expected 3/);
test('another limit than the pages have', rejects, spoiled(32, 4096), /nCodeSlots .* is 3, expected 1/);
test('hashes of another size', rejects, spoiled(36, 20, 1), /hashSize .* is 20/);
test('SHA-1 alone', rejects, spoiled(37, 1, 1), /CS_HASHTYPE_SHA1, expected CS_HASHTYPE_SHA256/);
test('pages that are too large', rejects, spoiled(39, 40, 1), /pageSize .* is 40/);
test('a scatter vector', rejects, spoiled(44, 4), /scatterOffset/);
test('a team past the end', rejects, spoiled(48, 0x10000), /teamOffset/);

test('readCodeSignature() takes no field from a version that has not got it', t => {
  const facts = newFacts({ codeLimit: 2 ** 32 + 1 });
  const plan = planSignature(facts);
  const signed = encodeSignature(plan, new Uint8Array(32 * plan.nCodeSlots), sha256);
  const read = (version: number) => {
    const bytes = signed.slice();
    const view = new DataView(bytes.buffer);
    const directory = view.getUint32(16);
    view.setUint32(directory + 8, version);
    // Of a team and a scatter vector, which are not to be seen either.
    if (version < 0x2_0200) view.setUint32(directory + 48, 88);
    if (version < 0x2_0100) view.setUint32(directory + 44, 88);
    // The number of pages follows from the limit: 2^32 - 1 where there is no codeLimit64.
    if (version < 0x2_0300) view.setUint32(directory + 28, 2 ** 20);
    return readCodeSignature(bytes).codeDirectory;
  };
  const short = 2 ** 32 - 1;
  const seen = [0x2_0001, 0x2_0100, 0x2_0200, 0x2_0300, 0x2_0400, 0x2_0600].map(version => {
    const { codeLimit, execSegFlags, teamId } = read(version);
    return [codeLimit, execSegFlags, teamId];
  });
  t.deepEqual(seen, [
    [short, 0n, undefined],
    [short, 0n, undefined],
    [short, 0n, undefined],
    [facts.codeLimit, 0n, undefined],
    [facts.codeLimit, 1n, undefined],
    [facts.codeLimit, 1n, undefined],
  ]);
});

test('readCodeSignature() takes the SHA-256 directory beside one for old systems', t => {
  const modern = readCodeSignature(sign(newFacts()));
  const old = (modern.blobs[0]?.bytes ?? new Uint8Array(0)).slice();
  old[37] = 1;
  const blobs = [
    { type: 0, bytes: old },
    { type: 0x1000, bytes: modern.blobs[0]?.bytes ?? new Uint8Array(0) },
  ];
  const size = 12 + 8 * blobs.length;
  const bytes = new Uint8Array(size + blobs.reduce((sum, { bytes }) => sum + bytes.length, 0));
  const view = new DataView(bytes.buffer);
  [0xfade_0cc0, bytes.length, blobs.length].forEach((word, i) => {
    view.setUint32(4 * i, word);
  });
  let at = size;
  for (const [i, blob] of blobs.entries()) {
    view.setUint32(12 + 8 * i, blob.type);
    view.setUint32(16 + 8 * i, at);
    bytes.set(blob.bytes, at);
    at += blob.bytes.length;
  }
  const signature = readCodeSignature(bytes);
  t.is(signature.blobs.length, 2);
  t.deepEqual(signature.codeDirectory, modern.codeDirectory);
});

test('planSignature() and encodeSignature() reject what is no blob, no name, no hash', t => {
  const wrong: Partial<SignatureFacts>[] = [
    { identifier: 'a\0b' },
    { requirements: text('none at all') },
    { entitlements: blob(0xfade_7172, text('der')) },
    { entitlementsDer: blob(0xfade_7172, text('der')).subarray(0, 9) },
    { externalHashes: new Map([[1, text('short')]]) },
    { externalHashes: new Map([[5, sha256(text(''))]]) },
    { codeLimit: 2 ** 50 },
  ];
  for (const fields of wrong) {
    t.throws(() => planSignature(newFacts(fields)), { instanceOf: FormatError }, Object.keys(fields).join());
  }
  t.throws(() => encodeSignature(planSignature(newFacts()), new Uint8Array(32), sha256), {
    instanceOf: FormatError,
  });
});

test('verifyPages() rejects a file that ends before what is signed does', t => {
  const { codeDirectory } = readCodeSignature(sign(newFacts()));
  t.throws(() => verifyPages(codeDirectory, bytesSource(fileOf(9_999)), sha256), {
    instanceOf: FormatError,
    message: /codeLimit .* is 0x2710, expected at most the 0x270f bytes/,
  });
});

test('any bytes give a signature or a FormatError', t => {
  const good = sign(newFacts({ entitlements: entitlements('') }));
  const changes = fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 5 });
  fc.assert(
    fc.property(changes, fc.nat(good.length), (list, length) => {
      const bytes = good.slice(0, length);
      for (const [at, value] of list) if (at < length) bytes[at] = value;
      try {
        const signature = readCodeSignature(bytes);
        verifySpecialSlots(signature, sha256);
        verifyPages(signature.codeDirectory, bytesSource(fileOf(10_000)), sha256);
        t.pass();
      } catch (error) {
        t.true(error instanceof FormatError, String(error));
      }
    }),
    { numRuns: 300 },
  );
});
