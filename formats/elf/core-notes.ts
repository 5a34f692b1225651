/**
 * What the notes of a core say: the status of each thread, the process's names and ids, the files that were
 * mapped. `linux/elfcore.h` and `fs/binfmt_elf.c` of Linux 6.1; x86-64 and AArch64 differ in the registers only.
 *
 * @module
 */
import { FormatError, hex } from '../errors.ts';
import { array, bytes, type Field, i32, struct, u8, u16, u32, u64, type Value, viewOf } from '../struct.ts';
import { EM } from './constants.ts';
import { LE } from './structs.ts';

/** `struct elf_prstatus` without what follows the ids: pr_reg, whose size is the machine's, and pr_fpvalid. */
const elf_prstatus = struct({
  si_signo: i32,
  si_code: i32,
  si_errno: i32,
  pr_cursig: u16,
  padding: u16,
  pr_sigpend: u64,
  pr_sighold: u64,
  pr_pid: i32,
  pr_ppid: i32,
  pr_pgrp: i32,
  pr_sid: i32,
  /** pr_utime, pr_stime, pr_cutime, pr_cstime: seconds and microseconds. */
  times: array(u64, 8),
});
const prstatus_end = struct({ pr_fpvalid: i32, padding: i32 });

/** `struct elf_prpsinfo`. */
const elf_prpsinfo = struct({
  pr_state: u8,
  pr_sname: u8,
  pr_zomb: u8,
  pr_nice: u8,
  padding: u32,
  pr_flag: u64,
  pr_uid: u32,
  pr_gid: u32,
  pr_pid: i32,
  pr_ppid: i32,
  pr_pgrp: i32,
  pr_sid: i32,
  pr_fname: bytes(16),
  pr_psargs: bytes(80),
});

const file_note = struct({ count: u64, page_size: u64 });
const file_entry = struct({ start: u64, end: u64, file_ofs: u64 });

/** One component of `NT_X86_XSAVE_LAYOUT`, `struct x86_xfeat_component` of Linux 6.12. */
const xfeat_component = struct({ type: u32, size: u32, offset: u32, flags: u32 });
export type XsaveComponent = Value<typeof xfeat_component>;

/** How many 64-bit registers pr_reg has: `user_regs_struct` (27), or `user_pt_regs` (x0 to x30, sp, pc, pstate). */
const REGISTER_COUNT: ReadonlyMap<number, number> = new Map([
  [EM.EM_X86_64, 27],
  [EM.EM_AARCH64, 34],
]);

/** NT_PRSTATUS. */
export interface CoreStatus {
  /** The signal that the thread dies of, or 0. */
  readonly signal: number;
  readonly tid: number;
  readonly ppid: number;
  readonly pgrp: number;
  readonly sid: number;
  /** Signals that wait for the thread; bit n - 1 is signal n. */
  readonly pending: bigint;
  /** Signals that are blocked. gdb and qemu-user write 0, whatever it was. */
  readonly held: bigint;
  /** In the order of `user_regs_struct` or `user_pt_regs`. */
  readonly registers: readonly bigint[];
}

/** NT_PRPSINFO. */
export interface CoreProcess {
  readonly pid: number;
  readonly ppid: number;
  readonly pgrp: number;
  readonly sid: number;
  readonly uid: number;
  readonly gid: number;
  /** comm: at most 15 bytes of the program's name. */
  readonly name: string;
  /** At most 79 bytes of the arguments, joined with spaces. */
  readonly arguments: string;
}

/** An entry of NT_FILE. */
export interface CoreMappedFile {
  readonly start: bigint;
  readonly end: bigint;
  /** In the file, bytes. */
  readonly offset: bigint;
  readonly path: string;
}

const latin1 = (data: Uint8Array): string => {
  const end = data.indexOf(0);
  return String.fromCharCode(...(end < 0 ? data : data.subarray(0, end)));
};
const bytesOfText = (text: string, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i < length - 1 && i < text.length ? text.charCodeAt(i) & 0xff : 0));

/** @throws FormatError `ELF_BAD_CORE_NOTE`, and for a machine whose registers are not known */
export function readStatus(desc: Uint8Array, machine: number): CoreStatus {
  const registers = registersOf(machine);
  const size = elf_prstatus.size + registers.size + prstatus_end.size;
  if (desc.length < size) throw badNote('NT_PRSTATUS', desc.length, `${hex(size)} bytes`);
  const view = viewOf(desc);
  const status = elf_prstatus.read(view, 0, LE);
  return {
    signal: status.pr_cursig,
    tid: status.pr_pid,
    ppid: status.pr_ppid,
    pgrp: status.pr_pgrp,
    sid: status.pr_sid,
    pending: status.pr_sigpend,
    held: status.pr_sighold,
    registers: registers.get(view, elf_prstatus.size, LE),
  };
}

