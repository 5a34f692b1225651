import test from 'ava';
import fc from 'fast-check';
import { columnLabels, shapesOf } from '../../../cli/map/drawing.ts';
import { type Fold, foldOf, placeAt, rectsOf, scaleText, sizeOf } from '../../../cli/map/fold.ts';
import { type MapData, zeroRuns } from '../../../cli/map/map-data.ts';
import { pieceAt, placeOf, positionAt } from '../../../cli/map/view.ts';
import { isZeroPage } from '../../../formats/describe/index.ts';

const ROOM = { width: 1000, height: 700 };
const NO_PART = {
  address: undefined,
  protection: 'rw-',
  section: undefined,
  segment: undefined,
  image: 0,
} as const;

/** A file of sections of these sizes, all in memory from 0x10000 on with these holes between them, in pages. */
function dataOf(sizes: readonly number[], holes: readonly number[] = []): MapData {
  let offset = 0;
  let address = 0x1_0000n;
  const parts = sizes.map((size, i) => {
    const part = { ...NO_PART, kind: 'section', name: `.s${i}`, offset, size, address } as const;
    offset += size;
    address += BigInt(size);
    const hole = holes[i] ?? 0;
    if (hole > 0) address = ((address + 0xfffn) & ~0xfffn) + BigInt(hole * 4096);
    return part;
  });
  const memory = parts.map(part => ({ ...part, backing: 'file', protection: 'rw-' }) as const);
  const images = [{ kind: 'executable', arch: 'x86_64', elides: false, memory }];
  return { name: 'made', format: 'ELF', size: offset, parts, images, zeroPages: [] };
}

const areaOf = (fold: Fold): number =>
  shapesOf(fold).reduce(
    (sum, { rects }) => sum + rects.reduce((area, { width, height }) => area + width * height, 0),
    0,
  );

test('every byte has its area on the picture, whatever the file and the room', t => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 3_000_000 }), { minLength: 1, maxLength: 20 }),
      fc.array(fc.nat(3), { maxLength: 20 }),
      fc.constantFrom('file', 'memory'),
      fc.integer({ min: 200, max: 2000 }),
      (sizes, holes, order, width) => {
        const data = dataOf(sizes, holes);
        const fold = foldOf(data, order, { width, height: 500 });
        const { bytesPerLine } = fold.view;
        const expected = (data.size / bytesPerLine) * fold.lineWidth * fold.lineHeight;
        if (Math.abs(areaOf(fold) / expected - 1) > 1e-9) throw new Error(`${areaOf(fold)}, not ${expected}`);
        const size = sizeOf(fold);
        if (size.width > Math.max(width, 512) || size.height > 500) throw new Error(`${size.width}`);
        for (const { x, y, width, height } of shapesOf(fold).flatMap(({ rects }) => rects)) {
          if (x < 0 || y < 0 || x + width > size.width + 1e-6 || y + height > size.height + 1e-6) {
            throw new Error(`${x} ${y} ${width} ${height} is outside`);
          }
        }
      },
    ),
    { numRuns: 150 },
  );
  t.pass();
});

test('where something is drawn, it is found', t => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 300, max: 400_000 }), { minLength: 1, maxLength: 9 }),
      fc.array(fc.nat(3), { maxLength: 9 }),
      fc.constantFrom('file', 'memory'),
      (sizes, holes, order) => {
        const data = dataOf(sizes, holes);
        const fold = foldOf(data, order, ROOM);
        for (const [index, { name, offset, address, size }] of data.parts.entries()) {
          const position = (order === 'file' ? BigInt(offset) : (address ?? 0n)) + BigInt(size >> 1);
          const place = placeOf(fold.view, position);
          if (place === undefined) throw new Error(`${name} has no place`);
          const [rect] = rectsOf(fold, place, place + 1);
          const found = rect && placeAt(fold, rect.x + rect.width / 2, rect.y + fold.lineHeight / 2);
          if (found === undefined || pieceAt(fold.view, found)?.part !== index)
            throw new Error(`${name}: ${found}`);
          if (positionAt(fold.view, found)?.position !== position) throw new Error(`${name}: ${position}`);
        }
      },
    ),
    { numRuns: 100 },
  );
  t.pass();
});

test('a small file has a page a line; 1 GiB is folded into columns of several pages a line', t => {
  const small = foldOf(dataOf([100_000]), 'file', ROOM);
  t.is(scaleText(small), '1 line = 1 page of 4 KiB');
  t.is(small.columns, 1);
  const start = performance.now();
  const large = foldOf(dataOf([2 ** 29, 2 ** 29]), 'file', ROOM);
  t.true(performance.now() - start < 200);
  t.is(scaleText(large), '1 line = 32 pages of 4 KiB');
  t.true(sizeOf(large).width <= ROOM.width && large.columns > 10);
  t.is(columnLabels(large)[1]?.text, `0x${(large.linesPerColumn * 32 * 4096).toString(16)}`);
});

test('memory of terabytes and of a thousand holes is drawn all the same', t => {
  const zeros = { ...NO_PART, kind: 'section', name: 'zeros', backing: 'zero', offset: undefined } as const;
  const memory = Array.from({ length: 1000 }, (_, i) => ({
    ...zeros,
    protection: 'rw-',
    address: BigInt(i) * 2n ** 42n,
    size: 2 ** 41,
  }));
  const data = { ...dataOf([1]), images: [{ kind: 'core', arch: 'x86_64', elides: false, memory }] };
  const fold = foldOf(data, 'memory', ROOM);
  t.is(fold.view.strips.filter(({ isElided }) => isElided).length, 1000);
  t.true(sizeOf(fold).width < 100_000);
});

test('zeroRuns() gives the runs of the bits', t => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), fc.nat(7), (bits, less) => {
      const pages = bits.length * 8 - less;
      const runs = zeroRuns(bits, pages);
      for (let page = 0; page < pages; page++) {
        const i = runs.findLastIndex(bound => bound <= page);
        if ((i >= 0 && i % 2 === 0) !== isZeroPage(bits, page)) throw new Error(`${page} of ${runs}`);
      }
    }),
  );
  t.pass();
});

test('zero pages of the file are pieces of their own', t => {
  const data = { ...dataOf([0x5000, 0x3000]), zeroPages: [1, 3, 4, 6] };
  const { view } = foldOf(data, 'file', ROOM);
  t.deepEqual(
    view.pieces.map(({ start, end, name, state }) => [start / 4096, end / 4096, name, state]),
    [
      [0, 1, '.s0', 'bytes'],
      [1, 3, '.s0', 'zero'],
      [3, 4, '.s0', 'bytes'],
      [4, 5, '.s0', 'zero'],
      [5, 6, '.s1', 'zero'],
      [6, 8, '.s1', 'bytes'],
    ],
  );
});
