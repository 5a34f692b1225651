/**
 * The exports trie: the symbols that an image offers to others, in a tree in which names share their beginnings.
 * A node is the size of what it says of a symbol (0: no symbol ends here), that, the number of its children, and
 * for each the bytes that lead there and its offset. mach-o/loader.h of cctools-1035, "The symbols exported by a
 * dylib"; dyld-1378, `ExportsTrie.cpp`.
 *
 * @module
 */
import { FormatError, hex } from '../errors.ts';
import { ulebSize } from '../leb128.ts';
import { EXPORT_SYMBOL_FLAGS } from './constants.ts';
import { OpcodeReader, OpcodeWriter } from './opcode-stream.ts';

/** A symbol that an image exports. */
export type ExportedSymbol = ExportedAddress | Reexport;

export interface ExportedAddress {
  readonly symbol: string;
  /** EXPORT_SYMBOL_FLAGS_* and its kind. */
  readonly flags: number;
  /** Bytes from the mach header; the value itself of an absolute symbol; the offset of a thread-local's descriptor. */
  readonly offset: bigint;
  /** A second number, where there is one: with ..._STUB_AND_RESOLVER the offset of the resolver function. */
  readonly other: bigint | undefined;
}

export interface Reexport {
  readonly symbol: string;
  /** EXPORT_SYMBOL_FLAGS_REEXPORT among them. */
  readonly flags: number;
  /** Which dylib has it, from 1. */
  readonly libOrdinal: number;
  /** Its name there; empty for the same. */
  readonly importName: string;
}

/** Names are at most so many times as long as the trie, which a real one shortens to a third. */
const BUDGET_FACTOR = 64;
const BUDGET_FLOOR = 64 * 1024;

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
const encoder = new TextEncoder();

export const isReexport = (symbol: ExportedSymbol): symbol is Reexport => 'libOrdinal' in symbol;

/**
 * The symbols of a trie, in its order. None in an empty one.
 *
 * @throws FormatError `MACHO_BAD_EXPORTS`: a node that is out of bounds, or is reached twice, a symbol whose size is
 *   wrong, names that together are far larger than the trie; `LEB128_*`
 */
export function decodeExports(blob: Uint8Array): ExportedSymbol[] {
  const symbols: ExportedSymbol[] = [];
  if (blob.length === 0) return symbols;
  const reader = new OpcodeReader('the exports trie', 'MACHO_BAD_EXPORTS', blob);
  const seen = new Uint8Array(blob.length);
  let budget = BUDGET_FLOOR + BUDGET_FACTOR * blob.length;
  // Names as one character a byte: an edge can end within a character.
  const open: { at: number; name: string }[] = [{ at: 0, name: '' }];
  for (let node = open.pop(); node; node = open.pop()) {
    if (node.at >= blob.length) {
      throw reader.fault(node.at, `have a node, expected it within ${hex(blob.length)} bytes`, node.at);
    }
    if (seen[node.at]) throw reader.fault(node.at, 'have a node that was seen, expected a tree', node.at);
    seen[node.at] = 1;
    reader.at = node.at;
    const size = reader.uleb();
    const end = reader.at + size;
    if (size > 0) {
      budget -= node.name.length;
      if (budget < 0)
        throw reader.fault(node.at, 'have names that are too long, expected less in all', node.at);
      symbols.push(readSymbol(reader, textOf(node.name), end));
      if (reader.at !== end) {
        throw reader.fault(
          node.at,
          `have a symbol that ends at ${hex(reader.at)}, expected ${hex(end)}`,
          size,
        );
      }
    }
    const count = reader.byte();
    const children: typeof open = [];
    for (let i = 0; i < count; i++) {
      const edge = binaryOf(reader.stringBytes());
      children.push({ name: node.name + edge, at: reader.uleb() });
    }
    for (const child of children.reverse()) open.push(child);
  }
  return symbols;
}

/**
 * The trie of these symbols, padded to 8 bytes; no bytes for none. The order is that of the bytes of the names.
 *
 * @throws FormatError `MACHO_BAD_EXPORTS` for a name that is there twice or has a NUL; `LEB128_RANGE`
 */
