/**
 * Mach-O files for tests: what the written one has that its source has not, and models without a source.
 *
 * @module
 */
import {
  type Contents,
  contentsSize,
  isSegment,
  type MachOFile,
  type Piece,
  readContents,
} from '../../../../formats/macho/index.ts';
import type { ByteSource } from '../../../../formats/source.ts';

/** Where written pieces differ from the source; undefined where they do not. */
export function firstDifference(
  pieces: Iterable<Piece>,
  size: number,
  source: ByteSource,
): string | undefined {
  if (size !== source.size) return `${size} bytes for ${source.size}`;
  let position = 0;
  for (const { offset, bytes } of pieces) {
    // What no piece covers reads as zero.
    if (!source.read(position, offset - position).every(byte => byte === 0))
      return `zeros from ${position} on`;
    if (Buffer.compare(bytes, source.read(offset, bytes.length)) !== 0)
      return `another byte from ${offset} on`;
    position = offset + bytes.length;
  }
  return position === size ? undefined : `nothing from ${position} on`;
}

/** The same model, reading the same bytes, but not knowing any more that they are where they were. */
export function withoutSource(file: MachOFile): MachOFile {
  const foreign = (contents: Contents): ByteSource => ({
    size: contentsSize(contents),
    read: (offset, length) => readContents(contents, offset, length),
  });
  return {
    ...file,
    source: undefined,
    commands: file.commands.map(command =>
      isSegment(command) ? { ...command, contents: command.contents && foreign(command.contents) } : command,
    ),
    linkedit: file.linkedit.map(blob => ({ ...blob, contents: foreign(blob.contents) })),
    kept: file.kept.map(({ offset, contents }) => ({ offset, contents: foreign(contents) })),
  };
}
