/**
 * The file to be written: made beside the target under another name, made durable, and renamed onto it.
 * Whatever happens on the way, the target is the old one or the new one, whole. Mode 0700 less the
 * umask, unless told otherwise: the file holds a process's memory.
 *
 * A process that is killed (SIGKILL) cannot remove its temporary file. The name says who made it, and the
 * next one to write into that directory removes what dead processes left. Facts: open(2), rename(2).
 *
 * @module
 */
import { closeSync, constants, fchmodSync, fstatSync, lstatSync, type Stats } from 'node:fs';
import { type FileHandle, open, rename } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { file as temporaryFile } from 'tmp-promise';
import { UnexecError } from './errors.ts';
import { ownMark, removeStale, TEMPORARY_PREFIX } from './stale-files.ts';

const MODE = 0o700;

export interface TargetFile {
  readonly path: string;
  readonly temporaryPath: string;
  readonly handle: FileHandle;
  /**
   * Runs `use` while nobody has the file open for writing, so that it can be executed (ETXTBSY). The
   * handle is another one afterwards.
   */
  whileClosed<T>(use: () => Promise<T>): Promise<T>;
  /**
   * fsync, close, rename.
   *
   * @throws UnexecError `TARGET_NO_SPACE`, `TARGET_UNWRITABLE`, and those of `openTarget` for a target
   *   that has changed meanwhile
   */
  commit(): Promise<void>;
  /** Removes the temporary file, if it is still there. */
  abandon(): Promise<void>;
  /** What a failure of a write means for the target; other errors as they are. */
  explain(error: unknown): unknown;
}

/**
 * Opens a temporary file beside the target, which will get this mode less the umask.
 *
 * @throws UnexecError `TARGET_IS_LINK`, `TARGET_IS_NOT_A_FILE`, `TARGET_NOT_OURS`, `TARGET_UNWRITABLE`,
 *   `TARGET_NO_SPACE`
 */
export async function openTarget(target: string, { mode = MODE } = {}): Promise<TargetFile> {
  const path = resolve(target);
  if (target.endsWith('/')) throw notAFile(path, 'names a directory');
  checkReplaceable(path);
  const directory = dirname(path);
  removeStale(directory);
  const temporary = await createTemporary(path, directory);
  let { handle } = temporary;
  let isOpen = true;
  const close = async (): Promise<void> => {
    if (!isOpen) return;
    isOpen = false;
    await handle.close();
  };
  const explain = (error: unknown): unknown => explainWrite(path, error);
  return {
    path,
    temporaryPath: temporary.path,
    get handle() {
      return handle;
    },
    explain,
    async whileClosed(use) {
      const before = await handle.stat();
      await close();
      const result = await use();
      handle = await reopen(temporary.path, before);
      isOpen = true;
      return result;
    },
    async commit() {
      try {
        await handle.chmod(mode & ~process.umask());
        await handle.sync();
        await close();
        checkReplaceable(path);
        await rename(temporary.path, path);
        await syncDirectory(directory);
      } catch (error) {
        throw explain(error);
      }
    },
    async abandon() {
      await close().catch(() => undefined);
      await temporary.remove().catch(() => undefined); // renamed already
    },
  };
}

interface Temporary {
  readonly path: string;
  readonly handle: FileHandle;
  remove(): Promise<void>;
}

async function createTemporary(path: string, directory: string): Promise<Temporary> {
  const made = await temporaryFile({
    tmpdir: directory,
    prefix: TEMPORARY_PREFIX,
    postfix: ownMark(),
    mode: MODE,
    detachDescriptor: true,
  }).catch((cause: unknown) => {
    const explained = explainWrite(path, cause);
    throw explained === cause ? unwritable(path, cause) : explained;
  });
  try {
    // A umask may have taken from us what we need ourselves; `commit` has the last word on the mode.
    fchmodSync(made.fd, MODE);
    return { path: made.path, handle: await reopen(made.path, fstatSync(made.fd)), remove: made.cleanup };
  } catch (error) {
    await made.cleanup().catch(() => undefined);
    throw explainWrite(path, error);
  } finally {
    closeSync(made.fd);
  }
}