export function encodeExports(symbols: readonly ExportedSymbol[]): Uint8Array {
  if (symbols.length === 0) return new Uint8Array(0);
  const root = newNode('');
  for (const symbol of symbols) insert(root, binaryOf(encoder.encode(symbol.symbol)), symbol);
  const nodes = inOrder(root);
  // An offset takes more bytes the larger it is, and so moves the nodes behind it: they only ever move on.
  for (let moved = true; moved; ) {
    moved = false;
    let offset = 0;
    for (const node of nodes) {
      moved ||= node.offset !== offset;
      node.offset = offset;
      offset += sizeOf(node);
    }
  }
  const writer = new OpcodeWriter();
  for (const { said, children } of nodes) {
    writer.uleb(said.length);
    writer.bytes(said);
    writer.byte(children.size);
    for (const child of children.values()) {
      writer.bytes(edgeBytes(child));
      writer.uleb(child.offset);
    }
  }
  return writer.finish(8);
}

function readSymbol(reader: OpcodeReader, symbol: string, end: number): ExportedSymbol {
  const flags = reader.uleb();
  if ((flags & EXPORT_SYMBOL_FLAGS.EXPORT_SYMBOL_FLAGS_REEXPORT) !== 0) {
    return { symbol, flags, libOrdinal: reader.uleb(), importName: reader.string() };
  }
  const offset = reader.uleb64();
  return { symbol, flags, offset, other: reader.at < end ? reader.uleb64() : undefined };
}

/** Bytes as text of as many characters. */
function binaryOf(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

const bytesOf = (binary: string): Uint8Array => Uint8Array.from(binary, character => character.charCodeAt(0));

/** The UTF-8 that `binaryOf` was given, as text. */
function textOf(binary: string): string {
  for (let i = 0; i < binary.length; i++) {
    if (binary.charCodeAt(i) >= 0x80) return decoder.decode(bytesOf(binary));
  }
  return binary;
}

/** A node of the trie that is being made. */
interface TrieNode {
  /** What leads here from the node before, one character a byte. */
  edge: string;
  /** By the first character of their edges, which differ. */
  children: Map<string, TrieNode>;
  /** What it says of a symbol; no bytes for none. */
  said: Uint8Array;
  offset: number;
}

const newNode = (edge: string): TrieNode => ({
  edge,
  children: new Map(),
  said: new Uint8Array(0),
  offset: 0,
});

function insert(root: TrieNode, name: string, symbol: ExportedSymbol): void {
  let node = root;
  for (let rest = name; rest !== ''; ) {
    const first = rest.charAt(0);
    const child = node.children.get(first);
    if (!child) {
      const leaf = newNode(rest);
      node.children.set(first, leaf);
      node = leaf;
      break;
    }
    const shared = commonLength(child.edge, rest);
    if (shared < child.edge.length) {
      // The child goes on from a new node in the middle of its edge.
      const middle = newNode(child.edge.slice(0, shared));
      child.edge = child.edge.slice(shared);
      middle.children.set(child.edge.charAt(0), child);
      node.children.set(first, middle);
      node = middle;
    } else node = child;
    rest = rest.slice(shared);
  }
  if (node.said.length > 0 || name.includes('\0')) {
    const message = `Mach-O: a symbol is exported as ${JSON.stringify(symbol.symbol)}, expected each name once and without NUL`;
    throw new FormatError('MACHO_BAD_EXPORTS', message, { value: symbol.symbol });
  }
  node.said = saidOf(symbol);
}

function commonLength(a: string, b: string): number {
  let length = 0;
  while (length < a.length && a.charCodeAt(length) === b.charCodeAt(length)) length++;
  return length;
}

function saidOf(symbol: ExportedSymbol): Uint8Array {
  const writer = new OpcodeWriter();
  writer.uleb(symbol.flags);
  if (isReexport(symbol)) {
    writer.uleb(symbol.libOrdinal);
    writer.string(symbol.importName);
  } else {
    writer.uleb64(symbol.offset);
    if (symbol.other !== undefined) writer.uleb64(symbol.other);
  }
  return writer.finish(1);
}

/** The node, then all below each of its children in turn; children in the order of their first byte. */
function inOrder(root: TrieNode): TrieNode[] {
  const nodes: TrieNode[] = [];
  const open = [root];
  for (let node = open.pop(); node; node = open.pop()) {
    nodes.push(node);
    node.children = new Map([...node.children].sort(([a], [b]) => (a < b ? -1 : 1)));
    for (const child of [...node.children.values()].reverse()) open.push(child);
  }
  return nodes;
}

const edgeBytes = ({ edge }: TrieNode): Uint8Array => bytesOf(`${edge}\0`);

function sizeOf({ said, children }: TrieNode): number {
  let size = ulebSize(said.length) + said.length + 1;
  for (const { edge, offset } of children.values()) size += edge.length + 1 + ulebSize(offset);
  return size;
}
