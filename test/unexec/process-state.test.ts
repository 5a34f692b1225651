import test from 'ava';
import type { HeldContents, OpenFile } from '../../unexec/image.ts';
import { decodeState, encodeState } from '../../unexec/process-state.ts';
import { imageOf, threadOf } from '../support/synthetic-image.ts';

const held: HeldContents = {
  stretches: () => [{ offset: 4096, size: 3 }],
  read(offset, into) {
    into.set([1, 2, 3].slice(offset - 4096, offset - 4096 + into.length));
    return Math.min(into.length, 3);
  },
  close: () => {},
};
const FILE: OpenFile = {
  descriptors: [{ fd: 3, closeOnExec: true }],
  flags: 2,
  position: 2n ** 62n,
  what: {
    type: 'memory',
    name: 'x',
    size: 4099,
    seals: 0,
    mode: 0o600,
    device: '0:1',
    inode: 5,
    contents: held,
  },
  locks: [],
  signalOwner: undefined,
};
const IMAGE = imageOf({
  threads: [threadOf({ rip: 2n ** 64n - 1n, rsp: 0n })],
  auxv: Uint8Array.of(1, 2, 255),
  files: [FILE],
});

test('decodeState() gives what encodeState() was given: numbers of 64 bits, bytes and sets', t => {
  const decoded = decodeState(encodeState(IMAGE), IMAGE.memory);
  if (decoded === undefined) return t.fail('it is decoded');
  // A property that is undefined is no property.
  t.like(decoded, { auxv: IMAGE.auxv, layout: IMAGE.layout, origin: IMAGE.origin });
  t.deepEqual(decoded.threads[0]?.machine, IMAGE.threads[0]?.machine);
  t.deepEqual(encodeState(decoded), encodeState(IMAGE));
  const { files } = decoded;
  const [file] = files;
  if (file?.what.type !== 'memory') return t.fail('a memory file');
  const into = new Uint8Array(5);
  file.what.contents.read(4095, into);
  t.deepEqual([...into], [0, 1, 2, 3, 0]);
  t.deepEqual(file.what.contents.stretches(), [{ offset: 4096, size: 3 }]);
  t.is(file.position, 2n ** 62n);
});

test('decodeState() believes nothing where a byte has changed', t => {
  const bytes = encodeState(IMAGE);
  for (let at = 0; at < bytes.length; at += 37) {
    const damaged = Uint8Array.from(bytes);
    damaged[at] = (damaged[at] ?? 0) ^ 1;
    t.is(decodeState(damaged, IMAGE.memory), undefined);
  }
  t.is(decodeState(new Uint8Array(3), IMAGE.memory), undefined);
});

test('encodeState() refuses a file without a name of many megabytes', t => {
  const large = { ...held, stretches: () => [{ offset: 0, size: 1 << 30 }] };
  const files = [{ ...FILE, what: { ...FILE.what, contents: large } as OpenFile['what'] }];
  t.throws(() => encodeState({ ...IMAGE, files }), { code: 'TOO_MUCH_STATE' });
});
