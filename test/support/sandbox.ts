/**
 * A directory of its own for a test file, which goes away when its process ends. Everyone may look into
 * it: frozen programs are also run as another user.
 *
 * @module
 */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Root of the checkout; tests run from build/. */
export const ROOT: string = fileURLToPath(new URL('../../../', import.meta.url));

/** Path of a new directory, mode 0755. */
export function sandbox(name: string): string {
  const path = mkdtempSync(join(tmpdir(), `unexec-${name}-`));
  chmodSync(path, 0o755);
  process.on('exit', () => rmSync(path, { recursive: true, force: true }));
  return path;
}
