/**
 * Judged by glibc itself: the program reports `uordblks + hblkhd` of mallinfo2(3) right before it stops,
 * and the zones' `used` must add up to that number, to the byte.
 */
import test, { type ExecutionContext } from 'ava';
import { findZones, type MallocZone, type ZoneKind } from '../../../unexec/zones.ts';
import { compileSample } from '../../support/compile.ts';
import { type LiveView, withStopped } from '../../support/live-view.ts';
import { sandbox } from '../../support/sandbox.ts';

const compiled = new Map<string, string>();
const program = (sample: string, ...flags: string[]): string => {
  const key = [sample, ...flags].join(' ');
  const path = compiled.get(key) ?? compileSample(sandbox('zones'), sample, flags);
  compiled.set(key, path);
  return path;
};

const HEAP_MAX_SIZE = 64 << 20;

const ofKind = (zones: readonly MallocZone[], kind: ZoneKind) => zones.filter(zone => zone.kind === kind);

/** Every byte that mallinfo2 counts is in a zone. */
function agreesWithMallinfo(t: ExecutionContext, live: LiveView): MallocZone[] {
  const zones = findZones(live.view);
  const used = zones.filter(zone => zone.kind !== 'thread-stack').map(zone => zone.used ?? Number.NaN);
  t.is(
    used.reduce((sum, bytes) => sum + bytes, 0),
    Number(/^used (\d+)$/m.exec(live.output)?.[1]),
  );
  for (const [i, zone] of zones.entries()) {
    t.true(zone.base + BigInt(zone.size) <= (zones[i + 1]?.base ?? 1n << 64n), 'zones do not overlap');
    t.true(zone.highWater <= zone.size && (zone.used ?? 0) <= zone.highWater);
  }
  return zones;
}

interface Use {
  readonly threads: number;
  readonly chunks: number;
  readonly largest: number;
  readonly percentFreed: number;
}

const zonesOf = async (
  t: ExecutionContext,
  use: Use,
  env = {},
  ...flags: string[]
): Promise<MallocZone[]> => {
  const args = [use.threads, use.chunks, use.largest, use.percentFreed].map(String);
  return await withStopped(
    program('malloc-zones.c', ...flags),
    args,
    live => agreesWithMallinfo(t, live),
    env,
  );
};

const exact = test.macro({
  exec: async (t, use: Use, env: Record<string, string> = {}, ...flags: string[]) => {
    await zonesOf(t, use, env, ...flags);
  },
  title: (title = '') => `findZones() counts every byte that mallinfo2 counts ${title}`,
});

const few = { threads: 0, chunks: 1000, largest: 5000, percentFreed: 50 };
const small = { threads: 1, chunks: 60_000, largest: 200, percentFreed: 60 };

test('in one thread', exact, few);
test('where nothing was freed', exact, { ...few, percentFreed: 0 });
test('where everything was freed', exact, { ...few, percentFreed: 100 });
test('in a heap of small free pieces', exact, small);
test('in fast bins without a thread cache', exact, small, { GLIBC_TUNABLES: 'glibc.malloc.tcache_count=0' });
test('in threads that share an arena', exact, { ...few, threads: 4 }, { MALLOC_ARENA_MAX: '2' });
test('in mmapped chunks', exact, { ...few, threads: 2, largest: 500_000 });
test('where every chunk is mmapped', exact, few, { MALLOC_MMAP_THRESHOLD_: '0' });
test('in a static program', exact, { ...few, threads: 2, largest: 200_000 }, {}, '-static');
test('in a static position-independent program', exact, { ...few, threads: 2 }, {}, '-static-pie');
test('under a perturbing malloc', exact, few, { MALLOC_PERTURB_: '85' });

