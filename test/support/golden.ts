/**
 * Texts that are compared with files of test/golden. `UPDATE_GOLDEN=1` writes them anew.
 *
 * @module
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { ROOT } from './sandbox.ts';

export function matchesGolden(t: ExecutionContext, name: string, text: string): void {
  const path = join(ROOT, 'test/golden', name);
  if (process.env['UPDATE_GOLDEN'] === '1') {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
  t.is(text, readFileSync(path, 'utf8'), `${name}: UPDATE_GOLDEN=1 writes it anew`);
}
