/** docs/process-state.md names every code by which a process is refused, and no other. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { ROOT } from '../../support/sandbox.ts';

/** Where processes, and cores of them, are looked at. */
const SOURCES = ['linux', 'sources', 'elf-core'].map(name => join(ROOT, 'unexec', name));

/** Codes of reasons: `code: 'X'` in a reason, `refuse(file, 'X', …)` of a descriptor. */
function codesOfSources(): string[] {
  const codes = new Set<string>();
  const paths = SOURCES.flatMap(at =>
    readdirSync(at, { recursive: true, encoding: 'utf8' }).map(path => join(at, path)),
  );
  for (const path of paths.filter(path => path.endsWith('.ts'))) {
    const text = readFileSync(path, 'utf8');
    for (const [, code = ''] of text.matchAll(/(?:\bcode: |\brefuse\(\s*file,\s*)'([A-Z0-9_]+)'/g))
      codes.add(code);
  }
  return [...codes].sort();
}

/** Codes in the first column of a table. */
function codesOfDocument(): string[] {
  const text = readFileSync(join(ROOT, 'docs/process-state.md'), 'utf8');
  const refused = text.slice(text.indexOf('## Refused'), text.indexOf('## What nobody can see'));
  const rows = refused.match(/^\| `[A-Z0-9_`, ]+ \|/gm) ?? [];
  return rows.flatMap(row => [...row.matchAll(/`([A-Z0-9_]+)`/g)].map(([, code = '']) => code)).sort();
}

test('docs/process-state.md names every code by which a process is refused', t => {
  const codes = codesOfSources();
  t.true(codes.length > 40, codes.join(' '));
  t.deepEqual(codesOfDocument(), codes);
});
