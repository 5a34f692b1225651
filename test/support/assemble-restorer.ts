/**
 * Assembles unexec/restorer/x86_64.S with GNU as. Run by itself (`npm run restorer`) it writes the
 * bytes into x86_64.ts; the test compares them with what is there.
 *
 * @module
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/** The machine code of x86_64.S, in hexadecimal. */
export function assembleRestorer(): string {
  const dir = mkdtempSync(join(tmpdir(), 'unexec-as-'));
  try {
    const object = join(dir, 'restorer.o');
    const binary = join(dir, 'restorer.bin');
    execFileSync('as', ['-o', object, join(root, 'unexec/restorer/x86_64.S')]);
    execFileSync('objcopy', ['-O', 'binary', '-j', '.text', object, binary]);
    return readFileSync(binary).toString('hex');
  } finally {
    rmSync(dir, { recursive: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const rows = assembleRestorer().match(/.{1,96}/g) ?? [];
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
${rows.map(row => `  '${row}',`).join('\n')}
].join('');

export const RESTORER_X86_64: Uint8Array = new Uint8Array(Buffer.from(HEX, 'hex'));
/** Offset of the code in its page, after the ELF header and program headers. */
export const RESTORER_CODE_OFFSET = 0x400;
/** Offset of the data from the start of the code's page. */
export const RESTORER_DATA_OFFSET = 0x1000;
`,
  );
}
