/**
 * A process image made by hand: anonymous regions, zero but for the words that are given.
 *
 * @module
 */
import { PAGE, type Region } from '../../unexec/image.ts';
import type { ZoneView } from '../../unexec/zones.ts';
import { damagedView } from './recorded-view.ts';

/** A private readable and writable anonymous region, but for what is said otherwise. */
export const regionOf = (start: bigint, pages: number, facts: Partial<Region> = {}): Region => ({
  start,
  size: pages * PAGE,
  read: true,
  write: true,
  execute: false,
  shared: false,
  offset: 0,
  device: '00:00',
  inode: 0,
  name: '',
  kind: 'anonymous',
  flags: new Set(),
  ...facts,
});

/** A view of these regions with `words` at their addresses, and no modules. */
export function syntheticView(
  regions: readonly Region[],
  words: Readonly<Record<string, bigint>>,
  facts: Partial<ZoneView> = {},
): ZoneView {
  const zeros: ZoneView['memory'] = {
    read: (_address, into) => void into.fill(0),
    touched: region => [{ first: 0, count: region.size / PAGE }],
  };
  const empty: ZoneView = {
    regions,
    modules: [],
    threads: [],
    layout: { startBrk: 0n, brk: 0n },
    memory: zeros,
    ...facts,
  };
  return damagedView(
    empty,
    Object.entries(words).map(([address, word]) => ({ address: BigInt(address), word })),
  );
}