/** The descriptor of an NT_PRSTATUS. */
export function encodeStatus(status: CoreStatus, machine: number): Uint8Array {
  const registers = registersOf(machine);
  const desc = new Uint8Array(elf_prstatus.size + registers.size + prstatus_end.size);
  const view = viewOf(desc);
  const head = {
    si_signo: status.signal,
    si_code: 0,
    si_errno: 0,
    pr_cursig: status.signal,
    padding: 0,
    pr_sigpend: status.pending,
    pr_sighold: status.held,
    pr_pid: status.tid,
    pr_ppid: status.ppid,
    pr_pgrp: status.pgrp,
    pr_sid: status.sid,
    times: [0n, 0n, 0n, 0n, 0n, 0n, 0n, 0n],
  };
  elf_prstatus.write(view, 0, head, LE);
  registers.set(view, elf_prstatus.size, [...status.registers], LE);
  prstatus_end.write(view, desc.length - prstatus_end.size, { pr_fpvalid: 1, padding: 0 }, LE);
  return desc;
}

function registersOf(machine: number): Field<bigint[]> {
  const count = REGISTER_COUNT.get(machine);
  if (count !== undefined) return array(u64, count);
  const message = `ELF: a core for e_machine ${machine}, expected EM_X86_64 or EM_AARCH64`;
  throw new FormatError('ELF_UNSUPPORTED_MACHINE', message, { value: machine });
}

/** @throws FormatError `ELF_BAD_CORE_NOTE` */
export function readProcess(desc: Uint8Array): CoreProcess {
  if (desc.length < elf_prpsinfo.size) {
    throw badNote('NT_PRPSINFO', desc.length, `${hex(elf_prpsinfo.size)} bytes`);
  }
  const info = elf_prpsinfo.read(viewOf(desc), 0, LE);
  return {
    pid: info.pr_pid,
    ppid: info.pr_ppid,
    pgrp: info.pr_pgrp,
    sid: info.pr_sid,
    uid: info.pr_uid,
    gid: info.pr_gid,
    name: latin1(info.pr_fname),
    arguments: latin1(info.pr_psargs).trimEnd(),
  };
}

/** The descriptor of an NT_PRPSINFO; `state` is a letter of /proc/PID/stat. */
export const encodeProcess = (process: CoreProcess, state: string): Uint8Array =>
  elf_prpsinfo.encode(
    {
      pr_state: Math.max(0, 'RSDTZW'.indexOf(state)),
      pr_sname: state.charCodeAt(0),
      pr_zomb: 0,
      pr_nice: 0,
      padding: 0,
      pr_flag: 0n,
      pr_uid: process.uid,
      pr_gid: process.gid,
      pr_pid: process.pid,
      pr_ppid: process.ppid,
      pr_pgrp: process.pgrp,
      pr_sid: process.sid,
      pr_fname: bytesOfText(process.name, 16),
      pr_psargs: bytesOfText(process.arguments, 80),
    },
    LE,
  );

/** @throws FormatError `ELF_BAD_CORE_NOTE` where it has fewer entries or names than it says */
export function readMappedFiles(desc: Uint8Array): CoreMappedFile[] {
  if (desc.length < file_note.size) throw badNote('NT_FILE', desc.length, `${hex(file_note.size)} bytes`);
  const view = viewOf(desc);
  const { count, page_size } = file_note.read(view, 0, LE);
  const room = Math.floor((desc.length - file_note.size) / (file_entry.size + 1));
  if (count > BigInt(room)) throw badNote('NT_FILE', desc.length, `room for ${count} files`);
  const files: CoreMappedFile[] = [];
  let name = file_note.size + Number(count) * file_entry.size;
  for (let i = 0; i < Number(count); i++) {
    const { start, end, file_ofs } = file_entry.read(view, file_note.size + i * file_entry.size, LE);
    const nul = desc.indexOf(0, name);
    if (nul < 0) throw badNote('NT_FILE', desc.length, `${count} names, and found ${i}`);
    if (end <= start) throw badNote('NT_FILE', desc.length, `file ${i} to end after ${hex(start)}`);
    const path = decoder.decode(desc.subarray(name, nul));
    files.push({ start, end, offset: file_ofs * page_size, path });
    name = nul + 1;
  }
  return files;
}

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** The descriptor of an NT_FILE; offsets count in pages of this size. */
export function encodeMappedFiles(files: readonly CoreMappedFile[], pageSize: number): Uint8Array {
  const names = files.map(({ path }) => encoder.encode(`${path}\0`));
  const size = names.reduce(
    (sum, name) => sum + name.length,
    file_note.size + files.length * file_entry.size,
  );
  const desc = new Uint8Array(size);
  const view = viewOf(desc);
  file_note.write(view, 0, { count: BigInt(files.length), page_size: BigInt(pageSize) }, LE);
  let at = file_note.size + files.length * file_entry.size;
  for (const [i, { start, end, offset }] of files.entries()) {
    const entry = { start, end, file_ofs: offset / BigInt(pageSize) };
    file_entry.write(view, file_note.size + i * file_entry.size, entry, LE);
    desc.set(names[i] ?? [], at);
    at += names[i]?.length ?? 0;
  }
  return desc;
}

/** Where each state component is in the NT_X86_XSTATE of the same core; a part of one at the end is none. */
export const readXsaveLayout = (desc: Uint8Array): XsaveComponent[] =>
  Array.from({ length: Math.floor(desc.length / xfeat_component.size) }, (_, i) =>
    xfeat_component.read(viewOf(desc), i * xfeat_component.size, LE),
  );

const badNote = (note: string, size: number, expected: string): FormatError =>
  new FormatError('ELF_BAD_CORE_NOTE', `ELF: ${note} has ${hex(size)} bytes, expected ${expected}`, {
    value: size,
  });
