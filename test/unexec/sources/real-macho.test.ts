/**
 * Real macOS programs under the loader, at their entry: OCaml's 100,000 pointers, Rust's thread-locals and lazy
 * pointers, both encodings of fixups.
 */
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { segmentsOf } from '../../../formats/macho/find.ts';
import { readFixups } from '../../../formats/macho/fixups.ts';
import { parseFreezePoint } from '../../../unexec/freeze-point.ts';
import { loadedSegments } from '../../../unexec/macho/loaded-segments.ts';
import { comparePointers, scanPointers } from '../../../unexec/pointers.ts';
import { type LiveMachO, openLiveMachO } from '../../../unexec/sources/live-macho.ts';
import { openMachOCore } from '../../../unexec/sources/macho-core.ts';
import { conformanceFile } from '../../support/conformance-files.ts';
import { loaderCommand, runMachO } from '../../support/macho/loader.ts';
import { sandbox } from '../../support/sandbox.ts';

const directory = sandbox('real-macho');
const nothing = openSync('/dev/null', 'r+');
test.after.always(() => closeSync(nothing));

const PROGRAMS = [
  ['@rescript/darwin-x64 bin/bsc.exe', 'x86_64'],
  ['@rescript/darwin-x64 bin/rescript.exe', 'x86_64'],
  ['@rescript/darwin-arm64 bin/bsc.exe', 'arm64'],
  ['@rescript/darwin-arm64 bin/rescript.exe', 'arm64'],
] as const;

/** The segments of the program, in the order of the file. */
const laid = (of: Pick<LiveMachO, 'executable'>) =>
  segmentsOf(of.executable.file)
    .filter(({ initprot, segname }) => initprot !== 0 && segname !== '__LINKEDIT')
    .map(({ segname, vmaddr, vmsize, initprot }) => ({
      name: segname,
      start: vmaddr + of.executable.slide,
      size: Number(vmsize),
      searched: (initprot & 2) !== 0,
    }));

for (const [name, arch] of PROGRAMS) {
  test.serial(`${name}: a scan finds the very pointers that two runs tell`, async t => {
    const { path } = conformanceFile(name);
    const [program = '', ...args] = loaderCommand(path, [], { arch, foreign: true, at: 'entry', stop: true });
    const options = { args, env: [], keepEnv: false, stdio: [nothing, nothing, nothing] as const };
    const a = await openLiveMachO(program, parseFreezePoint('stop'), options);
    const b = await openLiveMachO(program, parseFreezePoint('stop'), options);
    const second = laid(b);
    const compared = comparePointers({
      ranges: laid(a).map(({ start, ...range }, i) => ({
        ...range,
        start1: start,
        start2: second[i]?.start ?? 0n,
      })),
      image: { a: a.image, b: b.image },
      outside: [],
    });
    const scanned = scanPointers({ ranges: laid(a), image: a.image, outside: [] });
    a.release();
    b.release();
    t.log(`${compared.counts.pointers} pointers, ${compared.counts.unexplained} to elsewhere`);
    t.true(compared.counts.pointers > 1000);
    t.is(compared.counts.biased + compared.counts.tagged, 0);
    t.is(scanned.counts.doubtful, 0);
    t.deepEqual(
      scanned.ranges.map(({ slots }) => slots),
      compared.ranges.map(({ slots }) => slots),
    );
  });

  test.serial(`${name}: pages that a core lacks are as the loader left them`, async t => {
    const { path } = conformanceFile(name);
    const cores = [];
    for (const coreStyle of ['xnu', 'modified'] as const) {
      const core = join(directory, `${arch}.${coreStyle}.core`);
      await runMachO(path, [], {
        arch,
        foreign: true,
        at: 'entry',
        core,
        coreStyle,
        slide: 0x1234_5678_0000n,
      });
      cores.push(openMachOCore(core, path));
    }
    const [full, modified] = cores;
    if (full === undefined || modified === undefined) throw new Error('two cores were taken');
    t.is(full.cleanBytes, 0);
    t.true(modified.cleanBytes > 1 << 20);
    const { file, slide } = full.executable;
    // Words that are bound, and pointers to what the loader allocated, are of each run.
    const bound = new Set(readFixups(file).binds.map(({ address }) => address));
    const differing: string[] = [];
    for (const { name, start, size } of laid(full)) {
      const [a, b] = [full, modified].map(({ image }) => {
        const bytes = new Uint8Array(size);
        image.memory.read(start, bytes);
        return bytes;
      });
      if (a === undefined || b === undefined || Buffer.compare(a, b) === 0) continue;
      for (let at = 0; at + 8 <= size; at += 8) {
        if (Buffer.compare(a.subarray(at, at + 8), b.subarray(at, at + 8)) === 0) continue;
        if (!bound.has(start - slide + BigInt(at)))
          differing.push(
            `${name}+0x${at.toString(16)} ${Buffer.from(a.subarray(at, at + 8)).toString('hex')} ${Buffer.from(b.subarray(at, at + 8)).toString('hex')}`,
          );
      }
    }
    t.deepEqual(differing, []);
    // Of what only the loader writes to, every word is known.
    for (const segment of segmentsOf(file)) {
      if (segment.segname !== '__DATA_CONST') continue;
      const inMemory = new Uint8Array(segment.filesize);
      const fromFile = new Uint8Array(segment.filesize);
      full.image.memory.read(segment.vmaddr + slide, inMemory);
      loadedSegments(file, slide)(segment, 0, fromFile);
      for (const address of bound) {
        if (address < segment.vmaddr || address >= segment.vmaddr + segment.vmsize) continue;
        inMemory.fill(0, Number(address - segment.vmaddr), Number(address - segment.vmaddr) + 8);
      }
      t.is(Buffer.compare(inMemory, fromFile), 0);
    }
    for (const { close } of cores) close();
  });
}
