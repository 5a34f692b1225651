/**
 * Where the parts of __LINKEDIT go that have no place: one after the other in canonical order, the way
 * ld(1) writes them, so that codesign(1) and strip(1) accept the file. cctools-1035, `libstuff/checkout.c`,
 * dyld_order: each part begins where the one before it ends, so sizes are rounded up rather than gaps left.
 *
 * @module
 */
import { type Contents, contentsSize, readContents } from '../contents.ts';
import { FormatError, hex } from '../errors.ts';
import { type LayoutPart, partOf } from '../parts.ts';
import { findSegment, segmentsOf } from './find.ts';
import { pageSizeOf } from './header.ts';
import { LINKEDIT_KINDS, type LinkeditBlob, type LinkeditKind, type MachOFile } from './model.ts';
import { readNotes } from './notes.ts';

/** Where a part is, and how many bytes its command counts. */
export interface BlobPlace {
  readonly offset: number;
  readonly size: number;
}

export interface LinkeditPlaces {
  readonly blobs: ReadonlyMap<LinkeditKind, BlobPlace>;
  readonly parts: readonly LayoutPart[];
  /** What follows for the segment; undefined: it stays as it is. */
  readonly segment: { readonly filesize: number; readonly vmsize: bigint } | undefined;
}

/** Parts whose size is rounded up: streams, after whose end zeros mean nothing. */
const ROUNDED: ReadonlySet<LinkeditKind> = new Set<LinkeditKind>([
  'rebase',
  'bind',
  'weak-bind',
  'lazy-bind',
  'export',
  'chained-fixups',
  'exports-trie',
  'segment-split-info',
  'function-starts',
  'data-in-code',
  'atom-info',
  'function-variants',
  'function-variant-fixups',
  'code-sign-drs',
  'linker-optimization-hint',
]);

/** Parts that keep a place even when they are of no bytes; the others are then at 0, as ld(1) has it. */
const PLACED_WHEN_EMPTY: ReadonlySet<LinkeditKind> = new Set<LinkeditKind>([
  'chained-fixups',
  'exports-trie',
  'segment-split-info',
  'function-starts',
  'data-in-code',
  'atom-info',
  'function-variants',
  'function-variant-fixups',
  'code-sign-drs',
  'linker-optimization-hint',
  'symbols',
  'strings',
  'code-signature',
]);

const ALIGN = 8;
const SIGNATURE_ALIGN = 16;

/**
 * A place for every part; what has one keeps it.
 *
 * @throws FormatError `MACHO_NO_LINKEDIT` where parts need a place and there is no segment for them
 */
export function placeLinkedit(file: MachOFile): LinkeditPlaces {
  const blobs = new Map<LinkeditKind, BlobPlace>();
  const parts: LayoutPart[] = [];
  const placing = file.linkedit.some(({ offset }) => offset === undefined);
  const linkedit = placing ? linkeditOf(file) : undefined;
  let end = linkedit?.fileoff ?? 0;
  for (const blob of inOrder(file.linkedit)) {
    const { kind, contents } = blob;
    const { offset, size } = placeOf(blob, end);
    blobs.set(kind, { offset, size });
    const exact = contentsSize(contents);
    parts.push(partOf(kind, offset, contents));
    if (size > exact) parts.push(partOf(`the end of ${kind}`, offset + exact, new Uint8Array(size - exact)));
    // One of no bytes may claim to be anywhere.
    if (size > 0) end = Math.max(end, offset + size);
  }
  if (!linkedit) return { blobs, parts, segment: undefined };
  const filesize = end - linkedit.fileoff;
  const vmsize = BigInt(roundUp(filesize, pageSizeOf(file.header)));
  return { blobs, parts, segment: { filesize, vmsize } };
}

/**
 * Moves all of __LINKEDIT to `fileoff`, to be laid out again without gaps.
 *
 * @throws FormatError `MACHO_NO_LINKEDIT`; `MACHO_TRAILING_BYTES` where the file goes on behind it,
 *   `MACHO_UNKNOWN_LINKEDIT` where it holds more than its parts: what is not known cannot be moved along
 */
export function relayLinkedit(file: MachOFile, fileoff: number): void {
  const linkedit = linkeditOf(file);
  const end = linkedit.fileoff + linkedit.filesize;
  const unknown = file.kept.filter(({ offset }) => offset >= linkedit.fileoff);
  for (const { offset, contents } of unknown) if (!isZero(contents)) throw notMovable(offset, contents, end);
  const others = segmentsOf(file).filter(segment => segment !== linkedit);
  for (const { offset, size, owner } of readNotes(file)) {
    if (size === 0 || offset >= end || offset + size <= linkedit.fileoff) continue;
    // A segment that has been put where __LINKEDIT was may have notes already.
    if (others.some(other => offset >= other.fileoff && offset + size <= other.fileoff + other.filesize))
      continue;
    const message = `Mach-O: the LC_NOTE of ${JSON.stringify(owner)} is ${hex(size)} bytes at ${hex(offset)}, within __LINKEDIT, expected it elsewhere`;
    throw new FormatError('MACHO_UNKNOWN_LINKEDIT', message, { offset, value: size });
  }
  file.kept = file.kept.filter(({ offset }) => offset < linkedit.fileoff);
  for (const blob of file.linkedit) blob.offset = undefined;
  linkedit.fileoff = fileoff;
}

const notMovable = (offset: number, contents: Contents, end: number): FormatError => {
  const bytes = `Mach-O: ${hex(contentsSize(contents))} bytes at ${hex(offset)}`;
  return offset >= end
    ? new FormatError('MACHO_TRAILING_BYTES', `${bytes} follow __LINKEDIT, expected it to end the file`, {
        offset,
      })
    : new FormatError(
        'MACHO_UNKNOWN_LINKEDIT',
        `${bytes} of __LINKEDIT are of no load command that is known, expected none`,
        { offset },
      );
};

const CHUNK = 0x1_0000;

function isZero(contents: Contents): boolean {
  const size = contentsSize(contents);
  for (let at = 0; at < size; at += CHUNK) {
    if (readContents(contents, at, Math.min(CHUNK, size - at)).some(byte => byte !== 0)) return false;
  }
  return true;
}

function placeOf({ kind, offset, contents }: LinkeditBlob, end: number): BlobPlace {
  const exact = contentsSize(contents);
  if (offset !== undefined) return { offset, size: exact };
  if (exact === 0) return { offset: PLACED_WHEN_EMPTY.has(kind) ? end : 0, size: 0 };
  const align = kind === 'code-signature' ? SIGNATURE_ALIGN : ALIGN;
  return { offset: roundUp(end, align), size: ROUNDED.has(kind) ? roundUp(exact, ALIGN) : exact };
}

const ORDER: ReadonlyMap<LinkeditKind, number> = new Map(LINKEDIT_KINDS.map((kind, index) => [kind, index]));

const inOrder = (blobs: readonly LinkeditBlob[]): LinkeditBlob[] =>
  [...blobs].sort((a, b) => (ORDER.get(a.kind) ?? 0) - (ORDER.get(b.kind) ?? 0));

function linkeditOf(file: MachOFile) {
  const linkedit = findSegment(file, '__LINKEDIT');
  if (linkedit) return linkedit;
  throw new FormatError('MACHO_NO_LINKEDIT', 'Mach-O: the file has no segment __LINKEDIT, expected one');
}

/** Not with `&`: an offset may be beyond 2^31. */
const roundUp = (value: number, unit: number): number => Math.ceil(value / unit) * unit;
