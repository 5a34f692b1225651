/**
 * lldb as a reader of cores, and as a writer of them: it cannot run Darwin's programs here, but it can save
 * again what it has loaded.
 *
 * @module
 */
import { run } from '../run.ts';

/** What lldb says to commands about a core. The executable may be left out. */
export async function lldb(
  executable: string | undefined,
  core: string,
  commands: readonly string[],
): Promise<string> {
  const open = `target create ${executable === undefined ? '' : `"${executable}"`} --core "${core}"`;
  const args = ['-b', '-x', ...[open, ...commands].flatMap(command => ['-o', command])];
  const { stdout, stderr, status, signal } = await run('/usr/bin/lldb-19', { args }).catch(cause => {
    throw new Error('lldb-19 is missing: apt-get install lldb-19', { cause });
  });
  if (signal !== null) throw new Error(`lldb-19 was ended by ${signal}\n${stderr}`);
  if (status !== 0) throw new Error(`lldb-19: status ${status}\n${stderr}`);
  return `${stdout}${stderr}`;
}

/** Writes the core again, whole, with lldb's `process save-core`. The executable gives the target its triple. */
export async function lldbSaveCore(executable: string, core: string, output: string): Promise<void> {
  const said = await lldb(executable, core, [`process save-core -s full -pmach-o "${output}"`]);
  if (/^error:/m.test(said)) throw new Error(`lldb-19: process save-core\n${said}`);
}
