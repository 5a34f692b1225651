/**
 * What is at an address, and what looks like a credential, as text for people.
 *
 * @module
 */
import type { AddressReport, SecretsReport } from '../../unexec/index.ts';
import { fittedTable, shorten, WIDTH } from '../fitted.ts';
import { printable, type Style } from '../render.ts';

export function renderAddress({ path, address, places }: AddressReport, style: Style): string[] {
  return [
    style.bold(shorten(`${address} in ${printable(path)}`, WIDTH)),
    ...places.flatMap((place, i) => {
      const { region, segment, section, symbol, offset, backing } = place;
      const named = (item: { readonly name: string; readonly address: string } | null): string =>
        item === null ? 'none' : `${item.name}, from ${item.address}`;
      const rows = [
        ...(places.length > 1 ? [['arch', place.arch]] : []),
        ...(region === null ? [] : [['region', `${region.kind} ${region.name}, from ${region.address}`]]),
        ['segment', named(segment)],
        ['section', section === null ? `none; it is ${place.what}` : named(section)],
        ['symbol', symbol === null ? 'none' : `${symbol.name}+0x${symbol.offset.toString(16)}`],
        ['offset', offset === null ? BACKING[backing] : `0x${offset.toString(16)}`],
        ['memory', place.protection],
      ];
      const bytes = place.bytes.map(line => `  ${line.address}  ${line.hex}  ${line.text}`);
      const table = fittedTable(
        rows.map(([name = '', value = '']) => [style.dim(`  ${name}`), printable(value)]),
      );
      return [...(i > 0 ? [''] : []), ...table, '', ...bytes];
    }),
  ];
}

const BACKING = {
  file: 'none',
  zero: 'none: the byte is zero when it starts',
  absent: 'none: the file does not have this byte',
} as const;

export function renderSecrets(
  { path, count, secrets }: SecretsReport,
  style: Style,
  quiet: boolean,
): string[] {
  const shown = shorten(printable(path), WIDTH - 40);
  if (count === 0) return quiet ? [] : [`${style.bold(shown)}: nothing looks like a credential`];
  const rows = secrets.map(({ kind, name, region, address, offset, begins, length }) => [
    `  ${address ?? `offset 0x${offset.toString(16)}`}`,
    shorten(printable(region), 24),
    kind,
    `${`${printable(begins)}…`} (${length})`,
    printable(name),
  ]);
  const more = count - secrets.length;
  return [
    `${style.red(`${count} ${count === 1 ? 'place looks' : 'places look'} like a credential`)}: ${style.bold(shown)}`,
    ...fittedTable(rows),
    ...(more > 0 ? [`  and ${more} more`] : []),
  ];
}
