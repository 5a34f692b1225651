/**
 * General registers of a stopped thread as bytes, and by their names. Facts: ptrace(2).
 *
 * @module
 */
import { viewOf } from '../../../formats/struct.ts';

/** As ptrace(2) has them: 64-bit words in an order of the machine's own. */
export type RegisterFile = Uint8Array;

export function registersOf<Name extends string>(
  file: RegisterFile,
  names: readonly Name[],
): Readonly<Record<Name, bigint>> {
  const view = viewOf(file);
  const values: Partial<Record<Name, bigint>> = {};
  for (const [i, name] of names.entries()) values[name] = view.getBigUint64(i * 8, true);
  return values as Readonly<Record<Name, bigint>>;
}

export function fileOf<Name extends string>(
  registers: Readonly<Record<Name, bigint>>,
  names: readonly Name[],
): RegisterFile {
  const file = new Uint8Array(names.length * 8);
  const view = viewOf(file);
  for (const [i, name] of names.entries()) view.setBigUint64(i * 8, registers[name], true);
  return file;
}
