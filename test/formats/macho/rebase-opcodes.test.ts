import test from 'ava';
import fc from 'fast-check';
import { FormatError } from '../../../formats/errors.ts';
import { decodeRebases, encodeRebases, type RebaseSlots } from '../../../formats/macho/rebase-opcodes.ts';

const SEGMENT = { vmsize: 0x10_0000n, filesize: 0x10_0000 };
const SEGMENTS = Array.from({ length: 16 }, () => SEGMENT);

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
const decoded = (hex: string): [number, number[]][] => plain(decodeRebases(bytes(hex), SEGMENTS));
const plain = (slots: readonly RebaseSlots[]): [number, number[]][] =>
  slots.map(({ segment, offsets }) => [segment, Array.from(offsets)]);

/** Slots as dumps have them: rows, strides, odd gaps, unaligned places. */
const offsets = fc
  .array(
    fc.record({
      gap: fc.oneof(
        fc.nat(20).map(n => 8 * n),
        fc.nat(300),
        fc.constant(16),
        fc.nat(60_000),
      ),
      count: fc.oneof(fc.nat(3), fc.nat(40)),
    }),
    { maxLength: 12 },
  )
  .map(runs => {
    const slots: number[] = [];
    let at = 0;
    for (const { gap, count } of runs) {
      for (let i = 0; i < count; i++) {
        at += gap;
        if (at <= SEGMENT.filesize - 8) slots.push(at);
        at += 8;
      }
    }
    return slots;
  });

test('decodeRebases() gives back what encodeRebases() took', t => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(15), { maxLength: 4 }), fc.array(offsets), (segments, lists) => {
      const slots = segments
        .sort((a, b) => a - b)
        .map((segment, i) => ({ segment, offsets: lists[i] ?? [] }))
        .filter(({ offsets }) => offsets.length > 0);
      const blob = encodeRebases(slots);
      t.is(blob.length % 8, 0);
      // As text: comparing values property by property takes seconds.
      t.is(JSON.stringify(plain(decodeRebases(blob, SEGMENTS))), JSON.stringify(plain(slots)));
    }),
  );
});

// Worked out by hand from the comments in mach-o/loader.h.
const encodings: [string, RebaseSlots[], string][] = [
  ['no slots', [], ''],
  ['a segment without slots', [{ segment: 1, offsets: [] }], ''],
  ['one slot', [{ segment: 2, offsets: [0x10] }], '11 2210 51 00 000000'],
  ['a row', [{ segment: 1, offsets: [0, 8, 16, 24] }], '11 2100 54 00 000000'],
  [
    'a long row',
    [{ segment: 1, offsets: Array.from({ length: 200 }, (_, i) => 8 * i) }],
    '11 2100 60c801 00 00',
  ],
  ['a row and a step', [{ segment: 1, offsets: [0, 8, 0x80, 0x88] }], '11 2100 52 4e 52 00 00'],
  ['a row and a long step', [{ segment: 1, offsets: [0, 8, 0x1000] }], '11 2100 52 30f01f 51 00'],
  ['a stride', [{ segment: 1, offsets: [0, 24, 48, 72, 80] }], '11 2100 800310 52 00'],
  ['two slots apart', [{ segment: 1, offsets: [3, 40, 500] }], '11 2103 701d 70c403 51 00'],
  [
    'two segments',
    [
      { segment: 2, offsets: [8] },
      { segment: 15, offsets: [0x200] },
    ],
    '11 2208 51 2f8004 51 00',
  ],
];

for (const [what, slots, stream] of encodings) {
  test(`encodeRebases() writes the shortest stream for ${what}`, t => {
    const blob = encodeRebases(slots);
    const wanted = bytes(stream);
    t.deepEqual(blob.subarray(0, wanted.length), wanted);
    t.true(blob.subarray(wanted.length).every(byte => byte === 0) && blob.length < wanted.length + 8);
  });
}

test('decodeRebases() reads every opcode, and slots out of order', t => {
  t.deepEqual(decoded('11 2210 51 3008 51 4f 52 7018 6002 800310 51 00 ff'), [
    [2, [0x10, 0x20, 0xa0, 0xa8, 0xb0, 0xd0, 0xd8, 0xe0, 0xf8, 0x110, 0x128]],
  ]);
  t.deepEqual(decoded('11 2140 51 21 10 51'), [[1, [0x10, 0x40]]]);
});

