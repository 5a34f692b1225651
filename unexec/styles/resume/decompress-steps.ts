/**
 * Steps that fill the memory of a compressed image: a stretch of the file is mapped in the restorer's own window, and
 * the blocks in it are decompressed to their places; then the next stretch.
 *
 * @module
 */
import type { CompressedBlock } from '../../compressed-memory.ts';
import { PAGE } from '../../image.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import type { Slot } from '../../restorer/steps.ts';
import type { TouchedPages } from '../../touched-pages.ts';
import type { StoredSpan } from './contents.ts';
import { nameOfRegion, protectionOf } from './mappings.ts';
import { NR } from './system-calls.ts';
import { STAGING_SIZE, type Window } from './window.ts';

const PROT_READ = 1;
const PROT_READ_WRITE = 3;
const MAP_PRIVATE_FIXED_POPULATE = 0x8012;

/** All stored pages are written at the start: what is worth a huge page is known without a training run. */
export const writtenAtStart = (spans: readonly StoredSpan[]): TouchedPages[] =>
  spans.map(({ region, address, runs }) => {
    const before = Number(address - region.start) / PAGE;
    return { region, read: [], written: runs.map(({ first, count }) => ({ first: first + before, count })) };
  });

/** Decompresses all blocks. To come after all mappings, which are fresh memory; `spans` have their protection. */
export function decompressSteps(
  program: RestoreProgram,
  window: Window,
  spans: readonly StoredSpan[],
  blocks: readonly CompressedBlock[],
  self: Slot,
): void {
  const readOnly = spans.filter(({ region, runs }) => !region.write && runs.length > 0);
  for (const { region, address, size } of readOnly) {
    const name = `open ${nameOfRegion(region)} for its contents`;
    program.syscall(name, NR.mprotect, [address, size, PROT_READ_WRITE]);
  }
  const nameOf = namer(spans);
  for (const { offset, size, members } of stagesOf(blocks)) {
    program.syscall('map compressed contents', NR.mmap, [
      window.staging,
      size,
      PROT_READ,
      MAP_PRIVATE_FIXED_POPULATE,
      self,
      offset,
    ]);
    for (const block of members) {
      const from = window.staging + BigInt(block.offset - offset);
      if (block.length === block.size) {
        program.operation('COPY', `contents of ${nameOf(block)}`, [block.address, from, block.size]);
      } else {
        const args = [from, block.length, block.address, block.size];
        program.operation('LZ4', `damaged contents of ${nameOf(block)}`, args);
      }
    }
  }
  if (blocks.length > 0) program.syscall('unmap it', NR.munmap, [window.staging, STAGING_SIZE]);
  for (const { region, address, size, runs } of spans) {
    if (region.execute && runs.length > 0) program.operation('SYNC_CODE', 'code', [address, size]);
  }
  for (const { region, address, size } of readOnly) {
    program.syscall(`protect ${nameOfRegion(region)}`, NR.mprotect, [address, size, protectionOf(region)]);
  }
}

interface Stage {
  /** In the file, page-aligned. */
  readonly offset: number;
  readonly size: number;
  readonly members: readonly CompressedBlock[];
}

/** Blocks that follow each other in the file, as many as there is room for. */
function stagesOf(blocks: readonly CompressedBlock[]): Stage[] {
  const stages: { offset: number; size: number; members: CompressedBlock[] }[] = [];
  for (const block of blocks) {
    const last = stages.at(-1);
    const end = block.offset + block.length;
    if (last !== undefined && end - last.offset <= Number(STAGING_SIZE)) {
      last.members.push(block);
      last.size = end - last.offset;
    } else {
      const offset = block.offset - (block.offset % PAGE);
      stages.push({ offset, size: end - offset, members: [block] });
    }
  }
  return stages;
}

/** Both are in the order of addresses. */
function namer(spans: readonly StoredSpan[]): (block: CompressedBlock) => string {
  let at = 0;
  return ({ address }) => {
    for (let span = spans[at]; span && span.address + BigInt(span.size) <= address; span = spans[at]) at++;
    const span = spans[at];
    return span === undefined ? 'the image' : nameOfRegion(span.region);
  };
}
