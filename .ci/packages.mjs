/**
 * The Debian packages that the tests and the benchmark need: one row a package, with the file that
 * proves that it is there. A new tool in a test is a new row here.
 *
 * @module
 */

/**
 * @typedef {object} SystemPackage
 * @property {string} name Debian 12's name of it.
 * @property {string} proof A file that the package brings.
 * @property {('test' | 'bench')[]} neededFor
 */

/** @type {readonly SystemPackage[]} */
export const PACKAGES = [
  // Programs that are frozen.
  { name: 'perl', proof: '/usr/share/perl', neededFor: ['test', 'bench'] },
  { name: 'python3', proof: '/usr/bin/python3', neededFor: ['test', 'bench'] },
  { name: 'guile-3.0', proof: '/usr/bin/guile', neededFor: ['test', 'bench'] },
  { name: 'emacs-nox', proof: '/usr/bin/emacs', neededFor: ['test', 'bench'] },
  { name: 'bash', proof: '/bin/bash', neededFor: ['test', 'bench'] },
  { name: 'sbcl', proof: '/usr/bin/sbcl', neededFor: ['test', 'bench'] },
  { name: 'clisp', proof: '/usr/bin/clisp', neededFor: ['test'] },
  { name: 'ruby', proof: '/usr/bin/ruby', neededFor: ['test'] },
  { name: 'sqlite3', proof: '/usr/bin/sqlite3', neededFor: ['test'] },
  { name: 'vim-nox', proof: '/usr/bin/vim.nox', neededFor: ['test'] },
  { name: 'openjdk-17-jdk-headless', proof: '/usr/bin/javac', neededFor: ['test'] },
  { name: 'redis-server', proof: '/usr/bin/redis-server', neededFor: ['test'] },
  { name: 'nginx-light', proof: '/usr/sbin/nginx', neededFor: ['test'] },
  // What builds samples.
  { name: 'gcc', proof: '/usr/bin/gcc', neededFor: ['test', 'bench'] },
  { name: 'g++', proof: '/usr/bin/g++', neededFor: ['test', 'bench'] },
  { name: 'libc6-dev', proof: '/usr/include/stdio.h', neededFor: ['test', 'bench'] },
  { name: 'make', proof: '/usr/bin/make', neededFor: ['test'] },
  { name: 'cmake', proof: '/usr/bin/cmake', neededFor: ['test'] },
  // Interpreters that are linked into samples, and what unpacks others' sources (debian-files.mjs).
  { name: 'liblua5.4-dev', proof: '/usr/include/lua5.4/lua.h', neededFor: ['test', 'bench'] },
  { name: 'libperl-dev', proof: '/usr/share/doc/libperl-dev', neededFor: ['test'] },
  { name: 'dpkg-dev', proof: '/usr/bin/dpkg-source', neededFor: ['test'] },
  // What builds and runs Mach-O samples.
  { name: 'clang-19', proof: '/usr/bin/clang-19', neededFor: ['test'] },
  { name: 'lld-19', proof: '/usr/bin/ld64.lld-19', neededFor: ['test'] },
  { name: 'qemu-user-static', proof: '/usr/bin/qemu-aarch64-static', neededFor: ['test'] },
  { name: 'gcc-aarch64-linux-gnu', proof: '/usr/bin/aarch64-linux-gnu-gcc', neededFor: ['test'] },
  { name: 'libc6-dev-arm64-cross', proof: '/usr/aarch64-linux-gnu/include/stdio.h', neededFor: ['test'] },
  // Foreign judges of the files that are written, and of processes.
  { name: 'binutils', proof: '/usr/bin/readelf', neededFor: ['test'] },
  { name: 'elfutils', proof: '/usr/bin/eu-elflint', neededFor: ['test'] },
  { name: 'llvm', proof: '/usr/bin/llvm-readobj', neededFor: ['test'] },
  { name: 'llvm-19', proof: '/usr/bin/llvm-objdump-19', neededFor: ['test'] },
  { name: 'lz4', proof: '/usr/bin/lz4', neededFor: ['test'] },
  { name: 'lldb-19', proof: '/usr/bin/lldb-19', neededFor: ['test'] },
  { name: 'gdb', proof: '/usr/bin/gdb', neededFor: ['test', 'bench'] },
  { name: 'util-linux', proof: '/usr/bin/setpriv', neededFor: ['test', 'bench'] },
  { name: 'bsdutils', proof: '/usr/bin/script', neededFor: ['test'] },
  { name: 'procps', proof: '/usr/bin/ps', neededFor: ['test'] },
  // Other machines, emulated.
  { name: 'qemu-system-x86', proof: '/usr/bin/qemu-system-x86_64', neededFor: ['test'] },
  { name: 'qemu-system-arm', proof: '/usr/bin/qemu-system-aarch64', neededFor: ['test'] },
  // What shows the page map.
  { name: 'chromium', proof: '/usr/bin/chromium', neededFor: ['test'] },
];
