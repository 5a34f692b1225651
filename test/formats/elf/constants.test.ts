import { execFileSync } from 'node:child_process';
import test from 'ava';
import * as constants from '../../../formats/elf/constants.ts';
import { type ConstantTable, nameOf } from '../../../formats/names.ts';
import { compile } from './support/tools.ts';

const { PN_XNUM, ...families } = constants;
const tables: Readonly<Record<string, ConstantTable>> = { ...families, PN: { PN_XNUM } };

test('every constant has the value that elf.h gives it', t => {
  const all = Object.values(tables).flatMap(table => Object.entries(table));
  const lines = all.map(
    ([name]) => `#ifdef ${name}\nprintf("${name} %lu\\n", (unsigned long)(unsigned)(${name}));\n#endif`,
  );
  const source = `#include <elf.h>\n#include <stdio.h>\nint main(void) {\n${lines.join('\n')}\n}`;
  const theirs = execFileSync(compile(source, ['-w']), { encoding: 'utf8' }).trim();
  const known = new Map(theirs.split('\n').map(line => [line.split(' ')[0], Number(line.split(' ')[1])]));
  for (const [name, value] of all) t.is(known.get(name) ?? value, value, name);

  t.log(`${known.size} of ${all.length} constants are in this system's elf.h`);
  // An older elf.h lacks some; if it lacked many, nothing would have been compared.
  t.true(known.size > 400);
});

test('every value has one name in its table', t => {
  for (const [family, table] of Object.entries(tables)) {
    for (const [name, value] of Object.entries(table)) t.is(nameOf(table, value), name, family);
  }
});
