/**
 * Temporary files whose makers were killed. Their names hold the process id and a mark for boot and pid
 * namespace, because a pid means nothing elsewhere: a file that another machine or container is
 * writing into the same directory stays.
 *
 * @module
 */
import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, readlinkSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';

/** Names are this, the process id, twelve random characters and the mark, with `-` between them. */
export const TEMPORARY_PREFIX = '.unexec';
const NAME = /^\.unexec-([1-9]\d{0,9})-[^-]+-([0-9a-f]{8})$/;

/** Stands for this boot of this machine and this pid namespace. */
export function ownMark(): string {
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1');
  return createHash('sha256')
    .update(boot)
    .update(readlinkSync('/proc/self/ns/pid'))
    .digest('hex')
    .slice(0, 8);
}

/** Removes our user's temporary files of dead processes from a directory; what cannot be removed stays. */
export function removeStale(directory: string): void {
  const mark = ownMark();
  for (const name of namesIn(directory)) {
    const [, pid, marked] = NAME.exec(name) ?? [];
    if (pid === undefined || marked !== mark || isAlive(Number(pid))) continue;
    try {
      const path = join(directory, name);
      const stat = lstatSync(path);
      if (stat.isFile() && stat.uid === process.geteuid?.()) unlinkSync(path);
    } catch {
      // gone meanwhile, or not ours to remove
    }
  }
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return []; // what is wrong with it is found when the file is made
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: alive, another user's.
    return !(error instanceof Error && 'code' in error && error.code === 'ESRCH');
  }
}
