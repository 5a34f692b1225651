/**
 * Whether processes of the machine that we run on can be frozen. Facts: getauxval(3) (AT_PAGESZ).
 *
 * @module
 */
import { UnexecError } from '../errors.ts';
import { PAGE } from '../image.ts';
import { readAuxv } from './proc.ts';

const MACHINES: readonly string[] = ['x64', 'arm64'];
const AT_PAGESZ = 6;

/** @throws UnexecError `UNSUPPORTED_MACHINE`, `UNSUPPORTED_PAGE_SIZE` */
export function requireSupportedMachine(): void {
  if (process.platform !== 'linux' || !MACHINES.includes(process.arch)) {
    throw new UnexecError(
      'UNSUPPORTED_MACHINE',
      `processes of ${process.platform} on ${process.arch} cannot be frozen, only those of linux on ${MACHINES.join(' or ')}`,
      { hint: 'of a Mach-O program take a core, and give that' },
    );
  }
  const size = Number(readAuxv(process.pid).values.get(AT_PAGESZ) ?? PAGE);
  if (size === PAGE) return;
  throw new UnexecError(
    'UNSUPPORTED_PAGE_SIZE',
    `the pages of this kernel have ${size / 1024} KiB; processes can be frozen where they have 4 KiB`,
    { hint: 'run it on a kernel with 4 KiB pages: getconf PAGESIZE tells' },
  );
}
