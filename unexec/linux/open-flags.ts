/**
 * Status flags and access modes of open(2): asm-generic/fcntl.h, and asm/fcntl.h of aarch64, Linux 6.1.
 *
 * @module
 */
import type { Arch } from '../machine-state.ts';
import { ARCH } from './this-machine.ts';

const GENERIC = {
  RDONLY: 0,
  WRONLY: 1,
  RDWR: 2,
  ACCMODE: 3,
  CREAT: 0o100,
  EXCL: 0o200,
  NOCTTY: 0o400,
  TRUNC: 0o1000,
  APPEND: 0o2000,
  NONBLOCK: 0o4000,
  ASYNC: 0o20000,
  DIRECT: 0o40000,
  DIRECTORY: 0o200000,
  CLOEXEC: 0o2000000,
  PATH: 0o10000000,
  TMPFILE: 0o20000000,
} as const;

export type OpenFlags = Readonly<Record<keyof typeof GENERIC, number>>;

export const OPEN_FLAGS: Readonly<Record<Arch, OpenFlags>> = {
  x86_64: GENERIC,
  aarch64: { ...GENERIC, DIRECTORY: 0o40000, DIRECT: 0o200000 },
};

/** Those of the machine that we run on. */
export const O = OPEN_FLAGS[ARCH];
