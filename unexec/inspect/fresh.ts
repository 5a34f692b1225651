/**
 * What each start of a frozen file makes anew, in words. Of a process the restore program says it; of a program or a
 * library it follows from the style.
 *
 * @module
 */
import type { InspectedRegion, InspectedStep } from './model.ts';

/** Descriptors that are opened again by path, or made anew. */
interface Descriptors {
  readonly fds: readonly number[];
  readonly what: string;
}

export function freshInProcess(
  steps: readonly InspectedStep[],
  descriptors: readonly Descriptors[],
  regions: readonly InspectedRegion[],
  files: readonly { readonly path: string }[],
): string[] {
  const numbersOf = (type: RegExp): string =>
    descriptors
      .filter(({ what }) => type.test(what))
      .flatMap(({ fds }) => fds)
      .sort((a, b) => a - b)
      .join(', ');
  const fresh = ['arguments, environment and auxiliary vector', 'process and thread ids'];
  const stdio = numbersOf(/^(?:stdio|controlling-terminal)$/);
  if (stdio !== '') fresh.push(`descriptors ${stdio}: stdin, stdout, stderr and terminal of the caller`);
  const reopened = numbersOf(/^(?:regular|path) /);
  if (reopened !== '') fresh.push(`contents of what descriptors ${reopened} have open, by path`);
  const fromFiles = regions.filter(({ sharedWithFile }) => sharedWithFile > 0);
  const mapped = new Set(fromFiles.map(({ name }) => name));
  for (const { path } of files) mapped.delete(path);
  if (mapped.size > 0) fresh.push(`contents of mapped files: ${[...mapped].join(', ')}`);
  if (files.length > 0) {
    const paths = files.map(({ path }) => path).join(', ');
    fresh.push(`pages that are left in other files, which must be as they were: ${paths}`);
  }
  if (!steps.some(({ call }) => call === 'chdir')) fresh.push('working directory of the caller');
  if (regions.some(({ kernel }) => kernel > 0)) fresh.push('vdso and vvar of the kernel');
  return fresh;
}

export const freshInProgram = (libraries: readonly string[]): string[] => [
  'arguments, environment, stack and address of the program',
  'threads, descriptors, signal handlers: those of a new process',
  `libraries, and what they have allocated: ${libraries.join(', ') || 'none'}`,
];

export const freshInLibrary = (libraries: readonly string[]): string[] => [
  'address of the library, and what it imports',
  'thread-local variables, for each thread',
  `other libraries, and what they have allocated: ${libraries.join(', ') || 'none'}`,
];
