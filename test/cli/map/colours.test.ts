import test from 'ava';
import { colourOf, contrast, DARK, HEADER_COLOUR, LIGHT, luminanceOf } from '../../../cli/map/colours.ts';

const NAMES = ['.text', '.data', '.bss', '__TEXT,__text', 'heap.rw-', 'libc.so.6.r-x', 'section headers'];

test('every colour stands out from the light page and from the dark one by 3 to 1', t => {
  const many = Array.from({ length: 3000 }, (_, i) => `.section${i * 7919}`);
  for (const colour of [...[...NAMES, ...many].map(colourOf), HEADER_COLOUR, LIGHT.line, DARK.line]) {
    if (contrast(colour, LIGHT.background) < 3 || contrast(colour, DARK.background) < 3) t.fail(colour);
  }
  t.pass();
});

test('text stands out by 4.5 to 1', t => {
  for (const { background, text, muted } of [LIGHT, DARK]) {
    t.true(contrast(text, background) >= 4.5);
    t.true(contrast(muted, background) >= 4.5);
  }
});

test('luminances and contrasts are those of WCAG', t => {
  t.is(contrast('#000000', '#ffffff'), 21);
  t.is(contrast('#777777', '#ffffff').toFixed(2), '4.48');
  t.is(luminanceOf('#ff0000').toFixed(4), '0.2126');
});

test('the same name has the same colour, and different ones mostly differ', t => {
  t.is(colourOf('.text'), colourOf('.text'));
  const colours = new Set(Array.from({ length: 1000 }, (_, i) => colourOf(`name ${i}`)));
  t.true(colours.size > 700, `${colours.size}`);
});
