/**
 * What the page and its worker say to each other.
 *
 * @module
 */
import type { MapData } from '../map-data.ts';

export type Request =
  /** A file that the user chose. */
  | { readonly type: 'open'; readonly file: File }
  | ({ readonly type: 'open-embedded' } & EmbeddedTexts)
  | { readonly type: 'locate'; readonly id: number; readonly image: number; readonly at: Place }
  | { readonly type: 'find'; readonly id: number; readonly text: string };

/** The data that lies in the page: each gzip, in base64. */
export interface EmbeddedTexts {
  readonly map: string;
  readonly symbols: string;
}

/** An address, or an offset in the file. */
export type Place = { readonly address: bigint } | { readonly offset: number };

export type Reply =
  /** The parts; which pages are zero, or the symbols, may follow. */
  | { readonly type: 'map'; readonly map: MapData }
  | { readonly type: 'progress'; readonly done: number; readonly size: number }
  | { readonly type: 'zero-pages'; readonly zeroPages: readonly number[] }
  /** Everything can be asked. */
  | { readonly type: 'complete' }
  | { readonly type: 'located'; readonly id: number; readonly symbol: Located | undefined }
  | { readonly type: 'found'; readonly id: number; readonly symbols: readonly Found[] }
  /** `isFatal`: nothing can be shown of the file. */
  | { readonly type: 'error'; readonly message: string; readonly code: string; readonly isFatal: boolean };

export interface Located {
  readonly name: string;
  /** Bytes from its beginning. */
  readonly into: number;
  readonly size: number;
}

export interface Found {
  readonly name: string;
  readonly image: number;
  readonly address: bigint | undefined;
  readonly offset: number | undefined;
  readonly size: number;
}
