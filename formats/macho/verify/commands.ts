/**
 * Rules about load commands. dyld-1378, mach_o/UnsafeHeader.cpp (validStructureLoadCommands, validSemantics…)
 * and Policy.cpp; xnu-11417, bsd/kern/mach_loader.c (parse_machfile, load_main, load_dylinker).
 *
 * @module
 */
import { hex } from '../../errors.ts';
import type { Finding } from '../../finding.ts';
import { nameOf } from '../../names.ts';
import { type Struct, viewOf } from '../../struct.ts';
import { commandString, fields } from '../commands.ts';
import { LC, LC_REQ_DYLD, MH, MH_FLAGS, VM_PROT } from '../constants.ts';
import { findCommands } from '../find.ts';
import { readDylibId, readDylibs, readEntry, readRpaths } from '../image.ts';
import { isSegment, type OtherCommand } from '../model.ts';
import { readNotes } from '../notes.ts';
import {
  build_tool_version,
  build_version_command,
  dyld_info_command,
  dylib_command,
  dylinker_command,
  dysymtab_command,
  encryption_info_command_64,
  entry_point_command,
  LE,
  linkedit_data_command,
  mach_header_64,
  rpath_command,
  symtab_command,
  uuid_command,
  version_min_command,
} from '../structs.ts';
import { endOf, error, fileEndOf, type Rule, type Subject, strict } from './rule.ts';
import { EPOCH } from './sdk.ts';

/** validStructureLoadCommands: "unknown filetype". Cores are none of dyld's. */
function* filetype({ file: { header } }: Subject): Iterable<Finding> {
  if (FILETYPES.has(header.filetype)) return;
  yield error('MACHO_FILETYPE', `filetype is ${header.filetype}, expected one of MH_*`, {
    offset: mach_header_64.offsets.filetype,
  });
}

const FILETYPES: ReadonlySet<number> = new Set(Object.values(MH));

/** Commands of a fixed size: dyld refuses any other one ("load command #%d … size wrong"). */
const SIZES: ReadonlyMap<number, number> = new Map<number, number>([
  [LC.LC_SYMTAB, symtab_command.size],
  [LC.LC_DYSYMTAB, dysymtab_command.size],
  [LC.LC_DYLD_INFO, dyld_info_command.size],
  [LC.LC_DYLD_INFO_ONLY, dyld_info_command.size],
  [LC.LC_UUID, uuid_command.size],
  [LC.LC_MAIN, entry_point_command.size],
  [LC.LC_ENCRYPTION_INFO_64, encryption_info_command_64.size],
  [LC.LC_VERSION_MIN_MACOSX, version_min_command.size],
  [LC.LC_VERSION_MIN_IPHONEOS, version_min_command.size],
  [LC.LC_VERSION_MIN_TVOS, version_min_command.size],
  [LC.LC_VERSION_MIN_WATCHOS, version_min_command.size],
  ...[
    LC.LC_SEGMENT_SPLIT_INFO,
    LC.LC_ATOM_INFO,
    LC.LC_FUNCTION_STARTS,
    LC.LC_DYLD_EXPORTS_TRIE,
    LC.LC_DYLD_CHAINED_FIXUPS,
    LC.LC_FUNCTION_VARIANTS,
    LC.LC_FUNCTION_VARIANT_FIXUPS,
  ].map(cmd => [cmd, linkedit_data_command.size] as const),
]);

function* sizes({ file }: Subject): Iterable<Finding> {
  for (const [what, command, offset] of othersOf(file.commands)) {
    const size = command.bytes.length;
    const wanted = command.cmd === LC.LC_BUILD_VERSION ? buildVersionSize(command) : SIZES.get(command.cmd);
    if (wanted !== undefined && size !== wanted) {
      yield error('MACHO_COMMAND_SIZE', `cmdsize of ${what} is ${hex(size)}, expected ${hex(wanted)}`, {
        offset,
      });
    }
  }
}

function buildVersionSize(command: OtherCommand): number {
  if (command.bytes.length < build_version_command.size) return build_version_command.size;
  return build_version_command.size + fields(command, build_version_command).ntools * build_tool_version.size;
}

/** LLVM's and cctools' readers refuse other sizes in 64-bit files; dyld has had the check switched off. */
function* alignment({ file }: Subject): Iterable<Finding> {
  for (const [what, command, offset] of othersOf(file.commands)) {
    const size = command.bytes.length;
    if (size % 8 === 0 || file.header.filetype === MH.MH_CORE) continue;
    yield strict('MACHO_COMMAND_ALIGN', `cmdsize of ${what} is ${hex(size)}, expected a multiple of 8`, {
      offset,
    });
  }
}

/** validStructureLoadCommands: "unknown required load command". */
function* unknown({ file }: Subject): Iterable<Finding> {
  for (const [what, { cmd }, offset] of othersOf(file.commands)) {
    if (KNOWN.has(cmd) || (cmd & LC_REQ_DYLD) === 0) continue;
    yield error('MACHO_UNKNOWN_COMMAND', `${what} has LC_REQ_DYLD, expected one that dyld knows`, { offset });
  }
}

