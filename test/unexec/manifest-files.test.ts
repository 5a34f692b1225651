import test from 'ava';
import type { BackingFile } from '../../unexec/backing-file.ts';
import { Fields } from '../../unexec/inspect/fields.ts';
import { backingFiles, manifestFiles } from '../../unexec/manifest-files.ts';
import { regionOf } from '../support/synthetic-view.ts';

const PATH = '/usr/lib/a';

const FILES: readonly BackingFile[] = [
  {
    path: PATH,
    leastSize: 4096,
    knownBy: { type: 'build-id', id: Buffer.from('00ff12ab', 'hex'), offset: 8 },
  },
  ...[-1n, -5_000_000_000n, 0n].map((seconds): BackingFile => {
    const mtime = { seconds, nanoseconds: 250_000_000n };
    return { path: PATH, leastSize: 0, knownBy: { type: 'time', size: 17, mtime } };
  }),
];

test('files of a thin image are read from its manifest as they were written', t => {
  for (const file of FILES) {
    const left = new Map([[regionOf(0x1000n, 1), { file, own: [] }]]);
    const written = JSON.parse(JSON.stringify({ files: manifestFiles(left) }));
    t.deepEqual(backingFiles(new Fields(written)), [file]);
  }
  t.deepEqual(backingFiles(new Fields({})), []);
});

const DAMAGED: readonly unknown[] = [
  'x',
  [0],
  [{}],
  [{ path: PATH, leastSize: -1, changed: { size: 1, nanoseconds: '1' } }],
  [{ path: PATH, leastSize: 0 }],
  ...['', '-', 'soon', '1e9', ' 1', '9'.repeat(21), '9'.repeat(100_000)].map(nanoseconds => [
    { path: PATH, leastSize: 0, changed: { size: 1, nanoseconds } },
  ]),
  ...['', '0', 'xy', 'ab'.repeat(65)].map(value => [
    { path: PATH, leastSize: 0, buildId: { value, offset: 0 } },
  ]),
  [{ path: PATH, leastSize: 0, buildId: { value: 'ab', offset: 0.5 } }],
];

test('files of a damaged manifest are refused', t => {
  for (const files of DAMAGED) {
    t.throws(
      () => backingFiles(new Fields({ files })),
      { code: 'MANIFEST_MALFORMED' },
      JSON.stringify(files),
    );
  }
  // The largest time that is taken is one that can be told.
  for (const nanoseconds of ['9'.repeat(20), `-${'9'.repeat(20)}`]) {
    const fields = new Fields({ files: [{ path: PATH, leastSize: 0, changed: { size: 1, nanoseconds } }] });
    const [file] = backingFiles(fields);
    t.notThrows(() => new Date(Number(BigInt(nanoseconds) / 1_000_000n)).toISOString());
    t.is(file?.knownBy.type, 'time');
  }
});
