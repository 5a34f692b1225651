/**
 * The page: a file is dropped, chosen, or lies within; the worker says what it is made of; the stage shows it.
 *
 * @module
 */
import { formatBytes } from '../../format-bytes.ts';
import { type FoundItem, findNumber, findSections, offsetOf } from '../find.ts';
import { scaleText } from '../fold.ts';
import type { LegendRow } from '../legend.ts';
import { describeKind, type MapData } from '../map-data.ts';
import { type PlaceFacts, placeFacts } from '../place-facts.ts';
import type { Order } from '../view.ts';
import { element, make } from './elements.ts';
import { showLegend } from './legend-list.ts';
import type { Found, Located, Reply, Request } from './protocol.ts';
import { Stage } from './stage.ts';

/** The worker's script, put in when this is bundled. */
declare const WORKER_SOURCE: string;

const surface = element('map', HTMLDivElement);
const query = element('query', HTMLInputElement);
const results = element('results', HTMLUListElement);
const stage = new Stage(element('canvas', HTMLCanvasElement), surface, (place, how) =>
  showPlace(place, how === 'keyboard'),
);

let worker: Worker | undefined;
let data: MapData | undefined;
let order: Order = 'file';
/** The last question about a symbol, and what it was about. */
let question = 0;
let asked: { readonly facts: PlaceFacts; readonly isSaid: boolean } | undefined;

start();

function start(): void {
  const file = element('file', HTMLInputElement);
  file.addEventListener('change', () => {
    const [chosen] = file.files ?? [];
    if (chosen) open({ type: 'open', file: chosen }, chosen.name);
    file.value = '';
  });
  listenToDrops();
  for (const radio of document.querySelectorAll<HTMLInputElement>('input[name="order"]')) {
    radio.addEventListener('change', () => setOrder(radio.value === 'memory' ? 'memory' : 'file'));
  }
  element('larger', HTMLButtonElement).addEventListener('click', () => stage.zoom(1.5));
  element('smaller', HTMLButtonElement).addEventListener('click', () => stage.zoom(1 / 1.5));
  element('whole', HTMLButtonElement).addEventListener('click', () => stage.whole());
  element('search', HTMLFormElement).addEventListener('submit', event => {
    event.preventDefault();
    search(query.value.trim());
  });
  document.addEventListener('keydown', event => {
    if (event.key === '/' && document.activeElement !== query && data) {
      event.preventDefault();
      query.select();
    }
    if (event.key === 'Escape') clearResults();
  });
  const { map, symbols } = {
    map: document.getElementById('data'),
    symbols: document.getElementById('symbols'),
  };
  if (map === null || symbols === null) return;
  if (map.dataset['order'] === 'memory') setOrder('memory');
  element('empty', HTMLElement).hidden = true;
  open({ type: 'open-embedded', map: map.textContent, symbols: symbols.textContent }, '');
}

function listenToDrops(): void {
  const mark = (event: DragEvent, isOver: boolean): void => {
    event.preventDefault();
    document.body.classList.toggle('dropping', isOver);
  };
  document.addEventListener('dragover', event => mark(event, true));
  document.addEventListener('dragleave', event => mark(event, event.relatedTarget !== null));
  document.addEventListener('drop', event => {
    mark(event, false);
    const [file] = event.dataTransfer?.files ?? [];
    if (file) open({ type: 'open', file }, file.name);
  });
}

/** Each file has a worker of its own: one that still reads another file just ends. */
function open(request: Request, name: string): void {
  worker?.terminate();
  const url = URL.createObjectURL(new Blob([WORKER_SOURCE], { type: 'text/javascript' }));
  worker = new Worker(url);
  URL.revokeObjectURL(url);
  worker.addEventListener('message', ({ data: reply }: MessageEvent<Reply>) => receive(reply, name));
  performance.mark('opened');
  showError(undefined);
  clearResults();
  worker.postMessage(request);
}

function receive(reply: Reply, name: string): void {
  switch (reply.type) {
    case 'map':
      data = reply.map;
      stage.highlight(undefined);
      showMap(data);
      // Frames are in order: the stage's has been painted then.
      requestAnimationFrame(() => performance.mark('drawn'));
      return;
    case 'progress':
      showProgress(`Looking for zero pages: ${Math.round((100 * reply.done) / Math.max(1, reply.size))} %`);
      return;
    case 'zero-pages':
      if (data) data = { ...data, zeroPages: reply.zeroPages };
      if (data) showMap(data);
      return;
    case 'complete':
      showProgress('');
      performance.mark('finished');
      document.body.dataset['state'] = 'finished';
      return;
    case 'located':
      if (reply.id === question && asked) showFacts(asked.facts, reply.symbol, asked.isSaid);
      return;
    case 'found':
      if (reply.id === question) showFound(reply.symbols);
      return;
    case 'error':
      if (reply.isFatal) showNothing();
      showError(
        `${name === '' ? 'The file' : name} cannot be read${reply.isFatal ? '' : ' in full'}: ${reply.message}.`,
      );
  }
}

function showProgress(text: string): void {
  const progress = element('progress', HTMLParagraphElement);
  if (progress.textContent !== text) progress.textContent = text;
}

