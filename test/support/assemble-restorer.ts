/**
 * Assembles unexec/restorer/x86_64.S with GNU as. Run by itself (`npm run restorer`) it writes the
 * bytes into x86_64.ts; the test compares them with what is there.
 *
 * @module
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { assemble, hexRows, root } from './assemble.ts';

/** The machine code of x86_64.S, in hexadecimal. */
export const assembleRestorer = (): string => assemble('unexec/restorer/x86_64.S');

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(
    join(root, 'unexec/restorer/x86_64.ts'),
    `/**
 * The machine code of the restorer for x86-64, assembled from x86_64.S by \`npm run restorer\`; a test
 * compares the two. Position independent; its data must be one page after its first page.
 *
 * @module
 */
import { Buffer } from 'node:buffer';

// biome-ignore format: written by a program
const HEX = [
${hexRows(assembleRestorer())}
].join('');

export const RESTORER_X86_64: Uint8Array = new Uint8Array(Buffer.from(HEX, 'hex'));
/** Offset of the code in its page, after the ELF header and program headers. */
export const RESTORER_CODE_OFFSET = 0x400;
/** Offset of the data from the start of the code's page. */
export const RESTORER_DATA_OFFSET = 0x1000;
`,
  );
}
