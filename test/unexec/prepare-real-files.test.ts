import { createHash } from 'node:crypto';
import { openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import {
  findBlob,
  findBlobBySlot,
  type MachOFile,
  MH,
  readCodeSignature,
  readMachO,
  wholeContents,
} from '../../formats/macho/index.ts';
import { FileSource } from '../../unexec/file-source.ts';
import { prepare } from '../../unexec/prepare.ts';
import { verifyFile } from '../../unexec/verify-file.ts';
import { conformanceFile, conformanceFiles } from '../support/conformance-files.ts';
import { MIB } from '../support/macho/dump.ts';
import { runMachO } from '../support/macho/loader.ts';
import { run } from '../support/run.ts';
import { sandbox } from '../support/sandbox.ts';

const directory = sandbox('prepare-real-files');
const PAGE = 4096;

/** The quick ones of the judges: two of these files are larger than 100 MB. */
const READERS = [
  {
    command: 'llvm-objdump-19',
    args: ['--macho', '--private-headers', '--rebase', '--bind', '--chained-fixups', '--exports-trie'],
  },
  { command: 'llvm-otool-19', args: ['-l'] },
  {
    command: 'llvm-readobj-19',
    args: ['--file-headers', '--sections', '--macho-segment', '--macho-dysymtab'],
  },
  { command: 'llvm-size-19', args: ['-m', '-l'] },
];
const NULL = openSync('/dev/null', 'w');

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

function withFile<T>(path: string, use: (file: MachOFile) => T): T {
  const source = new FileSource(path);
  try {
    return use(readMachO(source));
  } finally {
    source.close();
  }
}

const isExecutable = (path: string): boolean => {
  try {
    return withFile(path, ({ header }) => header.filetype === MH.MH_EXECUTE);
  } catch {
    return false; // fat
  }
};

const signatureOf = (path: string) =>
  withFile(path, file => {
    const blob = findBlob(file, 'code-signature');
    return blob && readCodeSignature(wholeContents(blob.contents));
  });

/** What codesign(1) writes where nothing is required; linkers leave it out. */
const NO_REQUIREMENTS = Uint8Array.of(0xfa, 0xde, 0x0c, 0x01, 0, 0, 0, 12, 0, 0, 0, 0);

/** Blobs by slot that a new signature keeps, as hashes: requirements, entitlements as XML and as DER. */
const kept = (signature: ReturnType<typeof signatureOf>): (string | undefined)[] =>
  [2, 5, 7].map(slot => {
    if (signature === undefined) return undefined;
    const blob = findBlobBySlot(signature, slot) ?? (slot === 2 ? NO_REQUIREMENTS : undefined);
    return blob && sha256(blob);
  });

const found = new Map<string, string[]>();

/** What our verifier finds in a file. */
function codesOf(path: string): string[] {
  const codes =
    found.get(path) ??
    verifyFile(path)
      .findings.map(({ code }) => code)
      .sort();
  found.set(path, codes);
  return codes;
}

const executables = conformanceFiles().filter(({ path }) => isExecutable(path));

test('there are real executables to prepare', t => {
  t.is(executables.length, 8, executables.map(({ name }) => name).join());
});

for (const { name, path } of executables) {
  for (const extend of [false, true]) {
    test(`prepare() prepares ${name}${extend ? ', --extend' : ''}`, async t => {
      const target = join(directory, `${name.replaceAll('/', '-')}.${extend}`);
      const report = await prepare(path, target, { reserve: 64 * MIB, extend });
      t.false(report.runtime);
      if (extend) t.is(report.mode, 'extend');

      t.deepEqual(codesOf(target), codesOf(path));
      for (const { command, args } of READERS) {
        const { stderr, status } = await run(`/usr/bin/${command}`, {
          args: [...args, target],
          output: NULL,
        });
        t.deepEqual([stderr, status], ['', 0], command);
      }

      const [original, signature] = [signatureOf(path), signatureOf(target)];
      t.is(signature === undefined, original === undefined);
      t.deepEqual(kept(signature), kept(original));
      if (signature !== undefined && original !== undefined) {
        const { identifier, pageHashes, codeLimit, pageSize, specialHashes } = signature.codeDirectory;
        t.is(identifier, original.codeDirectory.identifier);
        t.is(pageSize, PAGE);
        const bytes = readFileSync(target);
        const hashes = createHash('sha256');
        for (let at = 0; at < codeLimit; at += PAGE) {
          const page = bytes.subarray(at, Math.min(at + PAGE, codeLimit));
          hashes.update(createHash('sha256').update(page).digest());
        }
        t.is(hashes.digest('hex'), sha256(pageHashes));
        for (const [slot, hash] of specialHashes) {
          const blob = findBlobBySlot(signature, slot);
          if (blob !== undefined) t.is(sha256(blob), Buffer.from(hash).toString('hex'), `slot ${slot}`);
        }
      }
      rmSync(target);
    });
  }
}

/** A program written in Rust, with thread-local variables; lazy pointers, and 112 or 56 bytes of room. */
for (const [arch, name] of [
  ['x86_64', '@rescript/darwin-x64 bin/rescript.exe'],
  ['arm64', '@rescript/darwin-arm64 bin/rescript.exe'],
] as const)
  test(`a real program runs as before when it has been prepared, ${arch}`, async t => {
    const { path } = conformanceFile(name);
    const target = join(directory, `rescript.${arch}`);
    await prepare(path, target, { reserve: MIB });
    const said = await runMachO(target, ['--version'], { arch, foreign: true });
    t.deepEqual(said, await runMachO(path, ['--version'], { arch, foreign: true }));
    t.regex(said.stdout, /^rescript \d+\./);
  });