function showNothing(): void {
  data = undefined;
  setShown(false);
  element('title', HTMLHeadingElement).textContent = 'Page map';
  element('facts', HTMLParagraphElement).textContent = 'of an ELF or Mach-O file';
  document.title = 'Page map';
}

function setShown(isShown: boolean): void {
  for (const id of ['stage', 'side', 'orders', 'search', 'zoom']) {
    element(id, HTMLElement).hidden = !isShown;
  }
  element('empty', HTMLElement).hidden = isShown;
}

function showMap(shown: MapData): void {
  setShown(true);
  // A relocatable has no memory to be shown.
  const hasMemory = shown.images.some(({ memory }) => memory.length > 0);
  element('orders', HTMLFieldSetElement).disabled = !hasMemory;
  if (!hasMemory && order === 'memory') {
    setOrder('file');
    return;
  }
  stage.show(shown, order);
  const scale = stage.fold ? `; ${scaleText(stage.fold)}` : '';
  const facts = `${describeKind(shown)}, ${formatBytes(shown.size)}${scale}`;
  element('title', HTMLHeadingElement).textContent = shown.name;
  element('facts', HTMLParagraphElement).textContent = facts;
  document.title = `Page map of ${shown.name}`;
  surface.setAttribute('aria-label', `Page map of ${shown.name}: ${facts}`);
  showLegend(shown, order, chooseName);
  showPlace(0, false);
}

function setOrder(wanted: Order): void {
  order = wanted;
  for (const radio of document.querySelectorAll<HTMLInputElement>('input[name="order"]')) {
    radio.checked = radio.value === wanted;
  }
  if (data) showMap(data);
}

function chooseName(row: LegendRow | undefined): void {
  stage.highlight(row?.name);
  const piece = stage.fold?.view.pieces.find(({ name }) => name === row?.name);
  if (piece && row) showPlace(piece.start, true);
}

function showPlace(place: number | undefined, isSaid: boolean): void {
  const { fold } = stage;
  if (data === undefined || fold === undefined || place === undefined) return;
  const facts = placeFacts(data, fold.view, place);
  if (facts === undefined) return;
  showFacts(facts, undefined, false);
  asked = { facts, isSaid };
  const { image, address, offset } = facts;
  const at = address !== undefined ? { address } : offset !== undefined ? { offset } : undefined;
  if (at) ask({ type: 'locate', id: ++question, image, at });
}

const ask = (request: Request): void => worker?.postMessage(request);

function showFacts({ rows }: PlaceFacts, symbol: Located | undefined, isSaid: boolean): void {
  const all = symbol ? [...rows, ['Symbol', symbolText(symbol)] as const] : rows;
  element('here', HTMLDListElement).replaceChildren(
    ...all.flatMap(([label, value]) => [make('dt', label), make('dd', value)]),
  );
  if (isSaid) element('said', HTMLParagraphElement).textContent = all.map(row => row.join(' ')).join(', ');
}

const symbolText = ({ name, into }: Located): string =>
  into === 0 ? name : `${name} + 0x${into.toString(16)}`;

/** An address, an offset, a section, or a part of a symbol's name. */
function search(text: string): void {
  if (data === undefined || text === '') return;
  if (/^0x[0-9a-f]+$/i.test(text)) showItems(findNumber(data, BigInt(text)));
  else ask({ type: 'find', id: ++question, text });
}

function showFound(symbols: readonly Found[]): void {
  if (data === undefined) return;
  const items = symbols.map(({ name, size, ...place }) => ({
    ...place,
    text: `${name}, ${formatBytes(size)}`,
  }));
  showItems([...items, ...findSections(data, query.value.trim())]);
}

function showItems(items: readonly FoundItem[]): void {
  const buttons = items.map(item => {
    const button = make('button', item.text, { type: 'button' });
    button.addEventListener('click', () => goTo(item));
    return make('li', [button]);
  });
  results.replaceChildren(...(buttons.length > 0 ? buttons : [make('li', 'Nothing found.')]));
  results.hidden = false;
  element('said', HTMLParagraphElement).textContent = `${items.length} found`;
  const [only] = items;
  if (items.length === 1 && only) goTo(only);
  else results.querySelector('button')?.focus();
}

/** What is not in this order may be in the other one: a symbol of .bss is in memory only. */
function goTo({ image, address, offset }: FoundItem): void {
  if (data === undefined) return;
  const inFile = offset ?? offsetOf(data, image, address);
  const positions = { file: inFile === undefined ? undefined : BigInt(inFile), memory: address };
  if (positions[order] === undefined) setOrder(order === 'file' ? 'memory' : 'file');
  const position = positions[order];
  if (position === undefined) return;
  stage.goTo(position, order === 'file' ? undefined : image);
  surface.focus();
}

function clearResults(): void {
  results.hidden = true;
  results.replaceChildren();
}

function showError(text: string | undefined): void {
  const error = element('error', HTMLParagraphElement);
  error.hidden = text === undefined;
  error.textContent = text ?? '';
  document.body.dataset['state'] = text === undefined ? 'reading' : 'failed';
}
