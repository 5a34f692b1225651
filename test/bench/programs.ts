/**
 * The programs that are measured. Each can `start` (load all, do a small piece of work, end), `freeze`
 * (load all, stop itself at the point where it is frozen, work, end) and, where its language can, `fork`
 * (load all, and fork a child for each piece of work). Apart from the C programs, what is frozen or
 * forked has done the work once before, as one would with a program that is to be frozen; the runtime's
 * own saved image is made of the same state.
 *
 * @module
 */
import { join } from 'node:path';
import { compileTo } from '../support/compile.ts';
import { ROOT } from '../support/sandbox.ts';
import { FIRST_INSTRUCTION } from './goals.ts';
import { type SavedImage, saveEmacs, saveNode, saveSbcl } from './saved-images.ts';

export interface Program {
  readonly id: string;
  readonly title: string;
  /** Program, as an absolute path, and arguments. */
  readonly command: (mode: 'start' | 'freeze' | 'fork') => readonly string[];
  /** How a warm process forks: as its mode, where it would stop (fork-at-stop.c), or not at all and why. */
  readonly fork: 'itself' | 'at stop' | { readonly none: string };
  /** Makes the runtime's own saved image of the same state at a path. */
  readonly save: ((path: string) => SavedImage) | { readonly none: string };
  /** Why a training run would teach nothing. */
  readonly untrained?: string;
  /** It prints what it found, so that a start and a resume can be compared. */
  readonly prints: boolean;
  /** Bytes of memory that it holds, where that is much. */
  readonly memory?: number;
}

const PROGRAMS = join(ROOT, 'test/bench/programs');
const NO_IMAGE = { none: 'the language has no saved images' };
const GIB = 2 ** 30;

/** The rows of the table; C programs are built into `directory`. */
export function benchPrograms(directory: string): Program[] {
  const heap = join(directory, 'heap');
  compileTo(heap, join(PROGRAMS, 'heap.c'), ['-O2']);
  return [
    script('perl', 'perl: POSIX Encode Storable JSON::PP', ['/usr/bin/perl', source('perl.pl')]),
    script('python', 'python3: 16 modules', ['/usr/bin/python3', source('python.py')]),
    script('guile', 'guile: 10 modules', ['/usr/bin/guile', '--no-auto-compile', source('guile.scm')]),
    emacs(),
    node(),
    {
      ...script('sbcl', 'sbcl: asdf, 7 contribs', ['/usr/bin/sbcl', '--script', source('sbcl.lisp')]),
      save: path => saveSbcl(source('sbcl.lisp'), path),
    },
    inC('heap', 'C: 1 GiB, 64 MiB written', [heap, '1024', '64', '1']),
    inC('heap-spread', 'C: 1 GiB, every 16th page written', [heap, '1024', '64', '16']),
    endsAtOnce(FIRST_INSTRUCTION.empty, 'C: _exit', [heap, '0']),
    endsAtOnce(FIRST_INSTRUCTION.small, 'C: _exit, 16 MiB', [heap, '16']),
    endsAtOnce(FIRST_INSTRUCTION.large, 'C: _exit, 1 GiB', [heap, '1024']),
  ];
}

const source = (name: string): string => join(PROGRAMS, name);

function script(id: string, title: string, words: readonly string[]): Program {
  return { id, title, command: mode => [...words, mode], fork: 'itself', save: NO_IMAGE, prints: true };
}

function emacs(): Program {
  const words = ['/usr/bin/emacs', '--batch', '-Q', '-l', source('emacs.el'), '--eval'];
  return {
    id: 'emacs',
    title: 'emacs: org, gnus',
    command: mode => [...words, `(bench-run "${mode}")`],
    fork: 'at stop',
    save: path => saveEmacs(words, path),
    prints: true,
  };
}

function node(): Program {
  const words = [process.execPath, source('typescript.cjs')];
  return {
    id: 'typescript',
    title: 'node: typescript, compiles once',
    command: mode => [...words, mode],
    fork: { none: 'node has threads, which a fork does not copy' },
    save: path => saveNode(source('typescript.cjs'), path),
    prints: true,
  };
}

function inC(id: string, title: string, [program = '', ...args]: readonly string[]): Program {
  const mib = Number(args[0]);
  return {
    id,
    title,
    command: mode => [program, mode, ...args],
    fork: 'itself',
    save: NO_IMAGE,
    prints: true,
    memory: mib * 2 ** 20,
  };
}

function endsAtOnce(id: string, title: string, words: readonly string[]): Program {
  return {
    ...inC(id, title, [...words, '0', '1']),
    untrained: 'it touches nothing',
    prints: false,
  };
}

/** Memory that a machine should have for the programs: warm processes, and files in the page cache. */
export const neededMemory = (programs: readonly Program[]): number =>
  programs.reduce(
    (sum, { memory = 0, untrained }) => sum + memory * (untrained === undefined ? 2 : 1),
    2 * GIB,
  );
