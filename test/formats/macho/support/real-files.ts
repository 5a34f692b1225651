/**
 * The Mach-O files in the real macOS files, one after the other, read from the disk as they are needed.
 *
 * @module
 */
import { isFat, type MachOFile, readFat, readMachO } from '../../../../formats/macho/index.ts';
import type { ByteSource } from '../../../../formats/source.ts';
import { conformanceFiles } from '../../../support/conformance-files.ts';
import { withFile } from '../../elf/support/files.ts';

export interface RealFile {
  /** Package, path and architecture. */
  readonly name: string;
  readonly path: string;
  /** `x86_64`, `arm64`: what tools call it. */
  readonly arch: string;
  readonly file: MachOFile;
  /** Of the one architecture. */
  readonly source: ByteSource;
}

const ARCHES: Readonly<Record<number, string>> = { 16777223: 'x86_64', 16777228: 'arm64' };

/** Each architecture of each real file, and of `more` files; valid until `use` returns. Their number. */
export function forEachRealFile(
  use: (file: RealFile) => void,
  more: readonly { name: string; path: string }[] = [],
): number {
  let count = 0;
  for (const { name, path } of [...conformanceFiles(), ...more]) {
    withFile(path, whole => {
      for (const source of thinFiles(whole)) {
        const file = readMachO(source);
        const arch = ARCHES[file.header.cputype] ?? 'unknown';
        use({ name: `${name} ${arch}`, path, arch, file, source });
        count++;
      }
    });
  }
  return count;
}

function thinFiles(source: ByteSource): ByteSource[] {
  if (!isFat(source.read(0, 4))) return [source];
  return readFat(source).architectures.map(({ contents }) => {
    if (contents instanceof Uint8Array) throw new Error('a fat file that was read has sources');
    return contents;
  });
}
