/** hunspell, frozen with its English dictionary: built from Debian's source package (.ci/debian-files.json). */
import { join } from 'node:path';
import { directory, OWN_CXX } from '../support/frozen-library.ts';
import { debianFiles } from '../support/restart-tests.ts';
import { realLibraryTests } from '../support/shared-tests.ts';

const HUNSPELL = debianFiles('hunspell', 'bookworm');
const DICTIONARY = `${debianFiles('hunspell-en-us')}/usr/share/hunspell/en_US`;

realLibraryTests({
  name: 'hunspell',
  source: 'spelling.c',
  host: 'use-spelling.c',
  include: `-I${HUNSPELL}/src/hunspell`,
  reads: [`${DICTIONARY}.aff`, `${DICTIONARY}.dic`],
  flags: [
    `-DDICTIONARY="${join(directory, 'en_US')}"`,
    `${HUNSPELL}/hunspell.o`,
    ...OWN_CXX,
    '-lstdc++',
    '-lm',
  ],
  options: {},
  leastBlocks: 50_000,
  says: /^hello: 1 .*\n(.*\n)*relocatoin: 0 .*relocation/,
});
