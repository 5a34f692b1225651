/**
 * What a page map shows, as plain data: made in Node for a page with its data inside, or by the page's worker. It holds
 * no bytes of the file, only what they are.
 *
 * @module
 */
import {
  type FileDescription,
  isZeroPage,
  type MemoryPart,
  PAGE_SIZE,
  type Part,
} from '../../formats/describe/index.ts';

export interface MapData {
  /** Of the file, without directories. */
  readonly name: string;
  readonly format: FileDescription['format'];
  /** Bytes. */
  readonly size: number;
  readonly parts: readonly Part[];
  readonly images: readonly MapImage[];
  /** Pages of the file that are zero: [first, behind the last) one after the other, ascending. */
  readonly zeroPages: readonly number[];
}

export interface MapImage {
  readonly kind: string;
  readonly arch: string;
  /** Whether its zero pages are holes of the file: those of what unexec wrote. */
  readonly elides: boolean;
  readonly memory: readonly MemoryPart[];
}

/** `zeroBits`: as `findZeroPages` gives them. */
export const mapDataOf = (file: FileDescription, name: string, zeroBits: Uint8Array): MapData => ({
  name,
  format: file.format,
  size: file.size,
  parts: file.parts,
  images: file.images.map(({ kind, arch, memory }) => ({ kind, arch, memory, elides: kind === 'image' })),
  zeroPages: zeroRuns(zeroBits, Math.ceil(file.size / PAGE_SIZE)),
});

/** The runs of set bits. */
export function zeroRuns(bits: Uint8Array, pages: number): number[] {
  const runs: number[] = [];
  let isOpen = false;
  for (let page = 0; page < pages; page++) {
    // Mostly eight pages at once are alike.
    if ((page & 7) === 0 && page + 8 <= pages && bits[page >> 3] === (isOpen ? 0xff : 0)) {
      page += 7;
      continue;
    }
    if (isZeroPage(bits, page) === isOpen) continue;
    runs.push(page);
    isOpen = !isOpen;
  }
  if (isOpen) runs.push(pages);
  return runs;
}

/** `Mach-O arm64 executable`, `ELF x86_64 image of unexec`; of a fat file all slices. */
export const describeKind = ({ format, images }: MapData): string =>
  `${format} ${images.map(({ arch, kind }) => `${arch} ${kind === 'image' ? 'image of unexec' : kind}`).join(', ')}`.trim();
