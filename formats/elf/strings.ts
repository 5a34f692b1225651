/**
 * String tables (SHT_STRTAB): gABI 4.1, "String Table". Mach-O has the same ones.
 *
 * @module
 */
export { StringTable, StringTableBuilder } from '../strings.ts';
