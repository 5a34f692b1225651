/**
 * The file to be written: made beside the target under another name, made durable, and renamed onto it.
 * Whatever happens on the way, the target is the old one or the new one, whole. Mode 0700 less the
 * umask: the file holds a process's memory.
 *
 * @module
 */
import { lstatSync } from 'node:fs';
import { type FileHandle, open, rename } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { file as temporaryFile } from 'tmp-promise';
import { UnexecError } from './errors.ts';

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
  /** fsync, close, rename. */
  commit(): Promise<void>;
  /** Removes the temporary file, if it is still there. */
  abandon(): Promise<void>;
}

/**
 * Opens a temporary file beside the target.
 *
 * @throws UnexecError `TARGET_IS_LINK`, `TARGET_IS_NOT_A_FILE`, `TARGET_NOT_OURS`, `TARGET_UNWRITABLE`
 */
export async function openTarget(target: string): Promise<TargetFile> {
  const path = resolve(target);
  checkReplaceable(path);
  const directory = dirname(path);
  const temporary = await temporaryFile({
    tmpdir: directory,
    prefix: `.${basename(path).slice(0, 100)}`,
    mode: MODE,
    discardDescriptor: true,
  }).catch((cause: unknown) => {
    throw unwritable(path, directory, cause);
  });
  let handle = await open(temporary.path, 'r+');
  // tmp makes the file with exactly this mode; the caller's umask may want less.
  await handle.chmod(MODE & ~process.umask());
  let isOpen = true;
  const close = async (): Promise<void> => {
    if (isOpen) await handle.close();
    isOpen = false;
  };
  return {
    path,
    temporaryPath: temporary.path,
    get handle() {
      return handle;
    },
    async whileClosed(use) {
      await close();
      const result = await use();
      handle = await open(temporary.path, 'r+');
      isOpen = true;
      return result;
    },
    async commit() {
      await handle.sync();
      await close();
      checkReplaceable(path);
      await rename(temporary.path, path);
      await syncDirectory(directory);
    },
    async abandon() {
      await close();
      await temporary.cleanup().catch(() => undefined); // renamed already
    },
  };
}

function checkReplaceable(path: string): void {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (stat.isSymbolicLink()) {
    throw new UnexecError(
      'TARGET_IS_LINK',
      `${path} is a symbolic link, which would be replaced, not followed`,
      {
        path,
        hint: 'name the file that it leads to, or remove the link',
      },
    );
  }
  if (!stat.isFile()) {
    throw new UnexecError('TARGET_IS_NOT_A_FILE', `${path} exists and is no regular file`, { path });
  }
  const uid = process.geteuid?.();
  if (uid !== undefined && stat.uid !== uid) {
    throw new UnexecError('TARGET_NOT_OURS', `${path} belongs to user ${stat.uid}, not to user ${uid}`, {
      path,
      hint: 'remove it first, or choose another name',
    });
  }
}

function unwritable(path: string, directory: string, cause: unknown): UnexecError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
  return new UnexecError('TARGET_UNWRITABLE', `no file can be made in ${directory}: ${code}`, {
    path,
    cause,
    hint: 'choose a directory that exists and that you may write',
  });
}

/** Makes the new name durable. Some file systems refuse to sync a directory: then there is no more to do. */
async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  await handle.sync().catch(() => undefined);
  await handle.close();
}
