/**
 * The last pass over a file that was made from another one: it is verified by the rules of its format, and may
 * break none more often than the file that it was made from.
 *
 * @module
 */
import { UnexecError } from './errors.ts';
import { verifyFile } from './verify-file.ts';

/** @throws UnexecError `VERIFY_FAILED`, with all that is wrong */
export function verifyWritten(path: string, original: string): void {
  const before = verifyFile(original).findings;
  const known = new Map<string, number>();
  for (const { code } of before) known.set(code, (known.get(code) ?? 0) + 1);
  const wrong = verifyFile(path).findings.filter(({ code }) => {
    const left = known.get(code) ?? 0;
    known.set(code, left - 1);
    return left <= 0;
  });
  if (wrong.length === 0) return;
  throw new UnexecError(
    'VERIFY_FAILED',
    `the written file is wrong: ${wrong.map(({ message }) => message).join('; ')}`,
    {
      path,
      hint:
        before.length === 0
          ? 'this is a fault of unexec: please report it'
          : `${original} breaks rules itself: see unexec verify`,
    },
  );
}
