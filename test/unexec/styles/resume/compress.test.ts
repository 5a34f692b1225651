/** `--compress`: memory as LZ4 blocks, decompressed at the start. */
import { copyFileSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { readElf } from '../../../../formats/elf/index.ts';
import { compressedBlocks } from '../../../../unexec/compressed-memory.ts';
import { diff } from '../../../../unexec/diff.ts';
import { UnexecError } from '../../../../unexec/errors.ts';
import { FileSource } from '../../../../unexec/file-source.ts';
import { type FreezeOptions, freeze } from '../../../../unexec/freeze.ts';
import { followAddress } from '../../../../unexec/inspect/address.ts';
import { findSecrets } from '../../../../unexec/inspect/secrets.ts';
import { inspectFile } from '../../../../unexec/inspect.ts';
import { readManifest } from '../../../../unexec/read-manifest.ts';
import { verifyFile } from '../../../../unexec/verify-file.ts';
import { freezeProgram } from '../../../support/freeze-program.ts';
import { run } from '../../../support/run.ts';
import { freshDirectory, sameResult } from '../../../support/same-result.ts';

const same = test.macro({
  exec: async (t, fixture: string, options: FreezeOptions & { flags?: readonly string[] } = {}) => {
    await sameResult(t, `${fixture}.c`, { compress: true, ...options });
  },
  title: (what, fixture) => `a compressed image goes on as another: ${what ?? fixture}`,
});

test('a dynamic program', same, 'state/plain');
test('threads', same, 'state/threads');
test('a static program', same, 'state/plain', { flags: ['-static'] });
test('guards, protections, sparse memory and a growing stack', same, 'state/memory');
test('memfds and shared memory, which are stored as they are', same, 'files/memfd');
test('large mapped files', same, 'files/mapped-privately');
test('a thin one with threads', same, 'state/threads', { thin: true });
test('a thin one with large mapped files', same, 'files/mapped-privately', { thin: true });

const SCRIPT = `
use POSIX; use Encode;
our $url = "postgres://user:" . "hunter2hunter2" . "@" . "db.example/x";
kill STOP => $$;
print length($url), "\\n";
`;

async function freezePerl(options: FreezeOptions): Promise<string> {
  const directory = freshDirectory();
  const script = join(directory, 'script.pl');
  writeFileSync(script, SCRIPT);
  const path = join(directory, 'frozen');
  await freezeProgram('/usr/bin/perl', path, { at: 'stop', ...options, args: [script] });
  return path;
}

const compressed = freezePerl({ compress: true });

test('a compressed image takes half of the room, and says the same', async t => {
  const whole = await freezePerl({});
  const path = await compressed;
  const sizes = [path, whole].map(file => statSync(file).size);
  t.true((sizes[0] ?? 0) < 0.6 * (sizes[1] ?? 0), sizes.join(' '));
  const [one, other] = [await run(path), await run(whole)];
  t.deepEqual(one, other);
  t.is(one.status, 0);
});

test('other tools find its sections sound, and no bytes where there are none', async t => {
  const path = await compressed;
  const readelf = await run('/usr/bin/readelf', { args: ['-W', '--all', path] });
  t.is(readelf.stderr, '', 'apt-get install binutils');
  t.regex(readelf.stdout, /heap\(lz4\)\.rw-\s+NOBITS/);
  const gdb = await run('/usr/bin/gdb', { args: ['-batch', '-ex', 'info files', path] });
  t.regex(gdb.stdout, /is heap\(lz4\)\.rw-/, 'apt-get install gdb');
  const [image] = (await inspectFile(path)).images;
  const unexec = image?.unexec;
  if (unexec?.style !== 'resume') return t.fail();
  const heap = image?.sections.find(({ name }) => name === 'heap(lz4).rw-');
  t.is(heap?.type, 'SHT_NOBITS');
  const packed = image?.sections.find(({ name }) => name === '.unexec.lz4');
  t.is(packed?.address, null);
  t.is(packed?.fileSize, unexec.compressed ?? undefined);
  t.true((unexec.regions.find(({ kind }) => kind === 'heap')?.stored ?? 0) > 1 << 20);
});

test('an address of a compressed image is followed to its bytes', async t => {
  const path = await compressed;
  const whole = await freezePerl({});
  const text = (file: string): string[] => {
    const region = readManifest(file).regions.find(({ kind }) => kind === 'module-text');
    const { places } = followAddress(file, BigInt(region?.start ?? 0));
    return places[0]?.bytes.map(({ hex }) => hex) ?? [];
  };
  t.is(text(path)[0]?.slice(0, 11), '7f 45 4c 46');
  t.deepEqual(text(path), text(whole));
});

test('what looks like a credential is found in compressed memory', async t => {
  const path = await compressed;
  const { secrets } = await findSecrets(path);
  const found = secrets.filter(
    ({ kind, region }) => kind === 'password in a URL' && region === 'heap(lz4).rw-',
  );
  t.true(found.length > 0, JSON.stringify(secrets));
  const [at] = found;
  const [place] = followAddress(path, BigInt(at?.address ?? 0)).places;
  t.true(place?.bytes.some(({ text }) => text.includes('hunter2')));
});

test('a block that is damaged is named by verify and at the start, and nothing goes on', async t => {
  const path = `${await compressed}.damaged`;
  copyFileSync(await compressed, path);
  t.deepEqual(verifyFile(path).findings, []);
  const source = new FileSource(path);
  const blocks = compressedBlocks(readElf(source));
  source.close();
  const block = blocks.find(({ size, length }) => length < size && size > 100_000);
  if (block === undefined) return t.fail();
  const bytes = readFileSync(path);
  bytes.fill(0xff, block.offset, block.offset + 64);
  writeFileSync(path, bytes);
  const { findings } = verifyFile(path);
  t.deepEqual(
    findings.map(({ code }) => code),
    ['UNEXEC_IMAGE'],
  );
  const place = `memory at 0x${block.address.toString(16)}: `;
  t.true(findings[0]?.message.includes(place));
  for (const reads of [diff(await compressed, path), diff(path, await compressed), findSecrets(path)]) {
    const error = await t.throwsAsync(reads, { code: 'LZ4_CORRUPT' });
    t.true(error?.message.includes(place));
  }
  await t.throwsAsync(diff(path, await compressed), {
    instanceOf: UnexecError,
    message: /\.damaged: memory at/,
  });
  const { stderr, stdout, status } = await run(path);
  t.deepEqual([stdout, status], ['', 125]);
  t.regex(stderr, /^unexec: cannot resume \/usr\/bin\/perl: damaged contents of [^\n]+\n$/);
});

test('a training run of a compressed image is refused', async t => {
  const target = join(freshDirectory(), 'x');
  const error = await t.throwsAsync(freeze('/bin/true', target, { compress: true, train: { args: [] } }), {
    instanceOf: UnexecError,
  });
  t.is(error?.code, 'COMPRESSED_TRAINING');
});

test('diff reads a compressed image as the memory that it is', async t => {
  const { regions } = await diff(await compressed, await freezePerl({}));
  const code = regions.filter(({ name, protection }) => name === '/usr/bin/perl' && protection === 'r-xp');
  t.is(code.length, 1);
  for (const { pages, sizeA } of code) {
    t.deepEqual([pages.changed, pages.onlyA, pages.onlyB], [0, 0, 0]);
    t.is((pages.same + pages.zero) * 4096, sizeA);
    t.true(pages.same > 100);
  }
});
