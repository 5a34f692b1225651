import test from 'ava';
import fc from 'fast-check';
import { FormatError } from '../../../formats/errors.ts';
import { type Bind, type BindKind, decodeBinds, encodeBinds } from '../../../formats/macho/bind-opcodes.ts';

const SEGMENTS = Array.from({ length: 16 }, () => ({ vmsize: 0x10_0000n, filesize: 0x10_0000 }));
const WEAK_LOOKUP = -3;

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
const newBind = (fields: Partial<Bind>): Bind => ({
  segment: 1,
  offset: 0,
  type: 1,
  symbol: '_a',
  libOrdinal: 1,
  addend: 0n,
  flags: 0,
  ...fields,
});

const symbol = fc.string({ maxLength: 6 }).map(text => `_${text.replaceAll('\0', '')}`);
const anyBind = (kind: BindKind): fc.Arbitrary<Bind> =>
  fc.record({
    segment: fc.nat(15),
    offset: fc.oneof(
      fc.nat(0xf_fff8),
      fc.nat(40).map(n => 8 * n),
    ),
    type: fc.constant(1),
    symbol: fc.oneof(fc.constant('_same'), symbol),
    libOrdinal: kind === 'weak' ? fc.constant(WEAK_LOOKUP) : fc.integer({ min: -4, max: 300 }),
    addend: fc.oneof(fc.constant(0n), fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n)),
    flags: fc.constantFrom(0, 1),
  });

for (const kind of ['bind', 'weak', 'lazy'] as const) {
  test(`decodeBinds() gives back what encodeBinds() took, ${kind}`, t => {
    const lists = fc.array(anyBind(kind), { maxLength: 12 });
    const definitions = kind === 'weak' ? fc.array(symbol, { maxLength: 3 }) : fc.constant<string[]>([]);
    fc.assert(
      fc.property(lists, definitions, (binds, strong) => {
        const blob = encodeBinds({ binds, strong }, kind);
        t.is(blob.length % 8, 0);
        t.deepEqual(decodeBinds(blob, kind, SEGMENTS), { binds, strong });
      }),
    );
  });
}

// Worked out by hand from the comments in mach-o/loader.h.
test('decodeBinds() reads every opcode', t => {
  const stream = '51 12 40 5f6100 60 7e 7110 90 b1 8010 a010 20 8101 3e 41 5f6200 6000 c0 0208 30 90 00 ff';
  t.deepEqual(decodeBinds(bytes(stream), 'bind', SEGMENTS).binds, [
    newBind({ offset: 0x10, libOrdinal: 2, addend: -2n }),
    newBind({ offset: 0x18, libOrdinal: 2, addend: -2n }),
    newBind({ offset: 0x38, libOrdinal: 2, addend: -2n }),
    newBind({ offset: 0x50, libOrdinal: -2, symbol: '_b', flags: 1 }),
    newBind({ offset: 0x60, libOrdinal: -2, symbol: '_b', flags: 1 }),
    newBind({ offset: 0x70, libOrdinal: 0, symbol: '_b', flags: 1 }),
  ]);
});

test('encodeBinds() sets only what changes, and steps with the bind', t => {
  const binds = [newBind({ offset: 8 }), newBind({ offset: 24 }), newBind({ offset: 32, symbol: '_b' })];
  const stream = bytes('51 7108 11 405f6100 b1 90 405f6200 90 00');
  t.deepEqual(encodeBinds({ binds, strong: [] }, 'bind').subarray(0, stream.length), stream);
});

test('encodeBinds() gives each lazy bind an end and everything it needs', t => {
  const binds = [newBind({ offset: 8 }), newBind({ offset: 16 })];
  const stream = bytes('7108 11 405f6100 90 00 7110 11 405f6100 90 00');
  t.deepEqual(encodeBinds({ binds, strong: [] }, 'lazy').subarray(0, stream.length), stream);
});

