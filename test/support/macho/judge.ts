/**
 * What readers of Mach-O say of a file: LLVM's, which are strict about offsets and overlaps, lldb, and our own
 * verifier, which knows the rules of dyld, xnu and codesign. A complaint is text on stderr, a status other than 0, a crash, or a remark in the output such as
 * `past end of file`.
 *
 * @module
 */
import { verifyFile } from '../../../unexec/verify-file.ts';
import { type Outcome, run } from '../run.ts';

interface Reader {
  readonly command: string;
  readonly args: (path: string) => readonly string[];
  readonly debianPackage: string;
}

const LLVM = 'llvm-19';

const OBJDUMP: readonly string[] = [
  ...['--macho', '--arch=all', '--private-headers', '--rebase', '--bind', '--lazy-bind', '--weak-bind'],
  ...['--chained-fixups', '--dyld-info', '--exports-trie', '--function-starts', '--data-in-code'],
  ...['--indirect-symbols', '--dylibs-used', '--unwind-info'],
];

const READERS: readonly Reader[] = [
  { command: 'llvm-objdump-19', args: path => [...OBJDUMP, path], debianPackage: LLVM },
  { command: 'llvm-objdump-19', args: path => ['--section-headers', '--syms', path], debianPackage: LLVM },
  { command: 'llvm-otool-19', args: path => ['-arch', 'all', '-l', path], debianPackage: LLVM },
  { command: 'llvm-nm-19', args: path => ['-m', '--arch=all', path], debianPackage: LLVM },
  {
    command: 'llvm-readobj-19',
    args: path => ['--file-headers', '--sections', '--symbols', '--macho-segment', '--macho-dysymtab', path],
    debianPackage: LLVM,
  },
  { command: 'llvm-size-19', args: path => ['-m', '-l', path], debianPackage: LLVM },
  { command: 'llvm-dwarfdump-19', args: path => ['--uuid', path], debianPackage: LLVM },
  {
    command: 'lldb-19',
    args: path => ['-b', '-x', '-o', `target create "${path}"`, '-o', 'image dump sections'],
    debianPackage: 'lldb-19',
  },
];

/** LLVM says of a large zero-fill section, which is at no offset, that it goes past the end of the file. */
const REMARK =
  /past (the )?end of(?! file\)\n\s+offset 0\n)|malformed|inconsistent|not in a section|\bbad \w+ ?[Ii]ndex|^(error|warning): .*/im;

/** Fails with all complaints about a Mach-O file. */
export async function judgeMachO(path: string): Promise<void> {
  const found = await complaints(path);
  if (found.length > 0) throw new Error(`${path}:\n${found.join('\n')}`);
}

/** One text for each reader that complains: which, and what of. */
export async function complaints(path: string): Promise<string[]> {
  const found = verifyFile(path).findings.map(({ code, message }) => `unexec verify: ${code}: ${message}`);
  for (const reader of READERS) {
    const { command, args } = reader;
    const complaint = complaintOf(await outcomeOf(reader, path));
    if (complaint !== undefined) found.push(`${command} ${args(path).join(' ')}: ${complaint}`);
  }
  return found;
}

async function outcomeOf({ command, args, debianPackage }: Reader, path: string): Promise<Outcome> {
  try {
    return await run(`/usr/bin/${command}`, { args: args(path) });
  } catch (cause) {
    throw new Error(`${command} is missing: apt-get install ${debianPackage}`, { cause });
  }
}

function complaintOf({ stdout, stderr, status, signal }: Outcome): string | undefined {
  if (signal !== null) return `ended by ${signal}`;
  if (stderr.trim() !== '') return `status ${status}, ${firstLines(stderr)}`;
  if (status !== 0) return `status ${status}`;
  const remark = REMARK.exec(stdout);
  return remark === null ? undefined : firstLines(stdout.slice(stdout.lastIndexOf('\n', remark.index) + 1));
}

const firstLines = (text: string): string => text.trim().split('\n').slice(0, 3).join('\n');
