/**
 * Assembles the restorer of each architecture (unexec/restorer/*.S) with GNU as. Run by itself
 * (`npm run restorer`) it writes the bytes into the .ts beside; the tests compare them with what is there.
 *
 * @module
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Arch } from '../../unexec/image.ts';
import { assemble, hexRows, root } from './assemble.ts';

const ARCHES: readonly Arch[] = ['x86_64', 'aarch64'];

/** The machine code of a restorer, in hexadecimal. */
export const assembleRestorer = (arch: Arch): string => assemble(`unexec/restorer/${arch}.S`, arch);

const moduleOf = (arch: Arch): string => `/**
 * The machine code of the restorer for ${arch.replace('_', '-')}, assembled from ${arch}.S by \`npm run restorer\`; a test
 * compares the two. Position independent; machine-code.ts tells how it wants to be loaded.
 *
 * @module
 */
import { Buffer } from 'node:buffer';

// biome-ignore format: written by a program
const HEX = [
${hexRows(assembleRestorer(arch))}
].join('');

export const RESTORER_${arch.toUpperCase()}: Uint8Array = new Uint8Array(Buffer.from(HEX, 'hex'));
`;

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const arch of ARCHES) writeFileSync(join(root, `unexec/restorer/${arch}.ts`), moduleOf(arch));
}
