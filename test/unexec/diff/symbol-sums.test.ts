import test from 'ava';
import { SymbolSums } from '../../../unexec/diff/symbol-sums.ts';

const A = [
  { name: 'first', address: 0x1000n, size: 16 },
  { name: 'second', address: 0x1020n, size: 32 },
];
const B = [{ name: 'elsewhere', address: 0x9100n, size: 8 }];
const PLACE = { region: 'data', startA: 0x1000n, startB: 0x9000n };

test('bytes are counted for the symbols that they are in, and a stretch for all of them', t => {
  const sums = new SymbolSums(A, B);
  sums.add(PLACE, 0, 0x110, 'onlyA');
  sums.add(PLACE, 0x28, 8, 'changed');
  sums.add(PLACE, 0x10, 8, 'changed'); // between them
  t.deepEqual(
    sums.biggest(10).map(({ name, changed, onlyA }) => ({ name, changed, onlyA })),
    [
      { name: 'second', changed: 8, onlyA: 32 },
      { name: 'first', changed: 0, onlyA: 16 },
      { name: 'elsewhere', changed: 0, onlyA: 8 },
    ],
  );
  t.like(sums.biggest(1)[0], { region: 'data', addressA: '0x1020', addressB: '0x9020' });
});

test('pointers that moved count less than anything else', t => {
  const sums = new SymbolSums(A, []);
  sums.add(PLACE, 0x20, 32, 'moved');
  sums.add(PLACE, 0, 8, 'changed');
  t.deepEqual(
    sums.biggest(2).map(({ name }) => name),
    ['first', 'second'],
  );
  t.deepEqual(
    sums.biggest(1).map(({ name }) => name),
    ['first'],
  );
});

test('find() gives the symbol of either of the two', t => {
  const sums = new SymbolSums(A, B);
  t.deepEqual(sums.find(PLACE, 0x24).symbol, { name: 'second', into: 4 });
  t.deepEqual(sums.find(PLACE, 0x101).symbol, { name: 'elsewhere', into: 1 });
  t.is(sums.find(PLACE, 0x10).symbol, undefined);
  t.is(sums.find({ ...PLACE, startB: undefined }, 0x101).symbol, undefined);
});
