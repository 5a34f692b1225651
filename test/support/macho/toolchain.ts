/**
 * Compiles and links Mach-O files on Linux, without an SDK: clang and ld64.lld from Debian, the headers
 * in include/ and libSystem.tbd, which names what the loader of this directory gives to programs.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { basename, extname, isAbsolute, join } from 'node:path';
import { ROOT, sandbox } from '../sandbox.ts';

export type MachOArch = 'x86_64' | 'arm64';
/** LC_DYLD_INFO_ONLY opcodes, or LC_DYLD_CHAINED_FIXUPS with pointers of DYLD_CHAINED_PTR_64. */
export type FixupStyle = 'dyld-info' | 'chained';

export const MACHO_ARCHES: readonly MachOArch[] = ['x86_64', 'arm64'];
export const FIXUP_STYLES: readonly FixupStyle[] = ['dyld-info', 'chained'];

export interface MachOProgram {
  /** `.c`, `.cc`, `.s` files; absolute, or from the root of the checkout: `samples/greet.c`. */
  readonly sources: readonly string[];
  readonly arch: MachOArch;
  readonly fixups: FixupStyle;
  /** Directory of the output. Default: a new one. */
  readonly directory?: string;
  /** Name of the output. Default: that of the first source, with the architecture and the fixups. */
  readonly name?: string;
  readonly kind?: 'execute' | 'dylib' | 'bundle';
  /** Default: true. Only x86_64 with opcodes can be without. */
  readonly pie?: boolean;
  /** Bytes free behind the load commands. Default: the linker's, 32. */
  readonly headerpad?: number;
  /** Constructors in __TEXT,__init_offsets instead of __mod_init_func. */
  readonly initOffsets?: boolean;
  /** Ad-hoc code signature. Default: true, as on arm64 every file has one. */
  readonly signed?: boolean;
  readonly compileFlags?: readonly string[];
  readonly linkFlags?: readonly string[];
}

const HERE = join(ROOT, 'test/support/macho');
export const LIBSYSTEM: string = join(HERE, 'libSystem.tbd');
const RUNTIME = join(ROOT, 'unexec/runtime');

/** Path of the linked file. */
export function compileMachO(program: MachOProgram): string {
  const directory = program.directory ?? sandbox('macho');
  const name = program.name ?? nameOf(program);
  const objects = join(directory, `${name}.objects`);
  mkdirSync(objects, { recursive: true });
  const output = join(directory, name);
  const inputs = program.sources.map((source, i) => compile(program, source, objects, i));
  tool('ld64.lld-19', [...linkFlags(program), '-o', output, ...inputs, LIBSYSTEM], 'lld-19');
  return output;
}

/** The arguments that compile one C file for `arch`, before `-c FILE -o FILE`. */
export function compileFlags(arch: MachOArch): readonly string[] {
  return [
    ...['-target', `${arch}-apple-macos11`, '-nostdlibinc', '-isystem', join(HERE, 'include')],
    ...['-I', RUNTIME, '-O1', '-g', '-Wall', '-fno-stack-protector'],
  ];
}

/** Objects of sources of the checkout, which do not change while tests run: by flags and path. */
const compiled = new Map<string, string>();
let shared: string | undefined;

function compile(program: MachOProgram, source: string, objects: string, index: number): string {
  const path = isAbsolute(source) ? source : join(ROOT, source);
  const flags = [...compileFlags(program.arch), ...(program.compileFlags ?? []), '-c', path];
  const key = flags.join('\0');
  const known = compiled.get(key);
  if (known !== undefined) return known;
  const isShared = path.startsWith(ROOT);
  if (isShared) shared ??= sandbox('macho-objects');
  const name = `${isShared ? compiled.size : index}-${basename(path, extname(path))}.o`;
  const object = join(isShared ? (shared ?? objects) : objects, name);
  tool('clang-19', [...flags, '-o', object], 'clang-19');
  if (isShared) compiled.set(key, object);
  return object;
}

function linkFlags({ arch, fixups, kind = 'execute', ...program }: MachOProgram): string[] {
  const flags = ['-arch', arch, '-platform_version', 'macos', '11.0', '11.0'];
  flags.push(fixups === 'chained' ? '-fixup_chains' : '-no_fixup_chains');
  flags.push(program.signed === false ? '-no_adhoc_codesign' : '-adhoc_codesign');
  if (kind === 'execute') flags.push('-e', '_main');
  else flags.push(`-${kind}`);
  if (program.pie === false) flags.push('-no_pie');
  if (program.headerpad !== undefined) flags.push('-headerpad', `0x${program.headerpad.toString(16)}`);
  if (program.initOffsets === true) flags.push('-init_offsets');
  return [...flags, ...(program.linkFlags ?? [])];
}

function nameOf({ sources, arch, fixups, pie }: MachOProgram): string {
  const source = sources[0] ?? 'program';
  return `${basename(source, extname(source))}.${arch}.${fixups}${pie === false ? '.no-pie' : ''}`;
}

/** Runs a tool to its end: what it says of a failure, and even a warning of the linker, is an error. */
function tool(name: string, args: readonly string[], debianPackage: string): void {
  const { status, stderr, error } = spawnSync(name, args, { encoding: 'utf8' });
  if (error !== undefined && !existsSync(`/usr/bin/${name}`))
    throw new Error(`${name} is missing: apt-get install ${debianPackage}`);
  if (error !== undefined) throw error;
  if (status !== 0 || (name === 'ld64.lld-19' && stderr !== ''))
    throw new Error(`${name} ${args.join(' ')}: status ${status}\n${stderr}`);
}
