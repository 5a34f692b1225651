/**
 * The vdso of a core, and whether it is our own kernel's: a core does not say which kernel it is of, but the same
 * kernel has the same vdso, byte for byte.
 *
 * @module
 */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { type Arch, type KernelIdentity, PAGE, type Region, type Vdso } from '../image.ts';
import { kernelIdentity } from '../linux/this-machine.ts';
import type { CoreReader } from './open-core.ts';

export interface CoreVdso {
  readonly vdso: Vdso | undefined;
  /** With empty names where it is none that is known: the vdso is then replaced. */
  readonly kernel: KernelIdentity;
}

/** No vdso has more pages. */
const MOST_PAGES = 16;

export function coreVdso(arch: Arch, regions: readonly Region[], memory: CoreReader): CoreVdso {
  const unknown = { sysname: 'Linux', release: '', version: '', machine: arch };
  const region = regions.find(({ kind }) => kind === 'vdso');
  if (region === undefined || region.size > MOST_PAGES * PAGE) return { vdso: undefined, kernel: unknown };
  const bytes = memory.bytes(region.start, region.size);
  const own = ownVdso();
  const isOurs = own !== undefined && Buffer.compare(own.bytes, bytes) === 0;
  return {
    vdso: {
      start: region.start,
      size: region.size,
      vvarStart: region.start - (isOurs ? own.vvarSize : 0n),
      bytes,
    },
    kernel: isOurs ? kernelIdentity() : unknown,
  };
}

/** The vdso of this process, and how much is mapped before it. */
function ownVdso(): { bytes: Uint8Array; vvarSize: bigint } | undefined {
  try {
    const maps = readFileSync('/proc/self/maps', 'latin1');
    const [start, end] = rangeOf(maps, 'vdso');
    if (start === undefined || end === undefined) return undefined;
    const [vvar = start] = rangeOf(maps, 'vvar');
    const bytes = new Uint8Array(Number(end - start));
    const mem = openSync('/proc/self/mem', 'r');
    try {
      readSync(mem, bytes, 0, bytes.length, Number(start));
    } finally {
      closeSync(mem);
    }
    return { bytes, vvarSize: start - vvar };
  } catch {
    return undefined; // not Linux, or no /proc
  }
}

const rangeOf = (maps: string, name: string): bigint[] =>
  (new RegExp(`^([0-9a-f]+)-([0-9a-f]+) .*\\[${name}\\]$`, 'm').exec(maps) ?? [])
    .slice(1)
    .map(digits => BigInt(`0x${digits}`));
