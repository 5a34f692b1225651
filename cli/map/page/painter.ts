/**
 * Draws a fold on a canvas, as large as it is zoomed and where it was moved to. Paths are made once; a frame only
 * fills them.
 *
 * @module
 */
import { DARK, LIGHT } from '../colours.ts';
import {
  type ColumnLabel,
  columnLabels,
  isPlain,
  type Marked,
  type Pattern,
  shapesOf,
  TILE_SIZE,
  TILES,
} from '../drawing.ts';
import { type Fold, rectsOf, sizeOf } from '../fold.ts';

/** Screen = map * scale + (x, y), in CSS pixels. */
export interface Camera {
  readonly scale: number;
  readonly x: number;
  readonly y: number;
}

/** Room around the map; column labels are above it. */
export const MARGIN = 24;

interface PaintedShape {
  readonly name: string;
  readonly colour: string;
  readonly pattern: Pattern;
  readonly path: Path2D;
}

export interface Marks {
  /** [start, end) in the row: what the keyboard is at. */
  readonly cursor: readonly [number, number] | undefined;
  /** Everything else is pale. */
  readonly name: string | undefined;
}

export class Painter {
  readonly #context: CanvasRenderingContext2D;
  readonly #tiles = new Map<string, CanvasPattern | null>();
  #shapes: readonly PaintedShape[] = [];
  #labels: readonly ColumnLabel[] = [];
  #fold: Fold | undefined;

  constructor(canvas: HTMLCanvasElement) {
    const context = canvas.getContext('2d');
    if (context === null) throw new Error('this browser has no canvas');
    this.#context = context;
  }

  setFold(fold: Fold): void {
    this.#fold = fold;
    this.#labels = columnLabels(fold);
    this.#shapes = shapesOf(fold).map(({ rects, ...shape }) => {
      const path = new Path2D();
      for (const { x, y, width, height } of rects) path.rect(x, y, width, height);
      return { ...shape, path };
    });
  }

  paint(camera: Camera, marks: Marks, isDark: boolean): void {
    const context = this.#context;
    const { canvas } = context;
    const ratio = devicePixelRatio;
    const theme = isDark ? DARK : LIGHT;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = theme.background;
    context.fillRect(0, 0, canvas.width, canvas.height);
    if (this.#fold === undefined) return;
    context.setTransform(
      ratio * camera.scale,
      0,
      0,
      ratio * camera.scale,
      ratio * camera.x,
      ratio * camera.y,
    );
    for (const { name, colour, pattern, path } of this.#shapes) {
      context.globalAlpha = marks.name === undefined || marks.name === name ? 1 : 0.15;
      if (!isPlain(pattern)) {
        const { globalAlpha } = context;
        context.globalAlpha = globalAlpha * TILES[pattern].under;
        context.fillStyle = colour;
        context.fill(path);
        context.globalAlpha = globalAlpha;
      }
      context.fillStyle = isPlain(pattern) ? colour : this.#tile(colour, pattern, camera);
      context.fill(path);
    }
    context.globalAlpha = 1;
    if (marks.cursor) this.#outline(this.#fold, marks.cursor, camera, theme);
    context.setTransform(ratio, 0, 0, ratio, ratio * camera.x, ratio * camera.y);
    context.fillStyle = theme.muted;
    context.font = '11px ui-monospace, monospace';
    for (const { x, text } of this.#labels) context.fillText(text, x * camera.scale, -6);
  }

  /** Marks stay as they are, however large the map is. */
  #tile(colour: string, pattern: Marked, { scale }: Camera): CanvasPattern | string {
    const key = `${pattern} ${colour}`;
    let tile = this.#tiles.get(key);
    if (tile === undefined) {
      const size = TILE_SIZE * devicePixelRatio;
      const canvas = new OffscreenCanvas(size, size);
      const context = canvas.getContext('2d');
      context?.scale(devicePixelRatio, devicePixelRatio);
      if (context) context.strokeStyle = colour;
      context?.stroke(new Path2D(TILES[pattern].marks));
      tile = this.#context.createPattern(canvas, 'repeat');
      this.#tiles.set(key, tile);
    }
    const inverse = 1 / (scale * devicePixelRatio);
    tile?.setTransform(new DOMMatrix([inverse, 0, 0, inverse, 0, 0]));
    return tile ?? colour;
  }

  /** Two lines, dark and light: one of them is seen on any colour. */
  #outline(
    fold: Fold,
    [start, end]: readonly [number, number],
    { scale }: Camera,
    theme: typeof DARK | typeof LIGHT,
  ) {
    const context = this.#context;
    for (const [colour, width] of [
      [theme.background, 5],
      [theme.text, 2],
    ] as const) {
      context.strokeStyle = colour;
      context.lineWidth = width / scale;
      for (const { x, y, width: wide, height } of rectsOf(fold, start, end))
        context.strokeRect(x, y, wide, height);
    }
  }
}

/** The camera that shows all of a fold. */
export function wholeOf(fold: Fold, width: number, height: number): Camera {
  const size = sizeOf(fold);
  const scale = Math.min(1, (width - 2 * MARGIN) / size.width, (height - 2 * MARGIN) / size.height);
  return { scale: Math.max(scale, 0.01), x: MARGIN, y: MARGIN };
}

const MOST_SCALE = 512;

/** Larger or smaller around a point of the screen. */
export function zoomed(camera: Camera, factor: number, x: number, y: number): Camera {
  const scale = Math.min(MOST_SCALE, Math.max(0.05, camera.scale * factor));
  const real = scale / camera.scale;
  return { scale, x: x - (x - camera.x) * real, y: y - (y - camera.y) * real };
}
