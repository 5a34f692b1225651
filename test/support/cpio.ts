/**
 * Archives as Linux unpacks them into its initial root file system: cpio's "new ASCII" format. Facts:
 * cpio(5) of libarchive, Documentation/driver-api/early-userspace/buffer-format.rst of Linux 6.1.
 *
 * @module
 */
import {
  closeSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';

const S_IFDIR = 0o040000;
const S_IFLNK = 0o120000;
const S_IFREG = 0o100000;

interface Entry {
  /** Without a leading slash. */
  readonly name: string;
  readonly mode: number;
  readonly content: Uint8Array;
}

/**
 * What an archive is made of, by path in it: a path of this machine (followed where it is a symbolic link),
 * of a whole directory too, or a text.
 */
export type ArchiveFiles = Readonly<
  Record<string, string | { readonly text: string; readonly mode: number }>
>;

/** Writes an archive of these files and of the directories that they are in. */
export function writeCpio(target: string, files: ArchiveFiles): void {
  const output = openSync(target, 'w');
  const made = new Set<string>();
  let inode = 1;
  const put = (entry: Entry): void => {
    if (made.has(entry.name)) return;
    made.add(entry.name);
    const parts = [header(entry, inode++), pad4(110 + entry.name.length + 1), entry.content];
    for (const part of [...parts, pad4(entry.content.length)]) writeSync(output, part);
  };
  try {
    for (const [path, source] of Object.entries(files)) {
      const name = path.replace(/^\//, '');
      for (const parent of parentsOf(name)) put({ name: parent, mode: S_IFDIR | 0o755, content: NOTHING });
      if (typeof source === 'string') {
        for (const entry of entriesOf(name, realpathSync(source))) put(entry);
      } else {
        put({ name, mode: S_IFREG | source.mode, content: Buffer.from(source.text) });
      }
    }
    put({ name: 'TRAILER!!!', mode: 0, content: NOTHING });
  } finally {
    closeSync(output);
  }
}

const NOTHING = new Uint8Array(0);

function parentsOf(name: string): string[] {
  const parts = name.split('/').slice(0, -1);
  return parts.map((_, i) => parts.slice(0, i + 1).join('/'));
}

function* entriesOf(name: string, source: string): Generator<Entry> {
  const stat = lstatSync(source);
  const mode = stat.mode & 0o7777;
  if (stat.isSymbolicLink()) {
    yield { name, mode: S_IFLNK | mode, content: Buffer.from(readlinkSync(source)) };
  } else if (stat.isDirectory()) {
    yield { name, mode: S_IFDIR | mode, content: NOTHING };
    for (const child of readdirSync(source)) yield* entriesOf(`${name}/${child}`, join(source, child));
  } else {
    yield { name, mode: S_IFREG | mode, content: readFileSync(source) };
  }
}

/** Magic, inode, mode, uid, gid, links, mtime, size, 4 device numbers, length of the name, checksum; the name. */
function header({ name, mode, content }: Entry, inode: number): Uint8Array {
  const fields = [inode, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, Buffer.byteLength(name) + 1, 0];
  return Buffer.from(`070701${fields.map(field => field.toString(16).padStart(8, '0')).join('')}${name}\0`);
}

const pad4 = (length: number): Uint8Array => new Uint8Array(-length & 3);
