import test from 'ava';
import { readMachO } from '../../../../formats/macho/index.ts';
import { FileSource } from '../../../../unexec/file-source.ts';
import { nameOfPlace } from '../../../../unexec/styles/restart-macho/place-name.ts';
import { compileMachO } from '../../../support/macho/toolchain.ts';
import { run } from '../../../support/run.ts';
import { sandbox } from '../../../support/sandbox.ts';

const directory = sandbox('place-name');

test('nameOfPlace() names symbols, offsets from them, and sections where there is none', async t => {
  const sources = ['test/fixtures/macho/variables.c'];
  const path = compileMachO({ sources, arch: 'x86_64', fixups: 'chained', directory });
  const { stdout } = await run('/usr/bin/llvm-nm-19', { args: [path] });
  const addressOf = (name: string): bigint =>
    BigInt(`0x${new RegExp(`^(\\w+) \\w ${name}$`, 'm').exec(stdout)?.[1]}`);
  const source = new FileSource(path);
  const file = readMachO(source);
  const name = (address: bigint): string => nameOfPlace(file, address);
  t.is(name(addressOf('_zeros')), '_zeros (__DATA,__common)');
  t.is(name(addressOf('_zeros') + 0x10n), '_zeros+0x10 (__DATA,__common)');
  t.is(name(addressOf('_number') + 7n), '_number+0x7 (__DATA,__data)');
  t.is(name(addressOf('_main')), '_main (__TEXT,__text)');
  const got = file.commands
    .flatMap(command => ('sections' in command ? command.sections : []))
    .find(({ sectname }) => sectname === '__got');
  t.is(name(got?.addr ?? 0n), `0x${got?.addr.toString(16)} (__DATA_CONST,__got)`);
  t.is(name(0x10n), '0x10 (__PAGEZERO)');
  t.is(name(0xffff_0000_0000n), '0xffff00000000 (nowhere)');
  source.close();
});
