import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import {
  DT,
  dynamicStrings,
  dynamicTypes,
  type ElfFile,
  elfBytes,
  encodeRela,
  type NewImport,
  patchAddress,
  readDynamic,
  readDynamicRelocations,
  readDynamicSymbols,
  readElf,
  STB,
  STT,
  verifyElf,
} from '../../../formats/elf/index.ts';
import { FormatError } from '../../../formats/errors.ts';
import { addImports } from '../../../unexec/elf/add-imports.ts';
import { complaintsOfElf } from '../../support/judge-elf.ts';
import { PATH, run } from '../../support/run.ts';
import { sandbox } from '../../support/sandbox.ts';

const directory = sandbox('add-imports');
const { STT_FUNC } = STT;

/** Words that are to lead elsewhere, and what the program finds by itself. */
const SOURCE = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
void *volatile words[4] = {(void *)abort, (void *)atoi, (void *)atol, (void *)getenv};
int exported = 7;
int main(void) {
  void *library = dlopen("libm.so.6", RTLD_LAZY | RTLD_NOLOAD);
  fprintf(stdout, "in an old version: %d\\n", words[0] && words[0] == dlvsym(RTLD_DEFAULT, "memcpy", OLD));
  printf("in the default version: %d\\n", words[1] && words[1] == dlsym(RTLD_DEFAULT, "strtoul"));
  printf("of a new library: %d\\n", library && words[2] == dlsym(library, "cos"));
  printf("weak and nowhere: %d\\n", words[3] == NULL);
  int *own = dlsym(RTLD_DEFAULT, "exported");
  printf("its own: %d\\n", own == NULL ? 0 : own == &exported ? 1 : -1);
  return 0;
}
`;

interface Linked {
  readonly how: string;
  readonly flags?: readonly string[];
  readonly compiler?: 'clang-19' | 'aarch64-linux-gnu-gcc';
}

const ARM = 'aarch64-linux-gnu-gcc';
const LINKED: readonly Linked[] = [
  { how: 'that exports nothing' },
  { how: 'that exports all', flags: ['-rdynamic'] },
  { how: 'at a fixed address, with copy relocations', flags: ['-no-pie', '-rdynamic'] },
  { how: 'with both hash tables', flags: ['-rdynamic', '-Wl,--hash-style=both'] },
  { how: 'with DT_HASH alone', flags: ['-rdynamic', '-Wl,--hash-style=sysv'] },
  { how: 'with DT_RELR, bound at the start', flags: ['-Wl,-z,pack-relative-relocs', '-Wl,-z,now'] },
  { how: 'without section headers', flags: ['-rdynamic', '-s'] },
  {
    how: 'by lld, which leaves no room in .dynamic',
    compiler: 'clang-19',
    flags: ['-fuse-ld=lld-19', '-rdynamic'],
  },
  { how: 'for AArch64', compiler: ARM, flags: ['-rdynamic'] },
];

const source = join(directory, 'program.c');
writeFileSync(source, SOURCE);
let programs = 0;

/** The first version of glibc for the machine. */
const oldest = ({ compiler }: Linked): string => (compiler === ARM ? 'GLIBC_2.17' : 'GLIBC_2.2.5');

function link(linked: Linked): string {
  const { compiler = 'gcc', flags = [], how } = linked;
  const output = join(directory, `program-${++programs}`);
  execFileSync(compiler, ['-O1', '-g', `-DOLD="${oldest(linked)}"`, ...flags, '-o', output, source, '-ldl']);
  if (how === 'without section headers') {
    const bytes = readFileSync(output);
    writeFileSync(output, bytes.fill(0, 0x28, 0x30).fill(0, 0x3c, 0x40));
  }
  return output;
}

function importsOf(linked: Linked): NewImport[] {
  const version = oldest(linked);
  return [
    { name: 'memcpy', type: STT_FUNC, wanted: { library: 'libc.so.6', version } },
    { name: 'strtoul', type: STT_FUNC, wanted: { library: 'libc.so.6', version } },
    { name: 'cos', type: STT_FUNC, wanted: { library: 'libm.so.6', version } },
    { name: 'is_nowhere', type: STT_FUNC, bind: STB.STB_WEAK },
  ];
}

/** What the words lead to as linked. */
const LINKED_TO = ['abort', 'atoi', 'atol', 'getenv'];

/** The words lead to these symbols instead, by the relocations that they have. Says how many do. */
function redirect(file: ElfFile, indices: Uint32Array): number {
  let redirected = 0;
  const { rela } = readDynamicRelocations(file);
  const { absolute } = dynamicTypes(file.header.machine);
  const symbols = readDynamicSymbols(file);
  for (let i = 0; i < rela.length; i++) {
    const name = symbols[rela.symbols[i] ?? 0]?.name ?? '';
    const word = rela.types[i] === absolute ? LINKED_TO.indexOf(name) : -1;
    if (word < 0) continue;
    rela.symbols[i] = indices[word] ?? 0;
    redirected++;
  }
  const table = readDynamic(file).find(({ tag }) => tag === DT.DT_RELA)?.value ?? 0n;
  patchAddress(file, table, encodeRela(rela));
  return redirected;
}

for (const linked of LINKED) {
  test(`addImports() lets a program ${linked.how} import more symbols, which ld.so finds`, async t => {
    const input = link(linked);
    const original = readElf(new Uint8Array(readFileSync(input)));
    const { file, indices } = addImports(original, importsOf(linked));
    t.is(redirect(file, indices), 4);
    const output = `${input}.more`;
    writeFileSync(output, elfBytes(file), { mode: 0o755 });

    const through = linked.compiler === ARM ? ['qemu-aarch64-static', '-L', '/usr/aarch64-linux-gnu'] : [];
    const isExported = linked.flags?.includes('-rdynamic');
    for (const [name, value] of [
      ['LD_BIND_NOW', '1'],
      ['LD_BIND_NOT', ''],
    ] as const) {
      const { stdout, stderr, status } = await run(output, { through, env: { PATH, [name]: value } });
      t.is(`${status} ${stderr}`, '0 ');
      t.deepEqual(stdout.trimEnd().split('\n'), [
        'in an old version: 1',
        'in the default version: 1',
        'of a new library: 1',
        'weak and nowhere: 1',
        `its own: ${isExported ? 1 : 0}`,
      ]);
    }
    t.deepEqual(complaintsOfElf(output, input), []);
    const written = readElf(new Uint8Array(readFileSync(output)));
    t.deepEqual(verifyElf(written), verifyElf(original));
    t.deepEqual(dynamicStrings(written, DT.DT_NEEDED), [
      'libm.so.6',
      ...dynamicStrings(original, DT.DT_NEEDED),
    ]);
    if (linked.how === 'without section headers') return;
    const symbols = execFileSync('nm', ['-D', '--with-symbol-versions', output], { encoding: 'utf8' });
    t.regex(symbols, new RegExp(`U cos@${oldest(linked)}\n`));
    t.regex(symbols, /w is_nowhere\n/);
  });
}

test('addImports() changes nothing of what a program says that needs none of them', async t => {
  const perl = '/usr/bin/perl';
  const output = join(directory, 'perl');
  const { file } = addImports(
    readElf(new Uint8Array(readFileSync(perl))),
    importsOf({ how: '' }).slice(0, 2),
  );
  writeFileSync(output, elfBytes(file), { mode: 0o755 });
  const { stdout } = await run(output, { args: ['-e', 'print join ",", sort map { $_ * $_ } 1 .. 4'] });
  t.is(stdout, '1,16,4,9');
  t.deepEqual(complaintsOfElf(output, perl), []);
});

test('addImports() refuses what the program defines itself', t => {
  const original = readElf(new Uint8Array(readFileSync(link({ how: '', flags: ['-rdynamic'] }))));
  const error = t.throws(() => addImports(original, [{ name: 'exported', type: STT.STT_OBJECT }]), {
    instanceOf: FormatError,
  });
  t.is(error?.code, 'ELF_IMPORT_DEFINED');
});