test('findZones() finds the arena and the stack of each of four threads', async t => {
  const zones = await zonesOf(t, { ...few, threads: 4 });
  t.is(ofKind(zones, 'heap').length, 1);
  const arenas = ofKind(zones, 'thread-arena');
  t.is(arenas.length, 4);
  for (const zone of arenas) {
    t.is(zone.size, HEAP_MAX_SIZE);
    t.is(zone.base % BigInt(HEAP_MAX_SIZE), 0n);
  }
  const stacks = ofKind(zones, 'thread-stack');
  t.is(stacks.length, 4);
  // The default of 8 MiB, and a guard page.
  for (const zone of stacks) t.is(zone.size, (8 << 20) + 4096);
  t.deepEqual(
    zones.filter(zone => zone.isDefault).map(zone => zone.kind),
    ['heap'],
  );
});

test('findZones() finds all heaps of a thread arena that needs more than 64 MiB', async t => {
  const zones = await zonesOf(t, { threads: 1, chunks: 4000, largest: 100_000, percentFreed: 20 });
  t.true(ofKind(zones, 'thread-arena').length >= 3);
});

test('findZones() tells adjacent mmapped chunks apart that the kernel has merged', async t => {
  await withStopped(program('malloc-zones.c'), ['2', '400', '500000', '30'], live => {
    const chunks = ofKind(agreesWithMallinfo(t, live), 'mmapped-chunk');
    const starts = new Set(live.view.regions.map(region => region.start));
    t.true(chunks.filter(chunk => !starts.has(chunk.base)).length >= 2);
  });
});

test('findZones() follows a main arena beyond a brk heap that cannot grow', async t => {
  for (const chunks of ['500', '1000', '5000']) {
    await withStopped(program('malloc-beyond-brk.c'), [chunks], live => {
      const zones = agreesWithMallinfo(t, live);
      t.deepEqual(
        zones.map(zone => zone.kind),
        ['heap', 'main-arena'],
      );
      t.true(zones.every(zone => zone.isDefault));
    });
  }
});

test('findZones() gives a brk heap without numbers where there is no glibc', async t => {
  const flags = ['-static', '-nostdlib', '-ffreestanding', '-fno-stack-protector'];
  await withStopped(program('no-libc.c', ...flags), [], ({ view }) => {
    const { startBrk } = view.layout;
    const zone = { kind: 'heap', base: startBrk, size: 0x5000, used: undefined, highWater: 0x5000 } as const;
    t.deepEqual(findZones(view), [{ ...zone, pageSize: 4096, isDefault: false }]);
  });
});

test('findZones() gives up on numbers, not on zones, in a heap of more than a million free pieces', async t => {
  const args = ['1', '1000000', '300', '60'];
  await withStopped(program('malloc-zones.c'), args, ({ view }) => {
    let bytes = 0;
    const memory = {
      ...view.memory,
      read: (address: bigint, into: Uint8Array) => {
        bytes += into.length;
        view.memory.read(address, into);
      },
    };
    const zones = findZones({ ...view, memory });
    t.true(bytes < 512 << 20, `${bytes} bytes were read`);
    t.true(ofKind(zones, 'thread-arena').length >= 2);
    t.is(ofKind(zones, 'thread-stack').length, 1);
    t.true(ofKind(zones, 'mmapped-chunk').length >= 2);
    t.is(ofKind(zones, 'heap')[0]?.used, undefined);
  });
});

test('findZones() counts the brk heap of a thawed process, all of whose memory is one file', async t => {
  await withStopped(program('malloc-zones.c'), ['0', '1000', '5000', '50'], ({ view, output }) => {
    const path = '/somewhere/frozen';
    const regions = view.regions.map(region => ({ ...region, inode: 4711, name: path }));
    const modules = [{ path, start: 0x810000n, end: 0x811000n }];
    const [heap, ...others] = findZones({ ...view, regions, modules });
    t.is(heap?.kind, 'heap');
    t.is(heap?.used, Number(/^used (\d+)$/m.exec(output)?.[1]));
    t.deepEqual(others, []);
  });
});
