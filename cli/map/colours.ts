/**
 * A colour for each name, the same in every picture. All of them have a luminance at which they stand out from a
 * white page and from a dark one by 3 to 1, which WCAG 2.2 (1.4.11) demands of graphics. What must be told apart
 * without colours (headers, zeros, gaps) has a pattern.
 *
 * @module
 */

/** Hues of what most files have, far from each other where they are neighbours. */
const HUES: ReadonlyMap<string, number> = new Map([
  ['.text', 215],
  ['.rodata', 150],
  ['.data', 25],
  ['.data.rel.ro', 45],
  ['.bss', 355],
  ['.eh_frame', 280],
  ['.eh_frame_hdr', 310],
  ['.dynsym', 180],
  ['.dynstr', 95],
  ['.symtab', 195],
  ['.strtab', 75],
  ['.rela.dyn', 330],
  ['.got', 0],
  ['.dynamic', 5],
  ['__TEXT,__text', 215],
  ['__TEXT,__const', 150],
  ['__TEXT,__cstring', 120],
  ['__TEXT,__unwind_info', 280],
  ['__TEXT,__eh_frame', 310],
  ['__DATA,__data', 25],
  ['__DATA,__bss', 355],
  ['__DATA_CONST,__const', 45],
  ['symbols', 195],
  ['strings', 75],
  ['function-starts', 255],
  ['code-signature', 330],
  ['heap.rw-', 25],
  ['anonymous.rw-', 45],
  ['stack.rw-', 330],
]);

/** Of the page itself, with its text. */
export const LIGHT = { background: '#ffffff', text: '#1c2026', muted: '#565f6b', line: '#7b8490' } as const;
export const DARK = { background: '#15181d', text: '#e8eaed', muted: '#a9b1bb', line: '#7b8490' } as const;

/** What headers are drawn in: grey, which no name has. */
export const HEADER_COLOUR = colourAt(0, 0, 0.18);

const known = new Map<string, string>();

/** `#rrggbb` for a name of a section, a region, a table. */
export function colourOf(name: string): string {
  let colour = known.get(name);
  if (colour === undefined) {
    const hash = hashOf(name);
    const hue = HUES.get(name) ?? hash % 360;
    const luminance = HUES.has(name) ? 0.2 : (LUMINANCES[(hash >>> 9) % LUMINANCES.length] ?? 0.2);
    colour = colourAt(hue, 0.45 + ((hash >>> 12) % 3) * 0.2, luminance);
    known.set(name, colour);
  }
  return colour;
}

const LUMINANCES = [0.15, 0.2, 0.26] as const;

/** WCAG 2.2, relative luminance of `#rrggbb`. */
export function luminanceOf(colour: string): number {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map(
    at => Number.parseInt(colour.slice(at, at + 2), 16) / 255,
  );
  return luminance(red, green, blue);
}

/** WCAG 2.2, contrast ratio: from 1 to 21. */
export function contrast(a: string, b: string): number {
  const [dark = 0, light = 0] = [luminanceOf(a), luminanceOf(b)].sort((x, y) => x - y);
  return (light + 0.05) / (dark + 0.05);
}

/** FNV-1a, 32 bits. */
function hashOf(text: string): number {
  let hash = 0x811c_9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x0100_0193);
  return (hash ^ (hash >>> 15)) >>> 0;
}

/** The colour of this hue and saturation that is as bright as wanted. */
function colourAt(hue: number, saturation: number, wanted: number): string {
  let low = 0;
  let high = 1;
  for (let i = 0; i < 20; i++) {
    const middle = (low + high) / 2;
    if (luminance(...rgbOf(hue, saturation, middle)) < wanted) low = middle;
    else high = middle;
  }
  const bytes = rgbOf(hue, saturation, low).map(part => Math.round(part * 255));
  return `#${bytes.map(byte => byte.toString(16).padStart(2, '0')).join('')}`;
}

/** HSL to RGB, all from 0 to 1 but the hue. CSS Color 4. */
function rgbOf(hue: number, saturation: number, lightness: number): [number, number, number] {
  const part = (n: number): number => {
    const k = (n + hue / 30) % 12;
    const a = saturation * Math.min(lightness, 1 - lightness);
    return lightness - a * Math.max(-1, Math.min(k - 3, 9 - k, 1));
  };
  return [part(0), part(8), part(4)];
}

function luminance(red: number, green: number, blue: number): number {
  const linear = (part: number): number => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
}
