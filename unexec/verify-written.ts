/**
 * The last pass over a file that was made from another one: it is verified by the rules of its format, and may
 * break none that the file it was made from does not break as well.
 *
 * @module
 */
import { UnexecError } from './errors.ts';
import { verifyFile } from './verify-file.ts';

/** @throws UnexecError `VERIFY_FAILED`, with all that is wrong */
export function verifyWritten(path: string, original: string): void {
  const known = new Set(verifyFile(original).findings.map(({ code }) => code));
  const wrong = verifyFile(path).findings.filter(({ code }) => !known.has(code));
  if (wrong.length === 0) return;
  throw new UnexecError(
    'VERIFY_FAILED',
    `the written file is wrong: ${wrong.map(({ message }) => message).join('; ')}`,
    { path, hint: 'this is a fault of unexec: please report it' },
  );
}