const KNOWN: ReadonlySet<number> = new Set(Object.values(LC));

/** LLVM's reader, as mach-o/loader.h: "obsolete" commands, "internal" ones and those of prebinding. */
function* obsolete({ file }: Subject): Iterable<Finding> {
  for (const [what, { cmd }, offset] of othersOf(file.commands)) {
    if (!OBSOLETE.has(cmd)) continue;
    yield strict('MACHO_OBSOLETE_COMMAND', `${what} is obsolete, expected none that tools refuse`, {
      offset,
    });
  }
}

const OBSOLETE: ReadonlySet<number> = new Set([
  LC.LC_SYMSEG,
  LC.LC_LOADFVMLIB,
  LC.LC_IDFVMLIB,
  LC.LC_IDENT,
  LC.LC_FVMFILE,
  LC.LC_PREPAGE,
  LC.LC_PREBOUND_DYLIB,
  LC.LC_PREBIND_CKSUM,
]);

/** stringOverflow(): an lc_str begins and ends within its command. */
const STRINGS: ReadonlyMap<number, readonly [of: Struct<unknown>, at: number]> = new Map<
  number,
  readonly [Struct<unknown>, number]
>([
  ...[
    LC.LC_ID_DYLIB,
    LC.LC_LOAD_DYLIB,
    LC.LC_LOAD_WEAK_DYLIB,
    LC.LC_REEXPORT_DYLIB,
    LC.LC_LOAD_UPWARD_DYLIB,
  ].map(cmd => [cmd, [dylib_command, dylib_command.offsets.name]] as const),
  [LC.LC_RPATH, [rpath_command, rpath_command.offsets.path]],
  [LC.LC_LOAD_DYLINKER, [dylinker_command, dylinker_command.offsets.name]],
  [LC.LC_ID_DYLINKER, [dylinker_command, dylinker_command.offsets.name]],
]);

function* strings({ file }: Subject): Iterable<Finding> {
  for (const [what, { cmd, bytes }, offset] of othersOf(file.commands)) {
    const [of, at] = STRINGS.get(cmd) ?? [];
    if (of === undefined || at === undefined) continue;
    const start = bytes.length < of.size ? bytes.length : viewOf(bytes).getUint32(at, LE);
    if (start < bytes.length && bytes.indexOf(0, start) >= 0) continue;
    yield error(
      'MACHO_COMMAND_STRING',
      `the string of ${what} begins at ${hex(start)}, expected it to end with a NUL within its ${hex(bytes.length)} bytes`,
      { offset },
    );
  }
}

/** validSemanticsUUID; enforceHasUUID: SDK 26 of executables, 12 of others. */
function* uuid({ file, epoch, isExecutable, isDyldManaged }: Subject): Iterable<Finding> {
  const count = findCommands(file, LC.LC_UUID).length;
  if (count > 1) yield error('MACHO_UUID', `there are ${count} LC_UUID, expected at most one`);
  if (count > 0 || !isDyldManaged || epoch < (isExecutable ? EPOCH.fall2025 : EPOCH.fall2021)) return;
  yield error('MACHO_UUID', 'there is no LC_UUID, expected one by the SDK that the file was built with');
}

/** validSemanticsInstallName. */
function* installName({ file }: Subject): Iterable<Finding> {
  const count = findCommands(file, LC.LC_ID_DYLIB).length;
  const isDylib = file.header.filetype === MH.MH_DYLIB || file.header.filetype === MH.MH_DYLIB_STUB;
  if (count === (isDylib ? 1 : 0)) return;
  const kind = nameOf(MH, file.header.filetype);
  yield error(
    'MACHO_ID_DYLIB',
    `there are ${count} LC_ID_DYLIB in an ${kind}, expected ${isDylib ? 'one' : 'none'}`,
  );
}

/** validSemanticsLinkedDylibs, validSemanticsRPath: duplicates as of SDK 26, none at all as of 15.4. */
function* dylibs({ file, epoch, isDyldManaged }: Subject): Iterable<Finding> {
  const paths = readDylibs(file).map(({ path }) => path);
  if (epoch >= EPOCH.fall2025) {
    for (const path of repeated(paths)) {
      yield error('MACHO_DUPLICATE_DYLIB', `${JSON.stringify(path)} is linked twice, expected once`);
    }
    for (const path of repeated(readRpaths(file))) {
      yield error('MACHO_DUPLICATE_RPATH', `LC_RPATH ${JSON.stringify(path)} is there twice, expected once`);
    }
  }
  if (paths.length > 0 || !isDyldManaged || epoch < EPOCH.spring2025) return;
  if (readDylibId(file)?.path.startsWith('/usr/lib/system/') === true) return;
  yield error('MACHO_NO_DYLIB', 'there is no LC_LOAD_DYLIB, expected libSystem at least');
}