/** Opens our file again: in a directory where others may rename, its name may lead elsewhere by now. */
async function reopen(path: string, expected: Stats): Promise<FileHandle> {
  const handle = await open(path, constants.O_RDWR | constants.O_NOFOLLOW);
  const found = await handle.stat();
  if (found.dev === expected.dev && found.ino === expected.ino) return handle;
  await handle.close();
  throw new UnexecError('TARGET_UNWRITABLE', `${path} was replaced by another file while it was written`, {
    path,
    hint: 'choose a directory in which only you may write',
  });
}

function checkReplaceable(path: string): void {
  const stat = statOf(path);
  if (stat === undefined) return;
  if (stat.isSymbolicLink()) {
    throw new UnexecError(
      'TARGET_IS_LINK',
      `${path} is a symbolic link, which would be replaced, not followed`,
      { path, hint: 'name the file that it leads to, or remove the link' },
    );
  }
  if (!stat.isFile()) throw notAFile(path, stat.isDirectory() ? 'is a directory' : 'is no regular file');
  const uid = process.geteuid?.();
  if (uid !== undefined && stat.uid !== uid) {
    throw new UnexecError('TARGET_NOT_OURS', `${path} belongs to user ${stat.uid}, not to user ${uid}`, {
      path,
      hint: 'remove it first, or choose another name',
    });
  }
}

function statOf(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch (cause) {
    throw unwritable(path, cause);
  }
}

const notAFile = (path: string, what: string): UnexecError =>
  new UnexecError('TARGET_IS_NOT_A_FILE', `${path} ${what}, expected the name of a file`, {
    path,
    hint: 'choose a name that is free, or that of a file to be replaced',
  });

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : String(error);

function unwritable(path: string, cause: unknown): UnexecError {
  const directory = dirname(path);
  return new UnexecError('TARGET_UNWRITABLE', `no file can be made in ${directory}: ${codeOf(cause)}`, {
    path,
    cause,
    hint: 'choose a directory that exists and that you may write, and a name that is not too long',
  });
}

/** What makes a write fail although the file is open, and what helps. */
const WRITE_FAILURES: ReadonlyMap<string, readonly [code: string, what: string, hint: string]> = new Map([
  ['ENOSPC', ['TARGET_NO_SPACE', 'there is no space left', 'make room, or choose another file system']],
  ['EDQUOT', ['TARGET_NO_SPACE', 'your disk quota is used up', 'make room, or choose another file system']],
  [
    'EFBIG',
    [
      'TARGET_NO_SPACE',
      'the file would be larger than allowed',
      'see ulimit -f, or choose another file system',
    ],
  ],
  ['EROFS', ['TARGET_UNWRITABLE', 'the file system is read-only', 'choose another directory']],
  ['EIO', ['TARGET_UNWRITABLE', 'the disk fails (EIO)', 'see what the kernel says: dmesg']],
]);
/** System calls by which this directory is written, as Node names them in errors. */
const WRITING: ReadonlySet<string> = new Set(['write', 'open', 'ftruncate', 'fsync', 'fchmod', 'rename']);

function explainWrite(path: string, error: unknown): unknown {
  if (!(error instanceof Error) || !('syscall' in error) || !WRITING.has(String(error.syscall))) return error;
  if (error.syscall === 'rename') return unwritable(path, error);
  const [code, what, hint] = WRITE_FAILURES.get(codeOf(error)) ?? [];
  if (code === undefined) return error;
  return new UnexecError(code, `${path} cannot be written: ${what}`, {
    path,
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** Makes the new name durable. Some file systems refuse to sync a directory: then there is no more to do. */
async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r').catch(() => undefined); // writable, yet not readable
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}