test('decodeBinds() takes a number just below 2^64 as a step back', t => {
  const stream = '51 11 405f6100 7140 a0 f0ffffffffffffffff01 90 00';
  t.deepEqual(
    decodeBinds(bytes(stream), 'bind', SEGMENTS).binds.map(({ offset }) => offset),
    [0x40, 0x38],
  );
});

test('decodeBinds() lists symbols that are strong, with and without binds', t => {
  const stream = '48 5f7300 51 40 5f6100 7100 90 00';
  t.deepEqual(decodeBinds(bytes(stream), 'weak', SEGMENTS), {
    binds: [newBind({ libOrdinal: WEAK_LOOKUP })],
    strong: ['_s'],
  });
});

const rejects = test.macro<[string, RegExp, string?, BindKind?]>({
  exec(t, stream, message, code = 'MACHO_BAD_BIND', kind = 'bind') {
    const error = t.throws(() => decodeBinds(bytes(stream), kind, SEGMENTS), {
      instanceOf: FormatError,
      message,
    });
    t.is(error?.code, code);
  },
  title: (title = '') => `decodeBinds() rejects ${title}`,
});

test('an unknown opcode', rejects, 'e0', /opcode 0xe0/);
test('threaded binds', rejects, 'd1', /BIND_OPCODE_THREADED/, 'MACHO_ARM64E');
test('a bind before a type is set', rejects, '11 405f6100 7100 90', /type 0/);
test('a bind before a symbol is set', rejects, '51 11 7100 90', /without a symbol/);
test('a bind before a library is set', rejects, '51 405f6100 7100 90', /without a library/);
test('a bind before a segment is set', rejects, '51 11 405f6100 90', /without a segment/);
test('a library in weak binds', rejects, '11', /expected none in weak binds/, undefined, 'weak');
test('a slot past the end of its segment', rejects, '51 11 405f6100 71f9ff3f 90', /slot 1048569/);
test('a slot before its segment', rejects, '51 11 405f6100 7100 80f8ffffffffffffffff01 90', /slot -8/);
test('2^53 binds', rejects, '51 11 405f6100 7100 c0ffffffffffffff0f f8ffffffffffffffff01', /at most 4194304/);
test('a symbol that does not end', rejects, '51 11 405f61', /expected a NUL/);
test('a number that is truncated', rejects, '7180', /goes on at the end/, 'LEB128_TRUNCATED');

test('encodeBinds() rejects what a stream cannot name', t => {
  const wrong: Partial<Bind>[] = [{ segment: 16 }, { type: 2 }, { flags: 16 }, { libOrdinal: -16 }];
  for (const fields of wrong) {
    const binds = [newBind(fields)];
    const code = t.throws(() => encodeBinds({ binds, strong: [] }, 'bind'), {
      instanceOf: FormatError,
    })?.code;
    t.is(code, 'MACHO_BAD_BIND');
  }
  const named = [newBind({ symbol: 'a\0b' })];
  t.throws(() => encodeBinds({ binds: named, strong: [] }, 'bind'), { instanceOf: FormatError });
});

test('any bytes give binds in the segments or a FormatError', t => {
  const opcode = fc.oneof(fc.constantFrom(0x90, 0xa0, 0xb1, 0xc0, 0x80, 0x40, 0x60, 0x71), fc.nat(255));
  fc.assert(
    fc.property(
      fc.array(opcode, { maxLength: 40 }),
      fc.constantFrom('bind', 'lazy', 'weak'),
      (stream, kind) => {
        try {
          const start = bytes(kind === 'weak' ? '51 405f6100 7100' : '51 11 405f6100 7100');
          const { binds } = decodeBinds(Uint8Array.of(...start, ...stream), kind, SEGMENTS);
          t.true(binds.every(({ offset }) => offset >= 0 && offset <= 0xf_fff8));
        } catch (error) {
          t.true(error instanceof FormatError, String(error));
        }
      },
    ),
    { numRuns: 300 },
  );
});
