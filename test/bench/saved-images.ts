/**
 * The saved images that runtimes make of themselves: what a user would have without us.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { PATH } from '../support/run.ts';

/** A command that starts from the saved image. */
export interface SavedImage {
  readonly words: readonly string[];
}

/** Emacs' dump, loaded with `--dump-file`; emacs.el knows what has to be done before. */
export function saveEmacs(words: readonly string[], path: string): SavedImage {
  const [program = ''] = words;
  make(path, [...words, `(bench-dump "${path}")`]);
  return { words: [program, '--batch', '-Q', `--dump-file=${path}`, '--eval', '(bench-run "start")'] };
}

/** sbcl's `save-lisp-and-die` with its runtime: an executable. */
export function saveSbcl(source: string, path: string): SavedImage {
  make(path, ['/usr/bin/sbcl', '--script', source, 'save', path]);
  return { words: [path] };
}

/** node's start-up snapshot. It takes one file without `require` of others: esbuild makes it one. */
export function saveNode(source: string, path: string): SavedImage {
  const bundle = `${path}.cjs`;
  make(path, ['node_modules/.bin/esbuild', source, '--bundle', '--platform=node', `--outfile=${bundle}`]);
  make(path, [process.execPath, '--snapshot-blob', path, '--build-snapshot', bundle]);
  return { words: [process.execPath, '--snapshot-blob', path, 'start'] };
}

function make(path: string, [program = '', ...args]: readonly string[]): void {
  const { status, stderr, error } = spawnSync(program, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
    env: { PATH, LANG: 'C.UTF-8' },
  });
  if (status === 0) return;
  throw new Error(`${program} did not save ${path}: ${error?.message ?? `status ${status}\n${stderr}`}`);
}
