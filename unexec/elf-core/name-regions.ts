/**
 * Names for regions of a core that are known by their places: stack, heap, and what the kernel maps for itself.
 *
 * @module
 */
import { endOf, PAGE, type Region } from '../image.ts';

/** What is known before: where the stack begins and the vdso is; 0n where that is not known. */
export interface KnownPlaces {
  readonly startStack: bigint;
  readonly brk: bigint;
  readonly vdso: bigint;
}

/** The kernel maps at most this much for its data, right before the vdso. */
const VVAR_PAGES = 16;

/** Stack, heap and what the kernel maps before its vdso, by their places. */
export function nameRegions(regions: readonly Region[], { startStack, brk, vdso }: KnownPlaces): Region[] {
  const holds = ({ start, size }: Region, address: bigint): boolean =>
    address !== 0n && start <= address && address < endOf({ start, size });
  const isVvar = vvarBefore(regions, vdso);
  return regions.map(region => {
    if (region.kind === 'vdso') return { ...region, name: '[vdso]' };
    if (isVvar.has(region)) return { ...region, kind: 'vvar', name: '[vvar]' };
    if (region.kind !== 'anonymous') return region;
    if (holds(region, startStack))
      return { ...region, kind: 'stack', name: '[stack]', flags: new Set(['gd']) };
    // The break may stand at the end of its last page.
    if (region.write && brk !== 0n && holds(region, brk - 1n))
      return { ...region, kind: 'heap', name: '[heap]' };
    return region;
  });
}

/** Read-only, without a file, and one after the other up to the vdso. */
function vvarBefore(regions: readonly Region[], vdso: bigint): Set<Region> {
  const found = new Set<Region>();
  const index = regions.findIndex(({ kind }) => kind === 'vdso');
  let end = regions[index]?.start ?? vdso;
  for (let i = index - 1; i >= 0; i--) {
    const region = regions[i];
    if (region === undefined || endOf(region) !== end || region.kind !== 'anonymous') break;
    if (!region.read || region.write || region.execute || region.size > VVAR_PAGES * PAGE) break;
    found.add(region);
    end = region.start;
  }
  return found;
}
