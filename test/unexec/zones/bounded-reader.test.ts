import test from 'ava';
import { boundedReader } from '../../../unexec/zones/bounded-reader.ts';
import { regionOf, syntheticView } from '../../support/synthetic-view.ts';

test('boundedReader() reads words and bytes across pages', t => {
  const words = { 69624: 0x1122_3344_5566_7788n, 69632: 0x99n };
  const reader = boundedReader(syntheticView([regionOf(0x10000n, 2)], words));
  t.is(reader.word(0x10ff8n), 0x1122_3344_5566_7788n);
  t.is(reader.word(0x11000n), 0x99n);
  t.is(reader.word(0x11008n), 0n);
  t.is(reader.bytes(0x10ffcn, 12)?.getBigUint64(4, true), 0x99n);
  t.is(reader.bytes(0x10ffcn, 12)?.getUint32(0, true), 0x1122_3344);
});

test('boundedReader() has nothing to say where no word can be', t => {
  const reader = boundedReader(syntheticView([regionOf(0x10000n, 2), regionOf(0x13000n, 1)], {}));
  for (const address of [0n, 0xfff8n, 0x12000n, 0x14000n, 0x10004n, (1n << 64n) - 8n, -8n]) {
    t.is(reader.word(address), undefined, address.toString(16));
  }
  t.is(reader.bytes(0x11ff0n, 32), undefined);
  t.is(reader.bytes(0xfff0n, 32), undefined);
});

test('boundedReader() never reads what is shared, a device perhaps, or not readable', t => {
  for (const facts of [{ shared: true }, { read: false }]) {
    const view = syntheticView([regionOf(0x10000n, 2, facts)], {});
    const read = () => t.fail('it has read');
    t.is(boundedReader({ ...view, memory: { ...view.memory, read } }).word(0x10000n), undefined);
  }
});

test('boundedReader() reads a page once while it is in use, and 65536 pages at most', t => {
  let reads = 0;
  const view = syntheticView([regionOf(0n, 1 << 20)], {});
  const read = () => void reads++;
  const reader = boundedReader({ ...view, memory: { ...view.memory, read } });
  for (let i = 0n; i < 512n; i++) reader.word(0x5000n + 8n * i);
  t.is(reads, 1);
  let found = 0;
  for (let page = 0n; page < 70_000n; page++) if (reader.word(page * 4096n) !== undefined) found++;
  t.is(reads, 65_536);
  t.is(found, 65_536);
  t.is(reader.word(0xf_0000_0000n), undefined);
});
