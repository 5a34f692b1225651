/** What is told of files of every kind and style, held against the manifest, readelf and the compiler. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { elfBytes } from '../../formats/elf/index.ts';
import {
  FormatError,
  findSecrets,
  followAddress,
  type InspectedImage,
  type InspectReport,
  inspectFile,
  prepare,
  readManifest,
  restart,
  UnexecError,
} from '../../unexec/index.ts';
import { core } from '../formats/elf/support/core.ts';
import { compile, output } from '../formats/elf/support/tools.ts';
import { fat, linked } from '../formats/macho/support/tools.ts';
import { compileFixture } from '../support/fixtures.ts';
import { type Frozen, freezeProgram } from '../support/freeze-program.ts';
import { compileLibrary, freezeTo } from '../support/frozen-library.ts';
import { runMachO } from '../support/macho/loader.ts';
import { compileMachO } from '../support/macho/toolchain.ts';
import { typeErrors } from '../support/matches-type.ts';
import { dumpElf, preparedElf } from '../support/restart-elf.ts';
import { sandbox } from '../support/sandbox.ts';

const directory = sandbox('inspect');
const inSandbox = (name: string): string => join(directory, name);

let frozen: Frozen;
test.before(async () => {
  const args = ['-e', 'kill STOP => $$'];
  frozen = await freezeProgram('/usr/bin/perl', inSandbox('frozen'), { args, at: 'stop' });
});

function theOne({ images }: InspectReport): InspectedImage {
  const [image] = images;
  if (image === undefined || images.length > 1) throw new Error(`${images.length} images`);
  return image;
}

function unexecOf<S extends string>(path: string, style: S) {
  const { unexec } = theOne(inspectFile(path, { steps: true }));
  if (unexec?.style !== style) throw new Error(`the style is ${unexec?.style}`);
  return unexec as Extract<InspectedImage['unexec'], { readonly style: S }>;
}

test('inspectFile() tells of a frozen process what its manifest says, and where its thread stands', t => {
  const manifest = readManifest(frozen.path);
  const told = unexecOf(frozen.path, 'resume');
  const { program, argv, freezePoint, frozenAt, kernel, cwd, tool } = manifest;
  t.like(told, { program, argv, freezePoint, frozenAt, cwd, tool, kernel, cpu: manifest.cpu });
  t.deepEqual(told.modules, manifest.modules as typeof told.modules);
  t.is(told.threads[0]?.symbol?.name, 'kill');
  t.is(told.threads[0]?.at, manifest.threads[0]?.pc as `0x${string}`);
  t.true(told.zones.some(({ kind, used, size }) => kind === 'heap' && used !== null && used <= size));
  t.true(told.fresh.some(text => text.startsWith('descriptors 0, 1, 2: ')));
});

test('inspectFile() tells every byte of a frozen process once: stored, zero, or the kernel', t => {
  const told = unexecOf(frozen.path, 'resume');
  const sum = (key: 'size' | 'stored' | 'zero' | 'sharedWithFile' | 'kernel'): number =>
    told.regionKinds.reduce((total, kind) => total + kind[key], 0);
  t.is(sum('size'), frozen.report.memoryBytes);
  t.is(sum('stored') + sum('zero') + sum('sharedWithFile') + sum('kernel'), sum('size'));
  t.true(sum('stored') <= frozen.report.storedBytes && sum('stored') > 0.9 * frozen.report.storedBytes);
  t.true(sum('kernel') > 0);
  t.is(
    told.regionKinds.reduce((total, { count }) => total + count, 0),
    told.regions.length,
  );
});

test('inspectFile() tells files that are mapped again as shared with them', async t => {
  const { path } = await freezeProgram(compileFixture('files/shared-file.c'), inSandbox('shared-file'), {
    args: [directory],
    at: 'stop',
  });
  const told = unexecOf(path, 'resume');
  const regions = told.regions.filter(({ sharedWithFile }) => sharedWithFile > 0);
  t.true(regions.length > 0, JSON.stringify(told.regions.map(({ name, protection }) => [name, protection])));
  for (const { size, sharedWithFile, stored } of regions) t.deepEqual([sharedWithFile, stored], [size, 0]);
  t.true(told.fresh.some(text => text.startsWith('contents of mapped files: /')));
});

test('inspectFile() tells the restore program as it was planned', async t => {
  const { freeze } = await import('../../unexec/index.ts');
  const path = inSandbox('steps');
  const { steps } = await freeze('/usr/bin/perl', path, { args: ['-e', 'kill STOP => $$'], at: 'stop' });
  const told = unexecOf(path, 'resume').restoreProgram;
  t.is(told.count, steps.length);
  t.deepEqual(
    told.steps?.map(({ op, name, required }) => ({ op, name, required })),
    steps.map(({ op, name, required }) => ({ op, name, required })),
  );
  t.true(told.steps?.some(({ call, args }) => call === 'mmap' && args.length >= 4));
  t.is(theOne(inspectFile(path)).unexec?.style === 'resume' && unexecOf(path, 'resume').style, 'resume');
});

test('reports of every style have the types that are their schema', async t => {
  const program = await preparedElf({ source: 'samples/restart/world.c', directory, name: 'world' });
  await dumpElf(program, inSandbox('world.dumped'), { args: ['2'] });
  const restarted = unexecOf(inSandbox('world.dumped'), 'restart');
  t.like(restarted, { generation: 1, freezePoint: 'request' });
  t.true(restarted.regionKinds.some(({ kind, stored }) => kind === 'heap' && stored > 0));
  t.true(restarted.zones.some(({ kind }) => kind === 'reserve'));

  const { target } = await freezeTo(compileLibrary('samples/shared/world.c'), { init: 'urf_init' });
  const library = unexecOf(target, 'shared');
  t.is(library.initialiser, 'urf_init');
  t.true(library.blocks.count > 0);

  const macho = compileMachO({
    sources: ['samples/restart/world.c', 'unexec/runtime/unexec-runtime.c'],
    ...{ arch: 'x86_64', fixups: 'chained', directory, headerpad: 0x200, signed: false, name: 'macho' },
  });
  await prepare(macho, inSandbox('macho.prepared'), { reserve: 1 << 20 });
  t.is(unexecOf(inSandbox('macho.prepared'), 'prepared').reserve.size, 1 << 20);
  const run = { arch: 'x86_64', at: 'unexec_freeze_here', core: inSandbox('macho.core') } as const;
  await runMachO(inSandbox('macho.prepared'), ['2'], run);
  await restart(inSandbox('macho.core'), inSandbox('macho.dumped'), { exe: inSandbox('macho.prepared') });
  t.like(unexecOf(inSandbox('macho.dumped'), 'restart'), { freezePoint: 'core', generation: 1 });

  const report = (path: string) =>
    ['InspectReport', JSON.stringify(inspectFile(path, { steps: true }))] as const;
  const paths = [
    frozen.path,
    inSandbox('world.dumped'),
    target,
    inSandbox('macho.dumped'),
    program,
    '/bin/true',
  ];
  const place = JSON.stringify(followAddress('/bin/true', 0n));
  const memory = Buffer.from('\0DB_PASSWORD=corr3ct-h0rse\0');
  writeFileSync(inSandbox('leaking'), elfBytes(core([memory])));
  const found = await findSecrets(inSandbox('leaking'));
  t.is(found.count, 1);
  const secrets = JSON.stringify(found);
  t.deepEqual(
    typeErrors('unexec/inspect/model.ts', [
      ...paths.map(report),
      ['AddressReport', place],
      ['SecretsReport', secrets],
    ]),
    [],
  );
  // The judge itself: a key that is missing, and one that nobody knows.
  const wrong = place.replace('"version":1', '"versions":1');
  t.not(typeErrors('unexec/inspect/model.ts', [['AddressReport', wrong]]).length, 0);
});

test('inspectFile() tells libraries, identifier, segments and sections as readelf does', t => {
  const path = compile('int main(void) { return 0; }', ['-Wl,--build-id', '-lm', '-Wl,--no-as-needed']);
  const image = theOne(inspectFile(path));
  const told = output('readelf', ['-ndW', path]);
  t.is(image.identifier?.value, /Build ID: ([0-9a-f]+)/.exec(told)?.[1]);
  t.deepEqual(
    image.libraries,
    [...told.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map(([, name = '']) => name),
  );
  const headers = output('readelf', ['-lW', path]);
  const loads = [...headers.matchAll(/^ +LOAD +(0x\S+) (0x\S+) 0x\S+ (0x\S+) (0x\S+) (.)(.)(.)/gm)];
  t.deepEqual(
    image.segments
      .filter(({ name }) => name === 'PT_LOAD')
      .map(({ offset, address, fileSize, memorySize }) => [offset, Number(address), fileSize, memorySize]),
    loads.map(([, ...fields]) => fields.slice(0, 4).map(Number)),
  );
});

test('inspectFile() tells every slice of a fat file, and cores and relocatables', t => {
  const both = fat(
    linked({ arch: 'x86_64', fixups: 'dyld-info' }),
    linked({ arch: 'arm64', fixups: 'chained' }),
  );
  const { images, format } = inspectFile(both);
  t.is(format, 'fat Mach-O');
  t.deepEqual(
    images.map(({ arch, kind, identifier }) => [arch, kind, identifier?.type]),
    [
      ['x86_64', 'executable', 'uuid'],
      ['arm64', 'executable', 'uuid'],
    ],
  );
  t.regex(images[0]?.libraries.join() ?? '', /libSystem/);
  writeFileSync(inSandbox('core'), elfBytes(core([new Uint8Array(0x1000).fill(1)])));
  t.is(theOne(inspectFile(inSandbox('core'))).kind, 'core');
  t.is(theOne(inspectFile(compile('int f;', ['-c']))).kind, 'relocatable');
});

test('a damaged frozen file is told, or refused with an error of ours', t => {
  const good = readFileSync(frozen.path);
  const manifest = good.indexOf('{"version":1,"tool"');
  const { restoreProgram } = unexecOf(frozen.path, 'resume');
  const steps = followAddress(frozen.path, BigInt(restoreProgram.address)).places[0]?.offset ?? 0;
  const place = fc.oneof(
    fc.integer({ min: manifest, max: manifest + 4000 }),
    fc.integer({ min: steps, max: steps + restoreProgram.count * 72 }),
    fc.nat(400),
  );
  const change = fc.tuple(place, fc.constantFrom(0, 0x20, 0x2d, 0x30, 0x39, 0x5d, 0x7d, 0xff));
  const path = inSandbox('damaged');
  let refused = 0;
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), changes => {
      const bytes = Buffer.from(good);
      for (const [at, value] of changes) bytes[at] = value;
      writeFileSync(path, bytes);
      try {
        inspectFile(path, { steps: true });
      } catch (error) {
        refused++;
        if (!(error instanceof FormatError) && !(error instanceof UnexecError)) throw error;
      }
    }),
    { numRuns: 60 },
  );
  t.true(refused > 10, `${refused} refused`);
});

test('a manifest of another version is refused', t => {
  const bytes = readFileSync(frozen.path);
  bytes.write('{"version":9,', bytes.indexOf('{"version":1,"tool"'));
  writeFileSync(inSandbox('newer'), bytes);
  t.throws(() => inspectFile(inSandbox('newer')), { instanceOf: UnexecError, code: 'MANIFEST_VERSION' });
});
