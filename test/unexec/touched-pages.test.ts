import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import test from 'ava';
import { PAGE } from '../../unexec/image.ts';
import { readTouchedPages } from '../../unexec/touched-pages.ts';
import { sandbox } from '../support/sandbox.ts';
import { regionOf } from '../support/synthetic-view.ts';

test('readTouchedPages() tells written pages from read ones and from those that nobody touched', async t => {
  const path = join(sandbox('touched-pages'), 'file');
  writeFileSync(path, new Uint8Array(20 * PAGE).fill(1));
  const script = [
    'import mmap, ctypes, sys',
    'memory = mmap.mmap(-1, 100 * 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)',
    'memory.madvise(mmap.MADV_NOHUGEPAGE)',
    'f = open(sys.argv[1], "rb")',
    'text = mmap.mmap(f.fileno(), 20 * 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)',
    'text.madvise(mmap.MADV_RANDOM)', // no read-ahead by faults
    'for page in (3, 4, 9, 99): memory[page * 4096 + 1] = 7',
    'x = text[5 * 4096]; text[7 * 4096] = 1',
    'at = lambda m: ctypes.addressof(ctypes.c_char.from_buffer(m))',
    'print(at(memory), at(text), flush=True)',
    'sys.stdin.read()',
  ].join('\n');
  const child = spawn('python3', ['-c', script, path], { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    const [line] = await once(createInterface(child.stdout), 'line');
    const [memory = 0n, text = 0n] = String(line).trim().split(' ').map(BigInt);
    const [anonymous, file] = readTouchedPages(child.pid ?? 0, [regionOf(memory, 100), regionOf(text, 20)]);
    t.deepEqual(anonymous?.written, [
      { first: 3, count: 2 },
      { first: 9, count: 1 },
      { first: 99, count: 1 },
    ]);
    t.deepEqual(anonymous?.read, []);
    t.deepEqual(file?.written, [{ first: 7, count: 1 }]);
    const read = (file?.read ?? []).flatMap(({ first, count }) =>
      Array.from({ length: count }, (_, i) => first + i),
    );
    t.true(read.includes(5));
    t.false(read.includes(7));
  } finally {
    child.kill('SIGKILL');
  }
});

test('readTouchedPages() reads regions of any size', t => {
  const [huge] = readTouchedPages(process.pid, [regionOf(0x10_0000_0000n, 3_000_000)]);
  t.deepEqual(huge?.written, []);
  t.is(huge?.region.size, 3_000_000 * PAGE);
});
