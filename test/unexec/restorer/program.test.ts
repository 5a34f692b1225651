import test from 'ava';
import fc from 'fast-check';
import { viewOf } from '../../../formats/struct.ts';
import { UnexecError } from '../../../unexec/errors.ts';
import { ERRNO } from '../../../unexec/linux/errno.ts';
import { RestoreProgram } from '../../../unexec/restorer/program.ts';
import { SLOT, SLOT_COUNT, step as stepStruct } from '../../../unexec/restorer/steps.ts';

const ADDRESS = 0x81_1000n;

/** The data window, with the means to look things up by address. */
function layOut(program: RestoreProgram, prefix = 'prefix: ') {
  const { bytes, steps } = program.layOut(ADDRESS, prefix);
  const view = viewOf(bytes);
  const slot = (n: number): bigint => view.getBigUint64(n * 8, true);
  const offset = (address: bigint): number => Number(address - ADDRESS);
  const stepAt = (i: number) => stepStruct.read(view, offset(steps.address) + i * stepStruct.size, true);
  const text = (at: number, length: number): string =>
    Buffer.from(bytes.subarray(at, at + length)).toString();
  return { bytes, view, steps, slot, offset, stepAt, text };
}

test('layOut() tells the restorer where everything is', t => {
  const program = new RestoreProgram('x86_64');
  program.syscall('getpid', 'getpid', []);
  program.operation('FAIL', 'no way', []);
  const { bytes, steps, slot, offset, text } = layOut(program, 'cannot: ');
  t.is(slot(SLOT.PROGRAM), steps.address);
  t.is(steps.size, 128);
  t.is(steps.address % 64n, 0n);
  t.is(text(offset(slot(SLOT.PREFIX)), Number(slot(SLOT.PREFIX_LENGTH))), 'cannot: ');
  t.true(offset(slot(SLOT.ERRNOS)) + Number(slot(SLOT.ERRNO_COUNT)) * 32 <= bytes.length);
});

test('layOut() counts the prefix in bytes', t => {
  const { slot, offset, text } = layOut(new RestoreProgram('x86_64'), 'ungültig: ');
  t.is(slot(SLOT.PREFIX_LENGTH), 11n);
  t.is(text(offset(slot(SLOT.PREFIX)), 11), 'ungültig: ');
});

test('layOut() writes the name of each step, and equal names once', t => {
  const program = new RestoreProgram('x86_64');
  const names = ['open', 'map heap', 'map heap', 'schließen', ''];
  for (const name of names) program.syscall(name, 'write', []);
  const { view, slot, offset, text } = layOut(program);
  const table = offset(slot(SLOT.NAMES));
  const entries = names.map((_, i) => ({
    at: view.getUint32(table + i * 8, true),
    length: view.getUint32(table + i * 8 + 4, true),
  }));
  t.deepEqual(
    entries.map(({ at, length }) => text(table + at, length)),
    names,
  );
  t.deepEqual(entries[1], entries[2]);
});

test('layOut() writes the name of each error, whole and ended with a zero', t => {
  const { bytes, slot, offset } = layOut(new RestoreProgram('x86_64'));
  const table = offset(slot(SLOT.ERRNOS));
  for (const [name, number] of Object.entries(ERRNO)) {
    const entry = Buffer.from(bytes.subarray(table + number * 32, table + number * 32 + 32));
    t.is(entry.toString('utf8', 0, entry.indexOf(0)), `: ${name}`);
    t.true(BigInt(number) < slot(SLOT.ERRNO_COUNT));
  }
});

test('layOut() keeps alignment, contents and distance of any data', t => {
  const piece = fc.record({
    bytes: fc.uint8Array({ minLength: 1, maxLength: 5000 }),
    align: fc.constantFrom(1, 8, 16, 64, 4096),
    written: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), fc.nat({ max: 300 }), (pieces, slots) => {
      const program = new RestoreProgram('x86_64');
      const refs = pieces.map(({ bytes, align, written }) =>
        written ? program.writable(bytes, align) : program.data(bytes, align),
      );
      for (let i = 0; i < slots; i++) program.slot();
      for (const ref of refs) program.syscall('refer', 'write', [ref, { ...ref, offset: 1 }]);
      const { bytes, slot, offset, stepAt } = layOut(program);
      const taken: { from: number; to: number; what: string }[] = [
        { from: 0, to: (SLOT.FIRST_FREE + slots) * 8, what: 'slots' },
        { from: SLOT_COUNT * 8, to: 4096, what: 'room of the message' },
        { from: offset(slot(SLOT.PROGRAM)), to: bytes.length, what: 'steps, names, errors' },
      ];
      for (const [i, { bytes: given, align, written }] of pieces.entries()) {
        const [address = 0n, second] = stepAt(i).args;
        const at = offset(address);
        t.is(second, address + 1n);
        t.is(at % align, 0);
        t.deepEqual(bytes.slice(at, at + given.length), given);
        t.true(written || at >= 4096);
        for (const { from, to, what } of taken) t.true(at >= to || at + given.length <= from, what);
        taken.push({ from: at, to: at + given.length, what: `piece ${i}` });
      }
    }),
    { numRuns: 60 },
  );
});

