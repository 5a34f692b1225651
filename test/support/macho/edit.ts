/**
 * Edits the bytes of a Mach-O file in place, field by field, for tests that break rules. It knows just
 * enough to find a field, and nothing of formats/macho, which is what such tests are about.
 *
 * @module
 */
import { readFileSync, writeFileSync } from 'node:fs';

/** Offsets of fields in their structs (<mach-o/loader.h>). */
export const SEGMENT = {
  segname: 8,
  vmaddr: 24,
  vmsize: 32,
  fileoff: 40,
  filesize: 48,
  maxprot: 56,
} as const;
export const INITPROT = 60;
export const SEGMENT_FLAGS = 68;
export const SECTION = { addr: 32, size: 40, offset: 48, align: 52, flags: 64 } as const;

export class Editor {
  bytes: Uint8Array;

  constructor(path: string) {
    this.bytes = new Uint8Array(readFileSync(path));
  }

  get view(): DataView {
    return new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength);
  }

  u32(at: number): number {
    return this.view.getUint32(at, true);
  }
  set32(at: number, value: number): void {
    this.view.setUint32(at, value, true);
  }
  add32(at: number, value: number): void {
    this.set32(at, this.u32(at) + value);
  }
  u64(at: number): number {
    return Number(this.view.getBigUint64(at, true));
  }
  set64(at: number, value: number): void {
    this.view.setBigUint64(at, BigInt(value), true);
  }
  add64(at: number, value: number): void {
    this.set64(at, this.u64(at) + value);
  }

  /** Offset of the first load command of this kind. */
  command(cmd: number): number {
    for (const at of this.commands()) if (this.u32(at) === cmd) return at;
    throw new Error(`no load command 0x${cmd.toString(16)}`);
  }

  /** Offset of the LC_SEGMENT_64 of this name. */
  segment(name: string): number {
    for (const at of this.segments()) if (this.text(at + SEGMENT.segname) === name) return at;
    throw new Error(`no segment ${name}`);
  }

  /** Offsets of all LC_SEGMENT_64. */
  segments(): number[] {
    return this.commands().filter(at => this.u32(at) === 0x19);
  }

  /** Offset of the section_64 of this name. */
  section(name: string): number {
    for (const at of this.segments()) {
      for (let i = 0; i < this.u32(at + 64); i++)
        if (this.text(at + 72 + i * 80) === name) return at + 72 + i * 80;
    }
    throw new Error(`no section ${name}`);
  }

  append(count: number): void {
    const longer = new Uint8Array(this.bytes.length + count);
    longer.set(this.bytes);
    this.bytes = longer;
  }

  save(path: string): string {
    writeFileSync(path, this.bytes, { mode: 0o755 });
    return path;
  }

  /** A name of up to 16 bytes. */
  text(at: number): string {
    const name = this.bytes.subarray(at, at + 16);
    const end = name.indexOf(0);
    return new TextDecoder().decode(end < 0 ? name : name.subarray(0, end));
  }

  private commands(): number[] {
    const found: number[] = [];
    for (let i = 0, at = 32; i < this.u32(16); i++, at += this.u32(at + 4)) found.push(at);
    return found;
  }
}
