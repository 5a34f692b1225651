/**
 * Machine code that is kept in the source: assembled with GNU as, and written as a TypeScript file.
 *
 * @module
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository. */
export const root: string = fileURLToPath(new URL('../../../', import.meta.url));

/** The machine code of an assembler file of the repository, in hexadecimal. */
export function assemble(source: string, arch: 'x86_64' | 'aarch64' = 'x86_64'): string {
  const dir = mkdtempSync(join(tmpdir(), 'unexec-as-'));
  try {
    const object = join(dir, 'code.o');
    const binary = join(dir, 'code.bin');
    execFileSync(`${arch}-linux-gnu-as`, ['-o', object, join(root, source)]);
    execFileSync(`${arch}-linux-gnu-objcopy`, ['-O', 'binary', '-j', '.text', object, binary]);
    return readFileSync(binary).toString('hex');
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** The rows of an array literal that holds the code. */
export const hexRows = (hex: string): string =>
  (hex.match(/.{1,96}/g) ?? []).map(row => `  '${row}',`).join('\n');