test('decodeRebases() steps back where a linker adds a number below 2^64', t => {
  t.deepEqual(decoded('11 2140 51 30 e8ffffffffffffffff01 51 00'), [[1, [0x30, 0x40]]]);
});

test('decodeRebases() stops at REBASE_OPCODE_DONE and at the end', t => {
  t.deepEqual(decoded(''), []);
  t.deepEqual(decoded('00 ff'), []);
  t.deepEqual(decoded('11 2100 51'), [[1, [0]]]);
});

const rejects = test.macro<[string, RegExp, string?]>({
  exec(t, stream, message, code = 'MACHO_BAD_REBASE') {
    const error = t.throws(() => decoded(stream), { instanceOf: FormatError, message });
    t.is(error?.code, code);
  },
  title: (title = '') => `decodeRebases() rejects ${title}`,
});

test('an unknown opcode', rejects, '11 2100 90', /0x3 have the opcode 0x90/);
test('a slot before a type is set', rejects, '2100 51', /type 0, expected REBASE_TYPE_POINTER/);
test('a type of i386', rejects, '12 2100 51', /type 2/);
test('a slot before a segment is set', rejects, '11 51', /without a segment/);
test('a slot past the end of its segment', rejects, '11 21f9ff3f 51', /expected them within 1048576 bytes/);
test('a row past the end of its segment', rejects, '11 21f0ff3f 53', /expected them within/);
test('a slot before its segment', rejects, '11 2100 30f8ffffffffffffffff01 51', /slots -8 to -8/);
test(
  '2^60 slots in the same place',
  rejects,
  '11 2100 80ffffffffffffff07 f8ffffffffffffffff01',
  /at most 4194304/,
);
test(
  '2^53 slots in the same place',
  rejects,
  '11 2100 80ffffffffffffff0f f8ffffffffffffffff01',
  /at most 4194304/,
);
test('a number that is truncated', rejects, '11 2180', /goes on at the end/, 'LEB128_TRUNCATED');

test('decodeRebases() rejects a segment that is not there', t => {
  t.throws(() => decodeRebases(bytes('11 2100'), [SEGMENT]), {
    message: /name segment 1, expected less than 1/,
  });
});

test('encodeRebases() rejects slots that overlap or do not ascend, and segment 16', t => {
  for (const offsets of [
    [0, 4],
    [8, 8],
    [16, 0],
    [0, 8, 12],
  ]) {
    t.throws(() => encodeRebases([{ segment: 1, offsets }]), {
      instanceOf: FormatError,
      message: /ascending/,
    });
  }
  t.throws(() => encodeRebases([{ segment: 16, offsets: [0] }]), { instanceOf: FormatError });
});

test('any bytes give slots in the segments or a FormatError, soon', t => {
  const opcode = fc.oneof(
    fc.constantFrom(0x11, 0x21, 0x22, 0x51, 0x5f, 0x60, 0x70, 0x80, 0x30, 0x4f),
    fc.nat(255),
  );
  fc.assert(
    fc.property(fc.array(opcode, { maxLength: 40 }), stream => {
      try {
        for (const { offsets } of decodeRebases(Uint8Array.of(0x11, 0x21, 0, ...stream), SEGMENTS)) {
          t.true(offsets.every(offset => offset >= 0 && offset <= SEGMENT.filesize - 8));
        }
      } catch (error) {
        t.true(error instanceof FormatError, String(error));
      }
    }),
    { numRuns: 300 },
  );
});

test('five million slots are encoded and decoded in seconds, at two bytes a slot at most', t => {
  const offsets = new Float64Array(5_000_000);
  let state = 1;
  for (let i = 1; i < offsets.length; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    offsets[i] = (offsets[i - 1] ?? 0) + 8 + 8 * ((state >>> 16) & 7);
  }
  const size = (offsets.at(-1) ?? 0) + 8;
  const begin = performance.now();
  const blob = encodeRebases([{ segment: 3, offsets }]);
  const segments = [SEGMENT, SEGMENT, SEGMENT, { vmsize: BigInt(size), filesize: size }];
  const [slots] = decodeRebases(blob, segments);
  const seconds = (performance.now() - begin) / 1000;
  t.log(`${(blob.length / offsets.length).toFixed(2)} bytes a slot, ${seconds.toFixed(2)} s`);
  t.true(blob.length <= 2 * offsets.length);
  t.true(Buffer.from(offsets.buffer).equals(Buffer.from(slots?.offsets.buffer ?? new ArrayBuffer(0))));
  t.true(seconds < 10, `${seconds} s`);
});
