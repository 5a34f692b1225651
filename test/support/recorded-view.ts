/**
 * A process image that outlives its process: what `findZones` reads of it, kept page by page, to be
 * damaged in all ways.
 *
 * @module
 */
import { endOf, PAGE, PAGE_BIG } from '../../unexec/image.ts';
import { findZones, type ZoneView } from '../../unexec/zones.ts';

export interface RecordedView {
  readonly view: ZoneView;
  /** Addresses of the pages that were read. */
  readonly pages: readonly bigint[];
}

/** Records what `findZones` reads; pages that it did not read hold zeros. */
export function recordView(view: ZoneView): RecordedView {
  const contents = new Map<bigint, Uint8Array>();
  const keep = (address: bigint): Uint8Array => {
    const page = contents.get(address) ?? new Uint8Array(PAGE);
    if (!contents.has(address)) view.memory.read(address, page);
    contents.set(address, page);
    return page;
  };
  findZones(withPages(view, keep));
  return {
    view: withPages(view, address => contents.get(address) ?? new Uint8Array(PAGE)),
    pages: [...contents.keys()],
  };
}

/** A word of the process replaced. */
export interface Damage {
  /** A multiple of 8. */
  readonly address: bigint;
  readonly word: bigint;
}

/** The same view, but for some words. */
export const damagedView = (view: ZoneView, damages: readonly Damage[]): ZoneView =>
  withPages(view, address => {
    const page = new Uint8Array(PAGE);
    view.memory.read(address, page);
    for (const damage of damages) {
      if (damage.address - (damage.address % PAGE_BIG) !== address) continue;
      new DataView(page.buffer).setBigUint64(Number(damage.address - address), damage.word, true);
    }
    return page;
  });

function withPages(view: ZoneView, pageAt: (address: bigint) => Uint8Array): ZoneView {
  const read = (address: bigint, into: Uint8Array): void => {
    for (let at = 0; at < into.length; ) {
      const from = Number((address + BigInt(at)) % PAGE_BIG);
      const part = pageAt(address + BigInt(at - from)).subarray(from, from + into.length - at);
      into.set(part, at);
      at += part.length;
    }
  };
  const touched: ZoneView['memory']['touched'] = region => [
    { first: 0, count: Number((endOf(region) - region.start) / PAGE_BIG) },
  ];
  return { ...view, memory: { read, touched } };
}
