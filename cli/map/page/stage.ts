/**
 * The map on the screen: zoomed and moved by pointer and keyboard, with a cursor.
 *
 * @module
 */
import { type Fold, foldOf, placeAt, rectsOf } from '../fold.ts';
import type { MapData } from '../map-data.ts';
import { type Order, pieceAt, placeOf } from '../view.ts';
import { type Camera, MARGIN, Painter, wholeOf, zoomed } from './painter.ts';

/** Told where the user is. */
export type Listener = (place: number | undefined, how: 'pointer' | 'keyboard') => void;

const ZOOM_STEP = 1.5;
const LEAST_ROOM = { width: 200, height: 160 };

export class Stage {
  readonly #canvas: HTMLCanvasElement;
  readonly #surface: HTMLElement;
  readonly #painter: Painter;
  readonly #listener: Listener;
  readonly #dark = matchMedia('(prefers-color-scheme: dark)');
  #data: MapData | undefined;
  #order: Order = 'file';
  #fold: Fold | undefined;
  #camera: Camera = { scale: 1, x: MARGIN, y: MARGIN };
  #cursor = 0;
  #name: string | undefined;
  #isPending = false;

  /** `surface` is around the canvas, and has the focus. */
  constructor(canvas: HTMLCanvasElement, surface: HTMLElement, listener: Listener) {
    this.#canvas = canvas;
    this.#surface = surface;
    this.#painter = new Painter(canvas);
    this.#listener = listener;
    new ResizeObserver(() => this.#refold(true)).observe(canvas);
    this.#dark.addEventListener('change', () => this.#repaint());
    listenToPointer(canvas, {
      hover: (x, y) => listener(this.#placeAt(x, y), 'pointer'),
      choose: (x, y) => {
        const place = this.#placeAt(x, y);
        if (place !== undefined) this.#setCursor(place, 'pointer');
      },
      move: (dx, dy) => this.#look({ ...this.#camera, x: this.#camera.x + dx, y: this.#camera.y + dy }),
      zoom: (factor, x, y) => this.#look(zoomed(this.#camera, factor, x, y)),
    });
    surface.addEventListener('focus', () => this.#repaint());
    surface.addEventListener('keydown', event => {
      if (event.ctrlKey || event.metaKey || event.altKey || !this.#onKey(event.key)) return;
      event.preventDefault();
    });
  }

  get fold(): Fold | undefined {
    return this.#fold;
  }

  /** Another file, or another order of the same one. */
  show(data: MapData, order: Order): void {
    const isNew = this.#data?.name !== data.name || this.#order !== order;
    this.#data = data;
    this.#order = order;
    if (isNew) this.#cursor = 0;
    this.#refold(isNew);
  }

  /** Only this name in full colour; undefined: all. */
  highlight(name: string | undefined): void {
    this.#name = name;
    this.#repaint();
  }

  /** To a position of the file or an address; false where it is not on the map. */
  goTo(position: bigint, image?: number): boolean {
    const place = this.#fold && placeOf(this.#fold.view, position, image);
    if (place === undefined) return false;
    this.#setCursor(place, 'keyboard');
    return true;
  }

  zoom(factor: number): void {
    const [rect] = this.#fold ? rectsOf(this.#fold, this.#cursor, this.#cursor + 1) : [];
    const { scale, x, y } = this.#camera;
    if (rect) this.#look(zoomed(this.#camera, factor, rect.x * scale + x, rect.y * scale + y));
  }

  whole(): void {
    if (this.#fold) this.#look(wholeOf(this.#fold, this.#canvas.clientWidth, this.#canvas.clientHeight));
  }

  #refold(isNew: boolean): void {
    const { clientWidth, clientHeight } = this.#canvas;
    if (this.#data === undefined || clientWidth === 0) return;
    this.#canvas.width = clientWidth * devicePixelRatio;
    this.#canvas.height = clientHeight * devicePixelRatio;
    this.#fold = foldOf(this.#data, this.#order, {
      width: Math.max(LEAST_ROOM.width, clientWidth - 2 * MARGIN),
      height: Math.max(LEAST_ROOM.height, clientHeight - 2 * MARGIN),
    });
    this.#painter.setFold(this.#fold);
    if (isNew) this.whole();
    this.#repaint();
  }

  #look(camera: Camera): void {
    this.#camera = camera;
    this.#repaint();
  }

  /** At most once a frame. */
  #repaint(): void {
    if (this.#isPending) return;
    this.#isPending = true;
    requestAnimationFrame(() => {
      this.#isPending = false;
      const isActive = document.activeElement === this.#surface || this.#cursor > 0;
      const cursor = isActive ? ([this.#cursor, this.#cursor + this.#step()] as const) : undefined;
      this.#painter.paint(this.#camera, { cursor, name: this.#name }, this.#dark.matches);
    });
  }

  #placeAt(x: number, y: number): number | undefined {
    const { scale, x: left, y: top } = this.#camera;
    return this.#fold && placeAt(this.#fold, (x - left) / scale, (y - top) / scale);
  }

  /** A sixteenth of a line, or less where it is zoomed. */
  #step(): number {
    const line = this.#fold?.view.bytesPerLine ?? 4096;
    return Math.max(1, 2 ** Math.floor(Math.log2(line / (16 * Math.max(1, this.#camera.scale)))));
  }

  #setCursor(place: number, how: 'pointer' | 'keyboard'): void {
    this.#cursor = Math.floor(place);
    if (how === 'keyboard') this.#follow();
    this.#listener(this.#cursor, how);
    this.#repaint();
  }

  /** Moves the map so that the cursor is on it. */
  #follow(): void {
    const [rect] = this.#fold ? rectsOf(this.#fold, this.#cursor, this.#cursor + 1) : [];
    if (rect === undefined) return;
    const { scale, x, y } = this.#camera;
    const { clientWidth, clientHeight } = this.#canvas;
    const within = (at: number, size: number): boolean => at >= 0 && at <= size - 8;
    const [left, top] = [rect.x * scale + x, rect.y * scale + y];
    if (within(left, clientWidth) && within(top, clientHeight)) return;
    this.#camera = { scale, x: clientWidth / 2 - rect.x * scale, y: clientHeight / 2 - rect.y * scale };
  }

  /** Whether the key means something here. */
  #onKey(key: string): boolean {
    const { view } = this.#fold ?? {};
    if (view === undefined) return false;
    const line = view.bytesPerLine;
    const column = line * (this.#fold?.linesPerColumn ?? 1);
    const moves: Readonly<Record<string, () => number>> = {
      ArrowRight: () => (Math.floor(this.#cursor / this.#step()) + 1) * this.#step(),
      ArrowLeft: () => (Math.ceil(this.#cursor / this.#step()) - 1) * this.#step(),
      ArrowDown: () => this.#cursor + line,
      ArrowUp: () => this.#cursor - line,
      PageDown: () => this.#cursor + Math.min(16 * line, column),
      PageUp: () => this.#cursor - Math.min(16 * line, column),
      Home: () => 0,
      End: () => (view.strips.at(-1)?.end ?? 1) - 1,
      n: () => this.#neighbour(1),
      p: () => this.#neighbour(-1),
    };
    const zooms: Readonly<Record<string, () => void>> = {
      '+': () => this.zoom(ZOOM_STEP),
      '=': () => this.zoom(ZOOM_STEP),
      '-': () => this.zoom(1 / ZOOM_STEP),
      '0': () => this.whole(),
    };
    const move = moves[key];
    const zoom = zooms[key];
    zoom?.();
    if (move) this.#moveTo(move());
    return move !== undefined || zoom !== undefined;
  }

  /** To there, or over the hole that is there. */
  #moveTo(wanted: number): void {
    const { view } = this.#fold ?? {};
    if (view === undefined) return;
    const place = Math.max(0, Math.min(wanted, (view.strips.at(-1)?.end ?? 1) - 1));
    if (view.strips.some(({ start, end }) => start <= place && place < end)) {
      this.#setCursor(place, 'keyboard');
      return;
    }
    const isForward = place > this.#cursor;
    const strip = isForward
      ? view.strips.find(({ start }) => start > place)
      : view.strips.findLast(({ end }) => end <= place);
    if (strip) this.#setCursor(isForward ? strip.start : strip.end - 1, 'keyboard');
  }

  /** Where the next or the previous name begins. */
  #neighbour(direction: 1 | -1): number {
    const pieces = this.#fold?.view.pieces ?? [];
    const here = this.#fold && pieceAt(this.#fold.view, this.#cursor);
    let i = here ? pieces.indexOf(here) : -1;
    while (pieces[i + direction]?.name === here?.name && pieces[i + direction] !== undefined) i += direction;
    return pieces[i + direction]?.start ?? this.#cursor;
  }
}

interface PointerActions {
  hover(x: number, y: number): void;
  choose(x: number, y: number): void;
  move(dx: number, dy: number): void;
  zoom(factor: number, x: number, y: number): void;
}

/** Farther than this a press is a drag. */
const SLACK = 4;

/** One pointer moves, two zoom, a wheel zooms. */
function listenToPointer(canvas: HTMLCanvasElement, actions: PointerActions): void {
  const pressed = new Map<number, { x: number; y: number }>();
  let travelled = 0;
  canvas.addEventListener('pointerdown', ({ pointerId, offsetX: x, offsetY: y }) => {
    canvas.setPointerCapture(pointerId);
    pressed.set(pointerId, { x, y });
    travelled = 0;
  });
  canvas.addEventListener('pointermove', ({ pointerId, offsetX: x, offsetY: y }) => {
    const before = pressed.get(pointerId);
    if (before === undefined) {
      actions.hover(x, y);
      return;
    }
    const other = [...pressed].find(([id]) => id !== pointerId)?.[1];
    if (other) {
      const factor =
        Math.hypot(x - other.x, y - other.y) /
        Math.max(1, Math.hypot(before.x - other.x, before.y - other.y));
      actions.zoom(factor, (x + other.x) / 2, (y + other.y) / 2);
    } else if (travelled > SLACK) actions.move(x - before.x, y - before.y);
    travelled += Math.hypot(x - before.x, y - before.y);
    pressed.set(pointerId, { x, y });
  });
  const release = ({ pointerId, offsetX: x, offsetY: y, type }: PointerEvent): void => {
    if (pressed.delete(pointerId) && type === 'pointerup' && travelled <= SLACK) actions.choose(x, y);
  };
  canvas.addEventListener('pointerup', release);
  canvas.addEventListener('pointercancel', release);
  canvas.addEventListener(
    'wheel',
    event => {
      event.preventDefault();
      const pixels = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? event.deltaY * 16 : event.deltaY;
      actions.zoom(Math.exp(-pixels / 400), event.offsetX, event.offsetY);
    },
    { passive: false },
  );
}
