/**
 * Whatever is in the memory of the process: an answer, soon, and no number that is wrong.
 */
import test from 'ava';
import fc from 'fast-check';
import { UnexecError } from '../../../unexec/errors.ts';
import { endOf } from '../../../unexec/image.ts';
import { findZones, type MallocZone, refineRegionKinds, type ZoneView } from '../../../unexec/zones.ts';
import { compileSample } from '../../support/compile.ts';
import { withStopped } from '../../support/live-view.ts';
import { damagedView, type RecordedView, recordView } from '../../support/recorded-view.ts';
import { sandbox } from '../../support/sandbox.ts';

const directory = sandbox('zones-damage');
const zonesProgram = compileSample(directory, 'malloc-zones.c');
const churnProgram = compileSample(directory, 'malloc-churn.c');

const record = (args: string[], env = {}): Promise<RecordedView> =>
  withStopped(zonesProgram, args, ({ view }) => recordView(view), env);

/** Zones in order, numbers within them; in a time that no walk without an end would keep. */
function sane(view: ZoneView): MallocZone[] {
  const start = performance.now();
  const zones = findZones(view);
  const elapsed = performance.now() - start;
  if (elapsed > 5000) throw new Error(`took ${elapsed} ms`);
  let end = 0n;
  for (const zone of zones) {
    if (zone.base < end) throw new Error(`zones overlap at ${zone.base.toString(16)}`);
    end = zone.base + BigInt(zone.size);
    const { used = 0, highWater, size } = zone;
    if (!(used >= 0 && used <= highWater && highWater <= size)) throw new Error(`used ${used} of ${size}`);
  }
  refineRegionKinds(view.regions, zones);
  return zones;
}

/** Words that confuse: flags and sizes, addresses in the process, anything. */
const words = ({ view, pages }: RecordedView): fc.Arbitrary<bigint> =>
  fc.oneof(
    fc.bigInt(0n, 0x2000n),
    fc.bigInt(0n, (1n << 64n) - 1n),
    fc.constantFrom(...pages).chain(page => fc.bigInt(page, page + 4095n)),
    fc.constantFrom(...view.regions).chain(region => fc.bigInt(region.start, endOf(region))),
    fc.constantFrom(...pages).map(page => page + 16n),
  );

/** A word of a page that was read; the first pages, which hold the structures, more often. */
const addresses = ({ pages }: RecordedView): fc.Arbitrary<bigint> =>
  fc
    .tuple(fc.oneof(fc.constantFrom(...pages), fc.constantFrom(...pages.slice(0, 20))), fc.nat(511))
    .map(([page, word]) => page + BigInt(8 * word));

test('findZones() answers with sound zones whatever a few words are', async t => {
  for (const args of [
    ['2', '300', '3000', '50'],
    ['1', '60', '300000', '50'],
  ]) {
    const recorded = await record(args);
    const damage = fc.record({ address: addresses(recorded), word: words(recorded) });
    const property = fc.property(fc.array(damage, { minLength: 1, maxLength: 20 }), damages => {
      sane(damagedView(recorded.view, damages));
    });
    fc.assert(property, { numRuns: 300 });
  }
  t.pass();
});

test('findZones() answers with sound zones whatever a whole page holds', async t => {
  const recorded = await record(['2', '300', '3000', '50']);
  const page = fc.tuple(
    fc.constantFrom(...recorded.pages),
    fc.array(words(recorded), { minLength: 512, maxLength: 512 }),
  );
  const property = fc.property(page, ([address, contents]) => {
    sane(
      damagedView(
        recorded.view,
        contents.map((word, i) => ({ address: address + BigInt(8 * i), word })),
      ),
    );
  });
  fc.assert(property, { numRuns: 100 });
  t.pass();
});

test('findZones() gives the right number or none when one word is wrong', async t => {
  const recorded = await record(['2', '300', '3000', '50'], {
    GLIBC_TUNABLES: 'glibc.malloc.tcache_count=0',
  });
  const right = new Map(findZones(recorded.view).map(zone => [zone.base, zone.used]));
  t.true(right.size >= 5);
  const damage = fc.record({ address: addresses(recorded), word: words(recorded) });
  const property = fc.property(damage, one => {
    for (const { base, kind, used } of sane(damagedView(recorded.view, [one]))) {
      if (kind !== 'thread-stack' && used !== undefined && used !== right.get(base)) {
        throw new Error(`${kind} at ${base.toString(16)}: ${used}, not ${right.get(base)}`);
      }
    }
  });
  fc.assert(property, { numRuns: 1000 });
});

test('findZones() answers with sound zones whatever the registers and the break are', async t => {
  const { view } = await record(['2', '300', '3000', '50']);
  const address = fc.oneof(
    fc.bigInt(0n, (1n << 64n) - 1n),
    fc.constantFrom(...view.regions).chain(region => fc.bigInt(region.start, endOf(region))),
  );
  const property = fc.property(
    fc.array(address, { minLength: 6, maxLength: 6 }),
    ([a = 0n, b = 0n, c = 0n, d = 0n, ...breaks]) => {
      const threads = [a, a, c].map((rsp, i) => ({ stackPointer: rsp, threadPointer: i === 1 ? b : d }));
      const [startBrk = 0n, brk = 0n] = breaks;
      sane({ ...view, threads, layout: { startBrk, brk } });
    },
  );
  fc.assert(property, { numRuns: 300 });
  t.pass();
});

test('findZones() lets the error of a process that has gone through', async t => {
  const { view } = await record(['1', '300', '3000', '50']);
  const read = () => {
    throw new UnexecError('PROCESS_GONE', 'process 1 ended while its memory was read');
  };
  t.throws(() => findZones({ ...view, memory: { ...view.memory, read } }), { code: 'PROCESS_GONE' });
});

test('findZones() gives the right number or none wherever a program in malloc is stopped', async t => {
  const largest = 5000;
  const env = { GLIBC_TUNABLES: 'glibc.malloc.tcache_count=0' };
  await withStopped(
    churnProgram,
    ['4096', String(largest)],
    async live => {
      const address = BigInt(/^live (\w+)$/m.exec(live.output)?.[1] ?? 0);
      const heapUse = (view: ZoneView): number | undefined =>
        findZones(view).find(zone => zone.kind === 'heap')?.used;
      const liveBytes = (view: ZoneView): number => {
        const word = new Uint8Array(8);
        view.memory.read(address, word);
        return Number(new DataView(word.buffer).getBigInt64(0, true));
      };
      const constant = (heapUse(live.view) ?? Number.NaN) - liveBytes(live.view);
      t.is(liveBytes(live.view), 0);

      const counts = { exact: 0, near: 0, none: 0 };
      for (let i = 0; i < 300; i++) {
        const view = await live.later(0.1);
        const used = heapUse(view);
        // One chunk may be between malloc and the program's own count, and a few small ones between two lists.
        const distance = used === undefined ? 0 : Math.abs(used - liveBytes(view) - constant);
        t.true(distance <= largest + 2048, `${distance} bytes off`);
        counts[used === undefined ? 'none' : distance === 0 ? 'exact' : 'near']++;
      }
      t.log(counts);
      t.true(counts.exact >= 60);
    },
    env,
  );
});
