/**
 * Freezes a program for a test: stdin is /dev/null and what it writes goes to a file, so that it is
 * known what it had written when it was frozen.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type FreezeOptions, type FreezeReport, freeze } from '../../unexec/freeze.ts';
import { AS_NOBODY, isRoot } from './run.ts';

export interface Frozen {
  /** The executable, mode 0755: anyone may run it. */
  readonly path: string;
  /** What the program wrote before it was frozen, stdout and stderr together. */
  readonly written: string;
  readonly report: Pick<
    FreezeReport,
    'reached' | 'fileSize' | 'storedBytes' | 'memoryBytes' | 'threads' | 'pid'
  >;
}

/** Freezes `program` into `path`. */
export async function freezeProgram(
  program: string,
  path: string,
  options: Omit<FreezeOptions, 'stdio'> & { readonly stdin?: string } = {},
): Promise<Frozen> {
  const { stdin = '/dev/null', ...rest } = options;
  const input = openSync(stdin, 'r');
  const output = openSync(`${path}.written`, 'w+', 0o666);
  try {
    const report = await freeze(program, path, { ...rest, stdio: [input, output, output] });
    chmodSync(path, 0o755);
    return { path, written: readFileSync(`${path}.written`, 'utf8'), report };
  } finally {
    closeSync(input);
    closeSync(output);
  }
}

/** The same in a process of its own that belongs to nobody, when we are root. */
export function freezeAsNobody(
  program: string,
  path: string,
  options: Parameters<typeof freezeProgram>[2] = {},
): Frozen {
  const self = fileURLToPath(import.meta.url);
  const command = [
    ...(isRoot ? AS_NOBODY : []),
    process.execPath,
    self,
    JSON.stringify([program, path, options]),
  ];
  const { status, stdout, stderr } = spawnSync(command[0] ?? '', command.slice(1), {
    encoding: 'utf8',
    cwd: '/',
  });
  if (status !== 0) throw new Error(`freezing as nobody: status ${status}\n${stderr}`);
  return JSON.parse(stdout);
}

/** A directory that nobody may write into, below `directory`. */
export function directoryForNobody(directory: string): string {
  const path = join(directory, 'nobody');
  mkdirSync(path, { recursive: true });
  chmodSync(path, 0o777);
  return path;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [program, path, options] = JSON.parse(process.argv[2] ?? '[]');
  const { report, ...frozen } = await freezeProgram(program, path, options);
  const { reached, fileSize, storedBytes, memoryBytes, threads } = report;
  const facts = { reached, fileSize, storedBytes, memoryBytes, threads };
  process.stdout.write(JSON.stringify({ ...frozen, report: facts }));
}
