/**
 * Rules about symbol versions: ld.so compares hashes before names, so a wrong hash is a missing version. LSB 5.0
 * core, "Symbol Versioning"; glibc 2.36, elf/dl-version.c, _dl_check_map_versions().
 *
 * @module
 */
import { hex } from '../../errors.ts';
import type { Finding } from '../../finding.ts';
import { viewOf } from '../../struct.ts';
import { DT } from '../constants.ts';
import { bytesOf, dynamicStringTable, readDynamic, tableAt } from '../dynamic.ts';
import { readDynamicSymbols } from '../dynamic-symbols.ts';
import { elfHash } from '../hash.ts';
import type { ElfFile } from '../model.ts';
import { Elf64_Verdaux, Elf64_Verdef, Elf64_Vernaux, Elf64_Verneed, LE } from '../structs.ts';
import { readSymbolVersions } from '../versions.ts';
import { error, type Rule } from './rule.ts';

/** Each symbol's version exists. The reader says which does not. */
function indices(file: ElfFile): Iterable<Finding> {
  readSymbolVersions(file, readDynamicSymbols(file).length);
  return [];
}

/** vd_version, vn_version are 1 ("unsupported version … of Verneed record"); DT_VER…NUM records, with hashes. */
function* records(file: ElfFile): Iterable<Finding> {
  const entries = readDynamic(file);
  const defined = tableAt(file, entries, DT.DT_VERDEF);
  const needed = tableAt(file, entries, DT.DT_VERNEED);
  if (defined === undefined && needed === undefined) return;
  const names = dynamicStringTable(file, entries);
  const wrongHash = (what: string, name: string, hash: number): Finding =>
    error('ELF_VERSION_HASH', `${what} of ${name} is ${hex(hash)}, expected ${hex(elfHash(name))}`);
  const wrongVersion = (what: string, version: number): Finding =>
    error('ELF_VERSION_RECORD', `${what} is ${version}, expected 1`);

  for (let at = 0, left = 0x8000; defined !== undefined && left > 0; left--) {
    const entry = Elf64_Verdef.read(viewOf(bytesOf(defined, 'DT_VERDEF', at, Elf64_Verdef.size)), 0, LE);
    const aux = viewOf(bytesOf(defined, 'DT_VERDEF', at + entry.vd_aux, Elf64_Verdaux.size));
    const name = names.at(Elf64_Verdaux.read(aux, 0, LE).vda_name);
    if (entry.vd_version !== 1) yield wrongVersion(`vd_version of ${name}`, entry.vd_version);
    if (entry.vd_hash !== elfHash(name)) yield wrongHash('vd_hash', name, entry.vd_hash);
    if (entry.vd_next === 0) break;
    at += entry.vd_next;
  }
  for (let at = 0, left = 0x8000; needed !== undefined && left > 0; left--) {
    const entry = Elf64_Verneed.read(viewOf(bytesOf(needed, 'DT_VERNEED', at, Elf64_Verneed.size)), 0, LE);
    const library = names.at(entry.vn_file);
    if (entry.vn_version !== 1) yield wrongVersion(`vn_version of ${library}`, entry.vn_version);
    for (let from = at + entry.vn_aux, of = entry.vn_cnt; of > 0 && left > 0; of--, left--) {
      const aux = Elf64_Vernaux.read(viewOf(bytesOf(needed, 'DT_VERNEED', from, Elf64_Vernaux.size)), 0, LE);
      const name = names.at(aux.vna_name);
      if (aux.vna_hash !== elfHash(name)) yield wrongHash('vna_hash', name, aux.vna_hash);
      from += aux.vna_next;
    }
    if (entry.vn_next === 0) break;
    at += entry.vn_next;
  }
}

export const VERSION_RULES: readonly Rule[] = [indices, records];
