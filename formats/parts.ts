/**
 * What a file is made of, and where: the list of parts that the writer copies out. Parts never overlap,
 * with one exception that real files need: bytes that stay where they were read (sections that share
 * bytes, tables that a section covers) are one part.
 *
 * @module
 */
import { type Contents, contentsSize } from './contents.ts';
import { FormatError, hex } from './errors.ts';
import { type ByteSource, SourceSlice } from './source.ts';

/** Whose errors these are: how codes begin, and sentences. */
export interface Format {
  readonly code: 'ELF' | 'MACHO';
  readonly name: 'ELF' | 'Mach-O';
}

export const ELF: Format = { code: 'ELF', name: 'ELF' };
export const MACHO: Format = { code: 'MACHO', name: 'Mach-O' };

export interface LayoutPart {
  readonly offset: number;
  readonly size: number;
  /** For people: `section 3 (.text)`. */
  readonly what: string;
  /** Undefined: external, written by the caller. */
  readonly contents: Contents | undefined;
}

/** Contents at a place. */
export const partOf = (what: string, offset: number, contents: Contents): LayoutPart => ({
  what,
  offset,
  size: contentsSize(contents),
  contents,
});

/** A table that was encoded; where the source has the very same bytes at that place, they stay there. */
export function tablePart(
  source: ByteSource | undefined,
  what: string,
  offset: number,
  bytes: Uint8Array,
): LayoutPart {
  if (!source || offset > source.size || bytes.length > source.size - offset) {
    return partOf(what, offset, bytes);
  }
  const there = source.read(offset, bytes.length);
  const same = bytes.every((byte, i) => byte === there[i]);
  return partOf(what, offset, same ? new SourceSlice(source, offset, bytes.length) : bytes);
}

/**
 * The parts in order of offset, those that stay in place in `source` joined; parts of no bytes left out.
 *
 * @throws FormatError `ELF_OVERLAP`, `MACHO_OVERLAP` where two parts would be at one place
 */
export function joinParts(
  format: Format,
  source: ByteSource | undefined,
  parts: readonly LayoutPart[],
): LayoutPart[] {
  const filled = parts.filter(({ size }) => size > 0).sort((a, b) => a.offset - b.offset);
  const staying = filled.filter(part => staysInPlace(part, source));
  const moving = filled.filter(part => !staysInPlace(part, source));
  const joined = [...union(source, staying), ...moving].sort((a, b) => a.offset - b.offset);

  for (const [i, part] of joined.entries()) {
    const before = joined[i - 1];
    if (!before || before.offset + before.size <= part.offset) continue;
    const range = ({ what, offset, size }: LayoutPart) =>
      `${what} at ${hex(offset)} to ${hex(offset + size)}`;
    const message = `${format.name}: ${range(part)} overlaps ${range(before)}, expected a place of its own`;
    throw new FormatError(`${format.code}_OVERLAP`, message, { offset: part.offset });
  }
  return joined;
}

const staysInPlace = ({ offset, contents }: LayoutPart, source: ByteSource | undefined): boolean =>
  contents instanceof SourceSlice && contents.source === source && contents.offset === offset;

/** Touching and overlapping parts of one source as one each. */
function union(source: ByteSource | undefined, parts: readonly LayoutPart[]): LayoutPart[] {
  if (!source) return [];
  const joined: LayoutPart[] = [];
  let start = 0;
  let end = 0;
  const flush = (): void => {
    if (end === start) return;
    const contents = new SourceSlice(source, start, end - start);
    joined.push({ what: 'bytes that stay in place', offset: start, size: end - start, contents });
  };
  for (const part of parts) {
    if (part.offset > end) {
      flush();
      start = part.offset;
    }
    end = Math.max(end, part.offset + part.size);
  }
  flush();
  return joined;
}