test('pointer() makes a word of the data hold the address of other data', t => {
  const program = new RestoreProgram('x86_64');
  const text = program.string('hello');
  const words = program.data(new Uint8Array(24));
  program.pointer({ ...words, offset: 16 }, { ...text, offset: 1 });
  program.syscall('refer', 'write', [words, text]);
  const { view, offset, stepAt } = layOut(program);
  const [at = 0n, to = 0n] = stepAt(0).args;
  t.is(view.getBigUint64(offset(at), true), 0n);
  t.is(view.getBigUint64(offset(at) + 16, true), to + 1n);
});

test('string() ends text with a zero byte', t => {
  const program = new RestoreProgram('x86_64');
  const first = program.string('grün');
  program.string('x');
  program.syscall('refer', 'write', [first]);
  const { text, offset, stepAt } = layOut(program);
  t.is(text(offset(stepAt(0).args[0] ?? 0n), 7), 'grün\0x');
});

test('labelNext() names the step that comes next, wherever it is referred to', t => {
  const program = new RestoreProgram('x86_64');
  program.operation('CLONE', 'create', [0, 0, 0, 0, 0, { label: 'thread' }], {}, 'clone');
  program.operation('FAIL', 'end', []);
  program.labelNext('thread');
  program.syscall('first of the thread', 'gettid', []);
  program.syscall('second of the thread', 'gettid', []);
  const { steps, stepAt } = layOut(program);
  t.is(stepAt(0).args[5], steps.address + 2n * 64n);
  t.deepEqual(
    program.steps.map(({ label }) => label),
    [undefined, undefined, 'thread', undefined],
  );
});

test('layOut() refuses a label that no step has', t => {
  const program = new RestoreProgram('x86_64');
  program.operation('CLONE', 'create', [0, 0, 0, 0, 0, { label: 'nobody' }], {}, 'clone');
  t.throws(() => layOut(program), { instanceOf: UnexecError, code: 'INTERNAL', message: /nobody/ });
});

test('when() skips as many steps as stand in its branch', t => {
  for (const inside of [0, 1, 5]) {
    const program = new RestoreProgram('x86_64');
    program.when('AT_MOST', 'condition', [1, 2], () => {
      for (let i = 0; i < inside; i++) program.syscall('inside', 'write', []);
    });
    program.syscall('after', 'close', []);
    t.deepEqual(program.steps[0]?.args, [1, 2, inside]);
    t.is(program.steps[0]?.required, false);
    t.is(program.steps.length, inside + 2);
  }
});

test('when() with another branch jumps over it, and skips to it', t => {
  const program = new RestoreProgram('x86_64');
  program.when(
    'COMPARE',
    'condition',
    [1, 2, 3],
    () => program.syscall('then', 'write', []),
    () => {
      program.syscall('otherwise', 'close', []);
      program.syscall('otherwise', 'read', []);
    },
  );
  program.syscall('after', 'lseek', []);
  t.deepEqual(
    program.steps.map(({ op, nr, args }) => [op, nr, ...args]),
    [
      ['COMPARE', undefined, 1, 2, 3, 2],
      ['SYSCALL', 'write'],
      ['AT_MOST', undefined, 1, 0, 2],
      ['SYSCALL', 'close'],
      ['SYSCALL', 'read'],
      ['SYSCALL', 'lseek'],
    ],
  );
});

test('slot() gives each slot once, and refuses when the page is full', t => {
  const program = new RestoreProgram('x86_64');
  const slots = Array.from({ length: SLOT_COUNT - SLOT.FIRST_FREE }, () => program.slot().slot);
  t.is(new Set(slots).size, slots.length);
  t.true(slots.every(slot => slot >= SLOT.FIRST_FREE && slot < SLOT_COUNT));
  t.throws(() => program.slot(), { instanceOf: UnexecError, code: 'TOO_MANY_SLOTS' });
});
