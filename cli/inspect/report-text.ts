/**
 * The report of `unexec inspect` as tables for people.
 *
 * @module
 */
import type {
  InspectedFile,
  InspectedImage,
  InspectedRegion,
  InspectedStep,
  InspectReport,
  RegionSum,
} from '../../unexec/index.ts';
import { fittedTable, shorten, WIDTH, wrapped } from '../fitted.ts';
import { type Align, formatBytes, printable, type Style } from '../render.ts';

type Unexec = NonNullable<InspectedImage['unexec']>;
type Frozen = Exclude<Unexec, { readonly style: 'prepared' }>;

/** `verbose`: every region and section, where a frozen process has hundreds. */
export function renderReport(report: InspectReport, style: Style, verbose: boolean): string[] {
  const { path, format, size, images } = report;
  const head = images.length === 1 ? '' : `${format}, ${images.length} architectures, ${formatBytes(size)}`;
  return [
    style.bold(shorten(printable(path), WIDTH)),
    ...(head === '' ? [] : [`  ${head}`]),
    ...images.flatMap(image => ['', ...renderImage(image, style, verbose)]).slice(head === '' ? 1 : 0),
  ];
}

function renderImage(image: InspectedImage, style: Style, verbose: boolean): string[] {
  const { unexec } = image;
  const facts: string[][] = [
    ['kind', `${image.format} ${image.arch} ${image.kind}`],
    [
      'size',
      image.offset === 0 ? formatBytes(image.size) : `${formatBytes(image.size)} at ${hex(image.offset)}`,
    ],
  ];
  if (image.identifier !== null) facts.push([image.identifier.type, image.identifier.value]);
  if (unexec !== null) facts.push(...factsOf(unexec));
  const sections = section(style, 'sections', sectionRows(image), SIZES);
  return [
    ...fittedTable(facts.map(([name = '', value = '']) => [style.dim(`  ${name}`), printable(value)])),
    ...section(
      style,
      'libraries',
      image.libraries.map(name => [printable(name)]),
    ),
    ...section(style, 'segments', segmentRows(image), SIZES),
    ...(unexec?.style === 'resume' && !verbose ? [] : sections),
    ...(unexec === null || unexec.style === 'prepared' ? [] : renderFrozen(unexec, style, verbose)),
  ];
}

/** A title and a table, where there is something in it. */
function section(
  style: Style,
  title: string,
  rows: readonly (readonly string[])[],
  align: readonly Align[] = [],
) {
  if (rows.length === 0) return [];
  return [
    '',
    style.bold(title),
    ...fittedTable(
      rows.map(([first = '', ...rest]) => [`  ${first}`, ...rest]),
      align,
    ),
  ];
}

const SIZES: readonly Align[] = ['left', 'left', 'right', 'right', 'right'];

const segmentRows = ({ segments }: InspectedImage): string[][] =>
  segments.length === 0
    ? []
    : [
        ['address', '', 'memory', 'file', 'offset', 'name'],
        ...segments.map(({ name, protection, address, memorySize, offset, fileSize }) => [
          address,
          protection,
          formatBytes(memorySize),
          formatBytes(fileSize),
          hex(offset),
          printable(name),
        ]),
      ];

const sectionRows = ({ sections }: InspectedImage): string[][] =>
  sections.length === 0
    ? []
    : [
        ['address', '', 'memory', 'file', 'offset', 'name'],
        ...sections
          .filter(({ type }) => type !== 'SHT_NULL')
          .map(({ name, protection, address, memorySize, offset, fileSize }) => [
            address ?? '-',
            protection ?? '',
            address === null ? '-' : formatBytes(memorySize),
            formatBytes(fileSize),
            offset === null ? '-' : hex(offset),
            printable(name),
          ]),
      ];

function factsOf(unexec: Unexec): string[][] {
  if (unexec.style === 'prepared') {
    const { address, size } = unexec.reserve;
    return [['prepared', `by unexec, with a reserve of ${formatBytes(size)} at ${address}`]];
  }
  const facts = [
    ['frozen', `${unexec.program}, style ${unexec.style}, by unexec ${unexec.tool}`],
    ['when', unexec.frozenAt],
  ];
  switch (unexec.style) {
    case 'resume': {
      const { kernel } = unexec;
      facts.push(
        ['at', unexec.freezePoint],
        ['arguments', unexec.argv.join(' ')],
        ['directory', unexec.cwd || "the caller's"],
        ['kernel', `${kernel.sysname} ${kernel.release} ${kernel.machine}`],
      );
      if (unexec.compressed !== null) facts.push(['compressed', `to ${formatBytes(unexec.compressed)}, LZ4`]);
      if (unexec.orStart !== null) facts.push(['or starts', unexec.orStart.argv.join(' ')]);
      break;
    }
    case 'restart':
      facts.push(
        ['at', unexec.freezePoint],
        ['arguments', unexec.argv.join(' ')],
        ['generation', `${unexec.generation}`],
        ['pointers', `${unexec.pointers.count}, found by ${unexec.pointers.found}`],
      );
      break;
    case 'shared': {
      const { blocks, pointers } = unexec;
      facts.push(
        ['initialised', unexec.initialiser === null ? 'by its constructors' : `by ${unexec.initialiser}()`],
        ['blocks', `${blocks.count} with ${formatBytes(blocks.bytes)}, ${unexec.order}`],
        ['pointers', `${pointers.relative} relative, ${pointers.symbolic} symbolic; ${pointers.relocations}`],
        ['rerouted', unexec.rerouted.join(', ') || 'nothing'],
      );
    }
  }
  return facts;
}

