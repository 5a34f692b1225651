/**
 * Assembles unexec/frozen-allocations/x86_64.S with GNU as. Run by itself (`npm run stubs`) it writes the
 * bytes into x86_64.ts; the test compares them with what is there.
 *
 * @module
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { assemble, hexRows, root } from './assemble.ts';

/** The machine code of x86_64.S, in hexadecimal. */
export const assembleStubs = (): string => assemble('unexec/frozen-allocations/x86_64.S');

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(
    join(root, 'unexec/frozen-allocations/x86_64.ts'),
    `/**
 * What a frozen library calls in place of free and realloc, for x86-64, assembled from x86_64.S by \`npm run stubs\`;
 * a test compares the two.
 *
 * @module
 */
import { Buffer } from 'node:buffer';

// biome-ignore format: written by a program
const HEX = [
${hexRows(assembleStubs())}
].join('');

export const STUBS_X86_64: Uint8Array = new Uint8Array(Buffer.from(HEX, 'hex'));
`,
  );
}
