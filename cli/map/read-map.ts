/**
 * The data of a map from a file on disk.
 *
 * @module
 */
import { basename } from 'node:path';
import {
  describeFile,
  type FileDescription,
  FormatError,
  findZeroPages,
} from '../../formats/describe/index.ts';
import { UnexecError } from '../../unexec/errors.ts';
import { type FileSource, openRegularFile } from '../../unexec/file-source.ts';
import { type Embedded, symbolTableOf } from './embedded.ts';
import { mapDataOf } from './map-data.ts';
import type { Order } from './view.ts';

/**
 * Reads a file; its symbols only where they are wanted.
 *
 * @throws UnexecError `FILE_UNREADABLE`, `NO_MEMORY` where there is none to be drawn, or with the code of the FormatError that the file gave; the signal's reason
 */
export async function readMap(
  path: string,
  {
    withSymbols,
    order,
    signal,
  }: { readonly withSymbols: boolean; readonly order: Order; readonly signal: AbortSignal },
): Promise<Embedded> {
  const source = openRegularFile(path);
  try {
    const file = describeFile(source);
    if (order === 'memory' && file.images.every(({ memory }) => memory.length === 0)) {
      const message = `${path} has no addresses: it is a relocatable, which only a linker gives some`;
      throw new UnexecError('NO_MEMORY', message, { path, hint: 'draw it without --memory' });
    }
    const bits = await zeroBitsOf(source, signal);
    return { map: mapDataOf(file, basename(path), bits), symbols: withSymbols ? tablesOf(file) : [] };
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    const { code, message } = error;
    throw new UnexecError(code, `${path} cannot be read: ${message}`, { path, cause: error });
  } finally {
    source.close();
  }
}

async function zeroBitsOf(source: FileSource, signal: AbortSignal): Promise<Uint8Array> {
  const scanning = findZeroPages(source);
  for (;;) {
    const { done, value } = scanning.next();
    if (done) return value;
    // Lets a signal be noticed.
    await new Promise(setImmediate);
    signal.throwIfAborted();
  }
}

/** A symbol table that makes no sense leaves a map without symbols. */
const tablesOf = (file: FileDescription): Embedded['symbols'] =>
  file.images.map(image => {
    try {
      return symbolTableOf(image);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      return { isRelocatable: false, names: [], distances: [], sizes: [], types: [] };
    }
  });