function renderFrozen(unexec: Frozen, style: Style, verbose: boolean): string[] {
  const zones = unexec.zones.map(zone => [
    zone.address,
    formatBytes(zone.size),
    zone.used === null ? 'unknown' : formatBytes(zone.used),
    formatBytes(zone.highWater),
    `${zone.kind}${zone.isDefault ? ', default' : ''}`,
  ]);
  const zoneTable = zones.length === 0 ? [] : [['address', 'size', 'used', 'high water', 'kind'], ...zones];
  return [
    ...section(style, 'memory by kind', [SUM_HEAD, ...unexec.regionKinds.map(sumRow)], SUM_ALIGN),
    ...(verbose
      ? section(style, 'regions', [REGION_HEAD, ...unexec.regions.map(regionRow)], REGION_ALIGN)
      : []),
    ...section(style, 'malloc zones', zoneTable, ['left', 'right', 'right', 'right']),
    ...(unexec.style === 'resume' ? renderProcess(unexec, style) : []),
    '',
    style.bold('fresh at each start'),
    ...unexec.fresh.flatMap(item => wrapped(printable(item).split(' '), '  ')),
  ];
}

const SUM_HEAD = ['kind', 'regions', 'memory', 'stored', 'zero', 'shared file', 'kernel'];
const SUM_ALIGN: readonly Align[] = ['left', 'right', 'right', 'right', 'right', 'right', 'right'];
const sumRow = ({ kind, count, size, stored, zero, sharedWithFile, kernel }: RegionSum): string[] => [
  printable(kind),
  `${count}`,
  ...[size, stored, zero, sharedWithFile, kernel].map(bytes => (bytes === 0 ? '-' : formatBytes(bytes))),
];

const REGION_HEAD = ['address', '', 'memory', 'stored', 'kind', 'name'];
const REGION_ALIGN: readonly Align[] = ['left', 'left', 'right', 'right'];
const regionRow = ({ address, protection, size, stored, kind, name }: InspectedRegion): string[] => [
  address,
  protection,
  formatBytes(size),
  formatBytes(stored),
  printable(kind),
  printable(name),
];

const fileRow = ({ path, buildId, changed }: InspectedFile): string[] => [
  printable(path),
  buildId === null ? `changed ${changed}` : `build-id ${buildId}`,
];

function renderProcess(unexec: Extract<Frozen, { readonly style: 'resume' }>, style: Style): string[] {
  const threads = unexec.threads.map(({ tid, name, at, symbol }) => [
    `${tid}`,
    printable(name),
    at,
    symbol === null ? '' : `${printable(symbol.name)}+${hex(symbol.offset)}`,
  ]);
  const { restoreProgram, cpu } = unexec;
  const { steps } = restoreProgram;
  return [
    ...section(style, 'threads', threads, ['right']),
    ...section(style, 'files with pages of it', unexec.files.map(fileRow)),
    ...section(
      style,
      'descriptors',
      unexec.descriptors.map(({ fds, what }) => [shorten(fds.join(', '), 40), printable(what)]),
    ),
    ...section(
      style,
      'modules',
      unexec.modules.map(({ path, start, buildId }) => [start, buildId || 'no build-id', printable(path)]),
    ),
    '',
    `${style.bold('needs of the CPU')}${cpu.by === null ? '' : `, started for ${printable(cpu.level)} (${printable(cpu.by)})`}`,
    ...wrapped([...cpu.features.map(printable), `xcr0=${cpu.xcr0}`], '  '),
    ...(steps === null
      ? [
          '',
          `${style.bold('restore program')}: ${restoreProgram.count} steps at ${restoreProgram.address} (--steps)`,
        ]
      : ['', style.bold('restore program'), ...steps.flatMap(stepLines)]),
  ];
}

/** What a step does on one line, how on the next. */
function stepLines({ op, required, name, call, args, result }: InspectedStep, index: number): string[] {
  const how = [
    call ?? op,
    ...args,
    ...(result === null ? [] : [`-> ${result}`]),
    ...(required ? [] : ['(best effort)']),
  ];
  return [
    `  ${`${index}`.padStart(4)}  ${shorten(printable(name), WIDTH - 8)}`,
    ...wrapped(how, ' '.repeat(10)),
  ];
}

const hex = (value: number): string => `0x${value.toString(16)}`;
