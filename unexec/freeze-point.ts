/**
 * Freeze points by name: what `--at` takes.
 *
 * @module
 */
import { UnexecError } from './errors.ts';

export type FreezePoint =
  | { readonly type: 'auto' | 'now' | 'request' | 'stop' | 'input' | 'main' }
  | { readonly type: 'symbol'; readonly name: string }
  | { readonly type: 'output'; readonly text: string }
  | { readonly type: 'time'; readonly milliseconds: number }
  | { readonly type: 'syscall'; readonly count: number };

export const FREEZE_POINT_HELP =
  'auto, now, request, stop, input, main, symbol:NAME, output:TEXT, time:DURATION (500ms, 2s, 1m) or syscall:N';

const UNITS: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1000],
  ['', 1000],
  ['m', 60_000],
]);

/** Parses a freeze point. @throws UnexecError `BAD_FREEZE_POINT` */
export function parseFreezePoint(text: string): FreezePoint {
  switch (text) {
    case 'auto':
    case 'now':
    case 'request':
    case 'stop':
    case 'input':
    case 'main':
      return { type: text };
  }
  const colon = text.indexOf(':');
  const kind = colon < 0 ? text : text.slice(0, colon);
  const value = colon < 0 ? '' : text.slice(colon + 1);
  if (kind === 'symbol' && value !== '') return { type: 'symbol', name: value };
  if (kind === 'output' && value !== '') return { type: 'output', text: value };
  if (kind === 'time') {
    const match = /^(\d+(?:\.\d+)?)(ms|s|m|)$/.exec(value);
    const unit = UNITS.get(match?.[2] ?? '');
    if (match !== null && unit !== undefined) return { type: 'time', milliseconds: Number(match[1]) * unit };
  }
  if (kind === 'syscall' && /^[1-9]\d*$/.test(value)) return { type: 'syscall', count: Number(value) };
  throw new UnexecError('BAD_FREEZE_POINT', `'${text}' is no freeze point`, {
    hint: `use ${FREEZE_POINT_HELP}`,
  });
}

/** The text that `parseFreezePoint` takes. */
export function freezePointText(point: FreezePoint): string {
  switch (point.type) {
    case 'symbol':
      return `symbol:${point.name}`;
    case 'output':
      return `output:${point.text}`;
    case 'time':
      return `time:${point.milliseconds}ms`;
    case 'syscall':
      return `syscall:${point.count}`;
    default:
      return point.type;
  }
}
