/** tinyscheme, frozen with its library loaded: built from Debian's source package (.ci/debian-files.json). */
import { join } from 'node:path';
import { directory } from '../support/frozen-library.ts';
import { debianFiles } from '../support/restart-tests.ts';
import { realLibraryTests } from '../support/shared-tests.ts';

const SCHEME = debianFiles('tinyscheme');

realLibraryTests({
  name: 'tinyscheme',
  source: 'scheme.c',
  host: 'use-scheme.c',
  include: `-I${SCHEME}`,
  reads: [join(SCHEME, 'init.scm')],
  flags: [
    '-w',
    '-DUSE_DL=1',
    `-DLIBRARY="${join(directory, 'init.scm')}"`,
    join(SCHEME, 'scheme.c'),
    join(SCHEME, 'dynload.c'),
    '-lm',
  ],
  options: { clearRemains: true },
  leastBlocks: 10,
  says: /^\(610 1522756 5000\)\n\(5000 \(1 4 9\) fib 3\.14/,
});
