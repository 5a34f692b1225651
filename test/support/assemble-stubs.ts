/**
 * Assembles the functions of unexec/frozen-allocations and unexec/zeroed-allocations with GNU as. Run by itself
 * (`npm run stubs`) it writes the bytes into x86_64.ts of each; the tests compare them with what is there.
 *
 * @module
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { assemble, hexRows, root } from './assemble.ts';

const FOLDERS = [
  {
    folder: 'unexec/frozen-allocations',
    name: 'STUBS_X86_64',
    what: 'What a frozen library calls in place of free and realloc',
  },
  {
    folder: 'unexec/zeroed-allocations',
    name: 'ZEROED_X86_64',
    what: 'What a library calls in place of malloc while it is initialised',
  },
] as const;

/** The machine code of a folder's x86_64.S, in hexadecimal. */
export const assembleStubs = (folder: (typeof FOLDERS)[number]['folder']): string =>
  assemble(`${folder}/x86_64.S`);

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const { folder, name, what } of FOLDERS) {
    writeFileSync(
      join(root, folder, 'x86_64.ts'),
      `/**
 * ${what}, for x86-64, assembled from x86_64.S by
 * \`npm run stubs\`; a test compares the two.
 *
 * @module
 */
import { Buffer } from 'node:buffer';

// biome-ignore format: written by a program
const HEX = [
${hexRows(assembleStubs(folder))}
].join('');

export const ${name}: Uint8Array = new Uint8Array(Buffer.from(HEX, 'hex'));
`,
    );
  }
}
