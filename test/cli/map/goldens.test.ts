/** Maps of small files that no compiler changes, as SVG and in letters. */
import test from 'ava';
import { svgOf } from '../../../cli/map/svg.ts';
import { textOf } from '../../../cli/map/text.ts';
import { elfBytes } from '../../../formats/elf/index.ts';
import { CPU_TYPE, FAT, fatBytes, machoBytes } from '../../../formats/macho/index.ts';
import { core } from '../../formats/elf/support/core.ts';
import { hello } from '../../formats/elf/support/hello.ts';
import { bytesOf, manySections } from '../../formats/elf/support/tools.ts';
import { tiny } from '../../formats/macho/support/tiny.ts';
import { matchesGolden } from '../../support/golden.ts';
import { mapDataOfBytes } from '../../support/map-data.ts';

/** Memory of a core: contents, and zero pages within them. As much again is not in the file. */
const memory = new Uint8Array(0x50000).fill(7).fill(0, 0x2000, 0x4000);

const FILES = {
  'hello.elf': elfBytes(hello()),
  core: elfBytes(core([memory])),
  'tiny.macho': machoBytes(tiny()),
  'fat.macho': fatBytes({
    magic: FAT.FAT_MAGIC,
    architectures: [0, 1].map(i => ({
      cputype: CPU_TYPE.CPU_TYPE_X86_64,
      cpusubtype: 3 + 5 * i,
      offset: undefined,
      align: 14,
      contents: machoBytes(tiny()),
    })),
    kept: [],
    source: undefined,
  }),
};

for (const [name, bytes] of Object.entries(FILES)) {
  for (const order of ['file', 'memory'] as const) {
    const data = mapDataOfBytes(bytes, name);
    test(`the map of ${name} in ${order} order is drawn as it was`, t => {
      matchesGolden(t, `map/${name}-${order}.svg`, svgOf(data, order));
    });
    test(`the map of ${name} in ${order} order is written in letters as it was, within 100 columns`, t => {
      const lines = textOf(data, order);
      matchesGolden(t, `map/${name}-${order}.txt`, `${lines.join('\n')}\n`);
      for (const line of lines) t.true(line.length <= 100, line);
    });
  }
}

test('of an object of 3000 sections the letters tell the largest, and how many others there are', t => {
  const lines = textOf(mapDataOfBytes(bytesOf(manySections(3000)), 'many.o'), 'file');
  t.true(lines.length < 150);
  t.true(lines.some(line => /^\? +\d+ others +/.test(line)));
});
