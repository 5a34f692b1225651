/**
 * Everything that takes time, beside the page: describing a file, looking for its zero pages, and its symbols.
 *
 * @module
 */
import {
  describeFile,
  FormatError,
  findZeroPages,
  type ImageDescription,
  PAGE_SIZE,
} from '../../../formats/describe/index.ts';
import { SymbolIndex } from '../../../formats/describe/symbols.ts';
import { decodeMap, decodeSymbols, type SymbolTable } from '../embedded.ts';
import { mapDataOf, zeroRuns } from '../map-data.ts';
import { BlobSource } from './file-source.ts';
import type { EmbeddedTexts, Found, Located, Place, Reply, Request } from './protocol.ts';

/** Where symbols come from: the file, or the data in the page. */
interface Symbols {
  at(place: Place): Located | undefined;
  find(text: string): Omit<Found, 'image'>[];
}

const MOST_FOUND = 50;

let images: readonly Symbols[] = [];

const send = (reply: Reply): void => postMessage(reply);

self.addEventListener('message', ({ data }: MessageEvent<Request>) => void answer(data).catch(fail));

async function answer(request: Request): Promise<void> {
  switch (request.type) {
    case 'open':
      await openFile(request.file);
      break;
    case 'open-embedded':
      await openEmbedded(request);
      break;
    case 'locate':
      send({ type: 'located', id: request.id, symbol: images[request.image]?.at(request.at) });
      break;
    case 'find': {
      const found = images.flatMap((symbols, image) =>
        symbols.find(request.text).map(symbol => ({ ...symbol, image })),
      );
      send({ type: 'found', id: request.id, symbols: found.slice(0, MOST_FOUND) });
    }
  }
}

async function openFile(file: File): Promise<void> {
  const source = new BlobSource(file);
  let described: ReturnType<typeof describeFile>;
  try {
    described = describeFile(source);
  } catch (error) {
    sayError(error, true);
    return;
  }
  images = described.images.map(symbolsOf);
  send({ type: 'map', map: mapDataOf(described, file.name, new Uint8Array(0)) });
  const scanning = findZeroPages(source);
  for (;;) {
    const { done, value } = scanning.next();
    if (done) {
      send({ type: 'zero-pages', zeroPages: zeroRuns(value, Math.ceil(source.size / PAGE_SIZE)) });
      send({ type: 'complete' });
      return;
    }
    send({ type: 'progress', done: value.done, size: source.size });
    await otherMessages();
  }
}

/** Lets questions that have come be answered; a timer would wait for 4 ms each time. */
const otherMessages = (): Promise<void> =>
  new Promise(resolve => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(undefined);
  });

async function openEmbedded({ map, symbols }: EmbeddedTexts): Promise<void> {
  send({ type: 'map', map: decodeMap(await decompress(map)) });
  images = decodeSymbols(await decompress(symbols)).map(symbolsOfTable);
  send({ type: 'complete' });
}

/** Text from gzip in base64. */
async function decompress(text: string): Promise<string> {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  // Twenty times as fast as Uint8Array.from() with a function.
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Response(stream).text();
}

const symbolsOf = (image: ImageDescription): Symbols => ({
  at(place) {
    const found = 'address' in place ? image.symbolAt(place.address) : image.symbolAtOffset(place.offset);
    return found && { name: found.symbol.name, size: found.symbol.size, into: found.into };
  },
  find: text => image.findSymbols(text, MOST_FOUND),
});

function symbolsOfTable({ isRelocatable, names, distances, sizes, types }: SymbolTable): Symbols {
  let position = 0n;
  const raw = names.map((name, i) => {
    position += BigInt(distances[i] ?? 0);
    return { name, position, size: sizes[i] ?? 0, type: types[i] ?? 'other', isGlobal: false };
  });
  const index = new SymbolIndex({
    read: () => raw,
    endOf: () => undefined,
    addressOf: position => (isRelocatable ? undefined : position),
    offsetOf: position => (isRelocatable ? Number(position) : undefined),
  });
  return {
    at(place) {
      if ('address' in place === isRelocatable) return undefined;
      const found = index.at('address' in place ? place.address : BigInt(place.offset));
      return found && { name: found.symbol.name, size: found.symbol.size, into: found.into };
    },
    find: text => index.find(text, MOST_FOUND),
  };
}

/** A symbol table that makes no sense leaves the map as it is. */
function fail(error: unknown): void {
  images = [];
  sayError(error, false);
}

function sayError(error: unknown, isFatal: boolean): void {
  const message = error instanceof Error ? error.message : String(error);
  send({ type: 'error', message, code: error instanceof FormatError ? error.code : '', isFatal });
}