function repeated(items: readonly string[]): string[] {
  const seen = new Set<string>();
  return [...new Set(items.filter(item => seen.has(item) || !seen.add(item)))];
}

/** parse_machfile: a second LC_VERSION_MIN_* or LC_BUILD_VERSION is LOAD_BADMACHO. */
function* platform({ file, isExecutable }: Subject): Iterable<Finding> {
  const count = findCommands(
    file,
    LC.LC_BUILD_VERSION,
    LC.LC_VERSION_MIN_MACOSX,
    LC.LC_VERSION_MIN_IPHONEOS,
    LC.LC_VERSION_MIN_TVOS,
    LC.LC_VERSION_MIN_WATCHOS,
  ).length;
  if (!isExecutable || count <= 1) return;
  yield error('MACHO_PLATFORM', `${count} commands say for which system the file is, expected one`);
}

/** validSemanticsMain; xnu wants the entry of an LC_UNIXTHREAD in an executable segment (validentry). */
function* entry({ file, segments, isExecutable }: Subject): Iterable<Finding> {
  if (!isExecutable) return;
  const mains = findCommands(file, LC.LC_MAIN).length;
  const threads = findCommands(file, LC.LC_UNIXTHREAD).length;
  if (mains + threads !== 1) {
    yield error(
      'MACHO_ENTRY',
      `there are ${mains} LC_MAIN and ${threads} LC_UNIXTHREAD, expected one in all`,
    );
    return;
  }
  const address = readEntry(file)?.address;
  if (address === undefined) {
    yield error('MACHO_ENTRY', 'LC_UNIXTHREAD has no registers of this machine, expected where to begin');
    return;
  }
  const { VM_PROT_READ, VM_PROT_EXECUTE } = VM_PROT;
  const wanted = VM_PROT_READ | VM_PROT_EXECUTE;
  const holds = segments.some(
    segment =>
      address >= segment.vmaddr && address < endOf(segment) && (segment.initprot & wanted) === wanted,
  );
  if (holds) return;
  yield error('MACHO_ENTRY', `the entry is ${hex(address)}, expected an address of an executable segment`, {
    address,
  });
}

/** load_dylinker(): what uses dyld names it once, by the one path that there is ("DEFAULT_DYLD_PATH"). */
function* dylinker({ file, isExecutable, isDyldManaged }: Subject): Iterable<Finding> {
  if (!isExecutable || !isDyldManaged) return;
  const commands = findCommands(file, LC.LC_LOAD_DYLINKER);
  const [command] = commands;
  if (command === undefined || commands.length > 1) {
    yield error('MACHO_DYLINKER', `there are ${commands.length} LC_LOAD_DYLINKER, expected one`);
    return;
  }
  const path = commandString(command, fields(command, dylinker_command).name);
  if (path === '/usr/lib/dyld') return;
  yield error('MACHO_DYLINKER', `the dynamic linker is ${JSON.stringify(path)}, expected "/usr/lib/dyld"`);
}

/** exec_mach_imgact(): "arm64 requires PIE" (pie_required); static executables are for x86_64 only. */
function* positionIndependent({ file, isArm, isExecutable }: Subject): Iterable<Finding> {
  if (!isArm || !isExecutable || (file.header.flags & MH_FLAGS.MH_PIE) !== 0) return;
  yield error('MACHO_PIE', 'flags are without MH_PIE, expected it in executables for arm64', {
    offset: mach_header_64.offsets.flags,
  });
}

/** LC_NOTE: the bytes are in the file, and not within __LINKEDIT, where codesign(1) and strip(1) allow none. */
function* notes({ file, size, linkedit }: Subject): Iterable<Finding> {
  for (const { owner, offset, size: length } of readNotes(file)) {
    const says = `the note of ${JSON.stringify(owner)} is ${hex(length)} bytes at ${hex(offset)}`;
    if (offset + length > size) {
      yield strict('MACHO_NOTE', `${says}, expected it within the file's ${hex(size)} bytes`, { offset });
    } else if (linkedit && length > 0 && offset < fileEndOf(linkedit) && offset + length > linkedit.fileoff) {
      yield strict('MACHO_NOTE', `${says}, expected it outside of __LINKEDIT`, { offset });
    }
  }
}

export const COMMAND_RULES: readonly Rule[] = [
  filetype,
  sizes,
  alignment,
  unknown,
  obsolete,
  strings,
  uuid,
  installName,
  dylibs,
  platform,
  entry,
  dylinker,
  positionIndependent,
  notes,
];

/** The commands but segments: how findings call them, and where they are. */
function* othersOf(
  commands: Subject['file']['commands'],
): Iterable<readonly [what: string, command: OtherCommand, offset: number]> {
  let offset: number = mach_header_64.size;
  for (const [index, command] of commands.entries()) {
    if (isSegment(command)) {
      offset += 72 + 80 * command.sections.length;
      continue;
    }
    yield [`load command ${index} (${nameOf(LC, command.cmd)})`, command, offset];
    offset += command.bytes.length;
  }
}
