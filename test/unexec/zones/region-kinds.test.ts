import test from 'ava';
import type { Region } from '../../../unexec/image.ts';
import { findZones, type MallocZone, refineRegionKinds, type ZoneKind } from '../../../unexec/zones.ts';
import { compileSample } from '../../support/compile.ts';
import { withStopped } from '../../support/live-view.ts';
import { sandbox } from '../../support/sandbox.ts';
import { regionOf } from '../../support/synthetic-view.ts';

const zone = (kind: ZoneKind, base: bigint, size: number): MallocZone => ({
  kind,
  base,
  size,
  used: undefined,
  highWater: size,
  pageSize: 4096,
  isDefault: false,
});

const kinds = (regions: readonly Region[], zones: readonly MallocZone[]) =>
  refineRegionKinds(regions, zones).map(region => region.kind);

test('refineRegionKinds() names the memory of each zone', t => {
  const regions = [
    regionOf(0x10000n, 1, { name: '[heap]' }),
    regionOf(0x20000n, 2),
    regionOf(0x22000n, 2, { read: false, write: false }),
    regionOf(0x30000n, 1, { read: false, write: false }),
    regionOf(0x31000n, 4),
    regionOf(0x40000n, 4),
    regionOf(0x50000n, 1),
  ];
  const zones = [
    zone('heap', 0x10000n, 0x1000),
    zone('thread-arena', 0x20000n, 0x4000),
    zone('thread-stack', 0x30000n, 0x5000),
    zone('mmapped-chunk', 0x40000n, 0x1000),
    zone('mmapped-chunk', 0x41000n, 0x3000),
  ];
  const expected = ['heap', 'arena', 'arena', 'thread-stack', 'thread-stack', 'arena', 'anonymous'];
  t.deepEqual(kinds(regions, zones), expected);
});

test('refineRegionKinds() goes by most bytes where zones share a region', t => {
  const regions = [regionOf(0x10000n, 16)];
  const share = (pages: number) => [
    zone('thread-stack', 0x10000n, pages * 4096),
    zone('mmapped-chunk', 0x10000n + BigInt(pages * 4096), (16 - pages) * 4096),
  ];
  t.deepEqual(kinds(regions, share(4)), ['arena']);
  t.deepEqual(kinds(regions, share(12)), ['thread-stack']);
});

test('refineRegionKinds() leaves regions alone that are not anonymous, and a reserve', t => {
  const file = regionOf(0x10000n, 4, { inode: 7, name: '/bin/true', kind: 'module-data' });
  const bss = regionOf(0x14000n, 4, { kind: 'module-data' });
  t.deepEqual(refineRegionKinds([file, bss], [zone('reserve', 0x14000n, 0x4000)]), [file, bss]);
  t.deepEqual(kinds([file], [zone('mmapped-chunk', 0x10000n, 0x4000)]), ['module-data']);
});

test('refineRegionKinds() knows the brk heap of a thawed process by its zone', t => {
  t.deepEqual(kinds([regionOf(0x10000n, 4)], [zone('heap', 0x10000n, 0x3000)]), ['heap']);
});

test('refineRegionKinds() names every stack and arena of a program with threads', async t => {
  const program = compileSample(sandbox('zones-kinds'), 'malloc-zones.c');
  await withStopped(program, ['3', '500', '5000', '50'], ({ view }) => {
    const refined = refineRegionKinds(view.regions, findZones(view));
    const count = (kind: string) => refined.filter(region => region.kind === kind && region.write).length;
    t.is(count('heap'), 1);
    t.is(count('arena'), 3);
    t.is(count('thread-stack'), 3);
    // Guards and reserves belong to them, so nothing without access is left over.
    t.is(
      refined.filter(region => region.kind === 'anonymous' && !region.read && region.name === '').length,
      0,
    );
  });
});
