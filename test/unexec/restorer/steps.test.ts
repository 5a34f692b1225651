import test from 'ava';
import fc from 'fast-check';
import { viewOf } from '../../../formats/struct.ts';
import { NR, numberOf } from '../../../unexec/linux/system-calls.ts';
import {
  encodeSteps,
  OP,
  type OpName,
  SLOT,
  type Step,
  type StepArgument,
  step as stepStruct,
} from '../../../unexec/restorer/steps.ts';

const noRefs = (): bigint => {
  throw new Error('there is nothing to resolve');
};

const stepOf = (facts: Partial<Step>): Step => ({
  op: 'SYSCALL',
  required: true,
  name: 'a step',
  args: [],
  nr: undefined,
  dst: SLOT.DISCARD,
  ...facts,
});

const decode = (bytes: Uint8Array, index = 0) =>
  stepStruct.read(viewOf(bytes), index * stepStruct.size, true);

test('a step is 64 bytes, with its fields where x86_64.S looks for them', t => {
  t.is(stepStruct.size, 64);
  t.deepEqual(stepStruct.offsets, { op: 0, flags: 2, dst: 4, mask: 6, args: 8, nr: 56 });
});

test('encodeSteps() numbers operations by their place in the jump table', t => {
  const names = Object.keys(OP) as OpName[];
  const bytes = encodeSteps(
    names.map(op => stepOf({ op })),
    'x86_64',
    noRefs,
  );
  t.deepEqual(
    names.map((_, i) => decode(bytes, i).op),
    names.map((_, i) => i),
  );
});

const encodings: readonly [title: string, step: Partial<Step>, expected: object][] = [
  ['constants as they are', { args: [1, 2n, 0xffff_ffff_ffffn] }, { args: [1n, 2n, 0xffff_ffff_ffffn, 0n, 0n, 0n], mask: 0 }],
  ['negative constants as 64 bits', { args: [-1, -100n] }, { args: [2n ** 64n - 1n, 2n ** 64n - 100n, 0n, 0n, 0n, 0n] }],
  ['slots by number, each with its bit', { args: [7, { slot: 20 }, 9, { slot: 0 }, 0, { slot: 495 }] }, { args: [7n, 20n, 9n, 0n, 0n, 495n], mask: 0b101010 }],
  ['the slot of the result', { dst: 33 }, { dst: 33 }],
  ['the number of a system call', { nr: 'exit_group' }, { nr: 231n, mask: 0 }],
  ['a required step', { required: true }, { flags: 1 }],
  ['a best-effort step', { required: false }, { flags: 0 }],
]; // biome-ignore format: a table

for (const [title, given, expected] of encodings) {
  test(`encodeSteps() writes ${title}`, t => {
    t.like(decode(encodeSteps([stepOf(given)], 'x86_64', noRefs)), expected);
  });
}

test('encodeSteps() asks for the addresses of data and labels, and treats them as constants', t => {
  const asked: unknown[] = [];
  const bytes = encodeSteps(
    [stepOf({ args: [{ data: 3, offset: 8 }, { label: 'thread 1' }] })],
    'x86_64',
    ref => {
      asked.push(ref);
      return 0x1000n * BigInt(asked.length);
    },
  );
  t.deepEqual(asked, [{ data: 3, offset: 8 }, { label: 'thread 1' }]);
  t.like(decode(bytes), { args: [0x1000n, 0x2000n, 0n, 0n, 0n, 0n], mask: 0 });
});

test('any step is read back as it was written', t => {
  const constant = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n });
  const argument: fc.Arbitrary<StepArgument> = fc.oneof(constant, fc.record({ slot: fc.nat({ max: 495 }) }));
  const anyStep = fc.record({
    op: fc.constantFrom(...(Object.keys(OP) as OpName[])),
    required: fc.boolean(),
    name: fc.string(),
    args: fc.array(argument, { maxLength: 6 }),
    nr: fc.constantFrom(...Object.values(NR)),
    dst: fc.nat({ max: 495 }),
  });
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 5 }), steps => {
      const bytes = encodeSteps(steps, 'x86_64', noRefs);
      t.is(bytes.length, steps.length * 64);
      for (const [i, item] of steps.entries()) {
        const { op, flags, dst, mask, args, nr } = decode(bytes, i);
        const given = Array.from({ length: 6 }, (_, n) => item.args[n] ?? 0n);
        t.deepEqual(
          { op, flags, dst, nr },
          {
            op: OP[item.op],
            flags: item.required ? 1 : 0,
            dst: item.dst,
            nr: BigInt(numberOf(item.nr, 'x86_64')),
          },
        );
        for (const [n, arg] of given.entries()) {
          const isSlot = typeof arg === 'object';
          t.is((mask >> n) & 1, isSlot ? 1 : 0);
          t.is(args[n], isSlot && 'slot' in arg ? BigInt(arg.slot) : BigInt.asUintN(64, arg as bigint));
        }
      }
    }),
  );
});
