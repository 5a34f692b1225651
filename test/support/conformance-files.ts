/**
 * Real macOS executables, libraries and bundles, out of npm packages whose versions are pinned in
 * .ci/macho-files.json. The set-up of the tests has fetched them.
 *
 * @module
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface ConformanceFile {
  /** `@rescript/darwin-x64 bin/bsc.exe`: package and path in it, as `file` takes it. */
  readonly name: string;
  /** Where it is on this machine. */
  readonly path: string;
}

const CACHE = '.cache/macho';

interface Row {
  readonly name: string;
  readonly version: string;
  readonly files: readonly string[];
}

/** All of them. */
export function conformanceFiles(): ConformanceFile[] {
  const rows: readonly Row[] = JSON.parse(readFileSync('.ci/macho-files.json', 'utf8'));
  return rows.flatMap(({ name, version, files }) => {
    const directory = join(process.cwd(), CACHE, `${name.replace(/^@/, '').replace('/', '-')}-${version}`);
    return files.map(file => {
      const path = join(directory, file);
      if (!existsSync(path)) throw new Error(`${path} is missing: run node .ci/setup.mjs test`);
      return { name: `${name} ${file}`, path };
    });
  });
}

/** One of them, by its name. */
export function conformanceFile(name: string): ConformanceFile {
  const found = conformanceFiles().find(file => file.name === name);
  if (found) return found;
  throw new Error(`.ci/macho-files.json has no ${JSON.stringify(name)}`);
}
