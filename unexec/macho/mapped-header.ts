/**
 * The Mach-O header of an image as it lies in memory: who it is, and where it wants its segments. Nothing of
 * it is trusted: any 32 bytes of a process may look like a header.
 *
 * @module
 */
import {
  LC,
  LE,
  load_command,
  MH_MAGICS,
  mach_header_64,
  segment_command_64,
  uuid_command,
} from '../../formats/macho/index.ts';
import { decodeName } from '../../formats/macho/names.ts';
import { viewOf } from '../../formats/struct.ts';
import type { MemoryReader } from '../image.ts';

export interface MappedHeader {
  readonly address: bigint;
  readonly cputype: number;
  readonly cpusubtype: number;
  /** MH_*. */
  readonly filetype: number;
  /** 32 digits of lower-case hexadecimal. */
  readonly uuid: string | undefined;
  readonly segments: readonly MappedSegment[];
}

/** A segment as its load command has it, before the slide. */
export interface MappedSegment {
  readonly segname: string;
  readonly vmaddr: bigint;
  readonly vmsize: bigint;
  readonly fileoff: bigint;
  readonly filesize: bigint;
  readonly initprot: number;
}

/** The commands of the largest executables take some 10 KiB. */
const MAX_COMMANDS = 1 << 20;

/** The header at this address; undefined where there is none. */
export function readMappedHeader(memory: MemoryReader, address: bigint): MappedHeader | undefined {
  const bytes = new Uint8Array(mach_header_64.size);
  memory.read(address, bytes);
  const header = mach_header_64.read(viewOf(bytes), 0, LE);
  const { magic, cputype, cpusubtype, filetype, ncmds, sizeofcmds } = header;
  if (
    magic !== MH_MAGICS.MH_MAGIC_64 ||
    sizeofcmds > MAX_COMMANDS ||
    ncmds * load_command.size > sizeofcmds
  ) {
    return undefined;
  }
  const commands = new Uint8Array(sizeofcmds);
  memory.read(address + BigInt(mach_header_64.size), commands);
  const view = viewOf(commands);
  let uuid: string | undefined;
  const segments: MappedSegment[] = [];
  let at = 0;
  for (let i = 0; i < ncmds; i++) {
    const left = sizeofcmds - at;
    if (left < load_command.size) return undefined;
    const { cmd, cmdsize } = load_command.read(view, at, LE);
    if (cmdsize < load_command.size || cmdsize > left) return undefined;
    if (cmd === LC.LC_UUID && cmdsize >= uuid_command.size) {
      uuid = hexOf(uuid_command.read(view, at, LE).uuid);
    }
    if (cmd === LC.LC_SEGMENT_64 && cmdsize >= segment_command_64.size) {
      const { segname, ...segment } = segment_command_64.read(view, at, LE);
      segments.push({ ...segment, segname: decodeName(segname) });
    }
    at += cmdsize;
  }
  return { address, cputype, cpusubtype, filetype, uuid, segments };
}

const hexOf = (bytes: Uint8Array): string =>
  [...bytes].map(byte => byte.toString(16).padStart(2, '0')).join('');
