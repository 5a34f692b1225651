/**
 * Every operation of the restorer, run for real: hand-written restore programs in executables of their
 * own, without any frozen process. Bytes on stdout and the exit status tell the results.
 *
 * @module
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import test, { type Implementation } from 'ava';
import fc from 'fast-check';
import { decompressLz4, Lz4Compressor, lz4Bound } from '../../../formats/lz4.ts';
import { numberOf, type SystemCall } from '../../../unexec/linux/system-calls.ts';
import { RESTORERS } from '../../../unexec/restorer/machine-code.ts';
import type { RestoreProgram } from '../../../unexec/restorer/program.ts';
import { type OpName, SLOT, type Slot, type StepArgument } from '../../../unexec/restorer/steps.ts';
import { keepArguments } from '../../../unexec/styles/resume/arguments.ts';
import { signalFrame } from '../../../unexec/styles/resume/signal-frame.ts';
import { AT_FDCWD, NR } from '../../../unexec/styles/resume/system-calls.ts';
import { unmapEverything } from '../../../unexec/styles/resume/unmap.ts';
import { runsHere } from '../../support/foreign-arch.ts';
import { builtFor, type Ended, PREFIX, runRestore } from '../../support/restore-executable.ts';
import { armThreadOf, threadOf } from '../../support/synthetic-image.ts';

const PROT_READ = 1;
const PROT_ALL = 7;
const MAP_PRIVATE_FIXED = 0x12;
const MAP_PRIVATE_FIXED_ANONYMOUS = 0x32;
const SOMEWHERE = 0x7000_0000n;
const MAX = 2n ** 64n - 1n;

const exit = (program: RestoreProgram, status: StepArgument): void =>
  program.syscall('exit', NR.exit_group, [status]);

const print = (program: RestoreProgram, from: StepArgument, length: StepArgument): void =>
  program.syscall('print', NR.write, [1, from, length]);

const printWord = (program: RestoreProgram, value: StepArgument): void => {
  const word = program.writable(new Uint8Array(8));
  program.operation('STORE', 'to be printed', [word, value]);
  print(program, word, 8);
};

/** Tests of what qemu's user emulation lacks: seccomp(2). */
const onKernel = (title: string, body: Implementation<unknown[]>): void => {
  if (runsHere(builtFor())) test(title, body);
};

/** Tests of operations that only x86-64 has. */
const onX86 = (title: string, body: Implementation<unknown[]>): void => {
  if (builtFor() === 'x86_64') test(title, body);
};

const wordsOf = ({ stdout }: Ended): bigint[] =>
  Array.from({ length: stdout.length / 8 }, (_, i) => stdout.readBigUInt64LE(i * 8));

const slot = (number: number): Slot => ({ slot: number });

// The start

test('the restorer finds arguments and environment on the new stack', t => {
  const ended = runRestore(
    program => {
      const length = program.slot();
      program.operation('SET', 'arguments', [slot(SLOT.ENV_START), 0, slot(SLOT.ARG_START)], {
        into: length,
      });
      print(program, slot(SLOT.ARG_START), length);
      program.operation('SET', 'environment', [slot(SLOT.ENV_END), 0, slot(SLOT.ENV_START)], {
        into: length,
      });
      print(program, slot(SLOT.ENV_START), length);
      exit(program, slot(SLOT.ARGC));
    },
    { args: ['one', '', 'drei'], env: { A: '1', LONG: 'x'.repeat(5000) } },
  );
  t.is(ended.status, 4);
  const [, ...strings] = ended.stdout.toString().split('\0');
  t.deepEqual(strings, ['one', '', 'drei', 'A=1', `LONG=${'x'.repeat(5000)}`, '']);
});

test('an empty environment has an end like any other', t => {
  const ended = runRestore(
    program => {
      const first = program.slot();
      program.operation('LOAD', 'envp[0]', [slot(SLOT.ENVP), 0], { into: first });
      const length = program.slot();
      program.operation('SET', 'environment', [slot(SLOT.ENV_END), 0, slot(SLOT.ENV_START)], {
        into: length,
      });
      printWord(program, first);
      printWord(program, length);
      exit(program, slot(SLOT.ARGC));
    },
    { env: {} },
  );
  t.deepEqual(wordsOf(ended), [0n, 0n]);
  t.is(ended.status, 1);
});

test('the end of the strings is the end of the name of the program', t => {
  const { stdout } = runRestore(program => {
    const length = program.slot();
    program.operation('SET', 'name', [slot(SLOT.STRINGS_END), 0, slot(SLOT.ENV_END)], { into: length });
    print(program, slot(SLOT.ENV_END), length);
    exit(program, 0);
  });
  t.regex(stdout.toString(), /^\/.*\/program-\d+\0$/);
});

// SYSCALL

test('SYSCALL keeps its result for later steps', t => {
  const { status } = runRestore(program => {
    const old = program.slot();
    program.syscall('set', NR.umask, [0o27]);
    program.syscall('get', NR.umask, [0], { into: old });
    exit(program, old);
  });
  t.is(status, 0o27);
});

test('SYSCALL passes all six arguments', t => {
  const ended = runRestore(program => {
    const self = program.slot();
    const mapped = program.slot();
    const found = program.slot();
    program.syscall('open', NR.openat, [AT_FDCWD, program.string('/proc/self/exe'), 0, 0], { into: self });
    // The restorer's data are in the file at this offset, with the slots at their start.
    const offset = RESTORERS[program.arch].alignment;
    const map = [SOMEWHERE, 4096, PROT_READ, MAP_PRIVATE_FIXED, self, offset];
    program.syscall('map', NR.mmap, map, { into: mapped });
    program.operation('LOAD', 'slot', [mapped, 8 * SLOT.PROGRAM], { into: found });
    for (const value of [mapped, found, slot(SLOT.PROGRAM)]) printWord(program, value);
    exit(program, 0);
  });
  const [mapped, found, expected] = wordsOf(ended);
  t.is(mapped, SOMEWHERE);
  t.is(found, expected);
});

const failures: readonly [step: string, nr: SystemCall, args: readonly StepArgument[], error: string][] = [
  ['close descriptor 999', NR.close, [999], 'EBADF'],
  ['seek in a pipe', NR.lseek, [1, 0, 0], 'ESPIPE'],
  ['call what is not there', NR.nfsservctl, [], 'ENOSYS'],
  ['read from nowhere', NR.chdir, [0], 'EFAULT'],
  ['a socket of no protocol', NR.socket, [2, 1, 200], 'EPROTONOSUPPORT'],
  ['a socket of no type', NR.socket, [2, 7, 0], 'ESOCKTNOSUPPORT'],
];

for (const [step, nr, args, error] of failures) {
  test(`a required system call that fails with ${error} says so and ends with 125`, t => {
    const { status, stdout, stderr } = runRestore(program => {
      program.syscall('something before', NR.getpid, []);
      program.syscall(step, nr, args);
      print(program, program.string('never'), 5);
      exit(program, 0);
    });
    t.is(status, 125);
    t.is(stderr, `${PREFIX}${step}: ${error}\n`);
    t.is(stdout.length, 0);
  });
}

onKernel('an error number without a name leaves the name out', t => {
  const { status, stderr } = runRestore(program => {
    answerGetpidWith(program, 524);
    program.syscall('ask for the process', NR.getpid, []);
    exit(program, 0);
  });
  t.is(status, 125);
  t.is(stderr, `${PREFIX}ask for the process\n`);
});

onKernel('the largest error number is an error, and one more is a result', t => {
  const { status, stderr } = runRestore(program => {
    answerGetpidWith(program, 4095);
    program.syscall('ask', NR.getpid, []);
    exit(program, 0);
  });
  t.is(status, 125);
  t.is(stderr, `${PREFIX}ask\n`);
  const result = runRestore(program => {
    const found = program.slot();
    program.syscall('map', NR.mmap, [SOMEWHERE, 4096, 3, MAP_PRIVATE_FIXED_ANONYMOUS, -1, 0], {
      into: found,
    });
    printWord(program, found);
    exit(program, 0);
  });
  t.deepEqual(wordsOf(result), [SOMEWHERE]);
});

/** A seccomp filter makes getpid(2) fail with an error of choice. */
function answerGetpidWith(program: RestoreProgram, errno: number): void {
  const PR_SET_NO_NEW_PRIVS = 38;
  const SECCOMP_SET_MODE_FILTER = 1;
  const SECCOMP_RET_ERRNO = 0x0005_0000;
  const SECCOMP_RET_ALLOW = 0x7fff_0000;
  const filter: readonly [code: number, jt: number, jf: number, k: number][] = [
    [0x20, 0, 0, 0], // ld the number of the system call
    [0x15, 0, 1, numberOf('getpid', program.arch)], // jeq
    [0x06, 0, 0, SECCOMP_RET_ERRNO | errno],
    [0x06, 0, 0, SECCOMP_RET_ALLOW],
  ];
  const instructions = Buffer.alloc(filter.length * 8);
  for (const [i, [code, jt, jf, k]] of filter.entries()) {
    instructions.writeUInt16LE(code, i * 8);
    instructions.writeUInt8(jt, i * 8 + 2);
    instructions.writeUInt8(jf, i * 8 + 3);
    instructions.writeUInt32LE(k, i * 8 + 4);
  }
  const sock_fprog = program.data(Uint8Array.of(filter.length, ...new Uint8Array(15)));
  program.pointer({ ...sock_fprog, offset: 8 }, program.data(instructions));
  program.syscall('no new privileges', NR.prctl, [PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0]);
  program.syscall('filter', NR.seccomp, [SECCOMP_SET_MODE_FILTER, 0, sock_fprog]);
}

test('a best-effort system call that fails leaves its error in the slot', t => {
  const ended = runRestore(program => {
    const result = program.slot();
    const options = { bestEffort: true, into: result };
    program.syscall('open', NR.openat, [AT_FDCWD, program.string('/nonexistent'), 0, 0], options);
    printWord(program, result);
    exit(program, 3);
  });
  t.deepEqual(wordsOf(ended), [MAX - 1n]); // -ENOENT
  t.is(ended.status, 3);
  t.is(ended.stderr, '');
});

test('the number of a system call is never taken for a slot', t => {
  const ended = runRestore(program => {
    const found = program.slot();
    program.operation('SET', 'all slots in use', [1, 1, 0], { into: found });
    program.syscall('exit', NR.exit_group, [found, found, found, found, found, found]);
  });
  t.is(ended.status, 2);
});

// Memory and arithmetic

test('SET adds two values and subtracts a third, modulo 2^64', t => {
  const word = fc.oneof(fc.bigInt({ min: 0n, max: MAX }), fc.constantFrom(0n, 1n, MAX, 2n ** 63n));
  const triples = fc.sample(fc.tuple(word, word, word), 200);
  const ended = runRestore(program => {
    const sum = program.slot();
    const results = program.writable(new Uint8Array(triples.length * 8));
    for (const [i, triple] of triples.entries()) {
      program.operation('SET', 'sum', triple, { into: sum });
      program.operation('STORE', 'result', [{ ...results, offset: i * 8 }, sum]);
    }
    print(program, results, triples.length * 8);
    exit(program, 0);
  });
  t.deepEqual(
    wordsOf(ended),
    triples.map(([a, b, c]) => BigInt.asUintN(64, a + b - c)),
  );
});

test('LOAD takes 64 bits and LOAD32 takes 32, at an address and a distance', t => {
  const ended = runRestore(program => {
    const data = program.data(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 0xf9, 0xfa, 0xfb, 0xfc, 13, 14, 15, 16));
    const found = program.slot();
    const address = program.slot();
    program.operation('SET', 'address', [data, 0, 0], { into: address });
    for (const [op, args] of [
      ['LOAD', [data, 0]],
      ['LOAD', [address, 8]],
      ['LOAD32', [data, 0]],
      ['LOAD32', [address, 8]],
      ['LOAD', [{ ...data, offset: 1 }, 2]],
    ] satisfies [OpName, StepArgument[]][]) {
      program.operation('SET', 'all bits', [-1, 0, 0], { into: found });
      program.operation(op, 'load', args, { into: found });
      printWord(program, found);
    }
    exit(program, 0);
  });
  t.deepEqual(wordsOf(ended), [
    0x0807_0605_0403_0201n,
    0x100f_0e0d_fcfb_faf9n,
    0x0403_0201n,
    0xfcfb_faf9n,
    0xfbfa_f908_0706_0504n,
  ]);
});

test('STORE writes 64 bits and STORE32 writes 32, and nothing beside them', t => {
  const { stdout } = runRestore(program => {
    const data = program.writable(new Uint8Array(32).fill(0xee));
    const value = program.slot();
    program.operation('SET', 'value', [0x1122_3344_5566_7788n, 0, 0], { into: value });
    program.operation('STORE', 'store', [{ ...data, offset: 4 }, value]);
    program.operation('STORE32', 'store', [{ ...data, offset: 20 }, value]);
    print(program, data, 32);
    exit(program, 0);
  });
  t.is(stdout.toString('hex'), `eeeeeeee8877665544332211${'ee'.repeat(8)}88776655${'ee'.repeat(8)}`);
});

test('COPY copies exactly as many bytes as it is told', t => {
  const text = Buffer.from('abcdefghijklmnop');
  for (const length of [0, 1, 7, 8, 16]) {
    const { stdout } = runRestore(program => {
      const to = program.writable(new Uint8Array(text.length).fill(0x2e));
      program.operation('COPY', 'copy', [to, program.data(text), length]);
      print(program, to, text.length);
      exit(program, 0);
    });
    t.is(stdout.toString(), `${text.toString('utf8', 0, length)}${'.'.repeat(text.length - length)}`);
  }
});

// Conditions

/** What the condition comes to, required and as a branch. */
function judge(op: OpName, args: (program: RestoreProgram) => StepArgument[]) {
  const required = runRestore(program => {
    program.operation(op, 'the condition', args(program));
    exit(program, 0);
  });
  const branched = runRestore(program => {
    program.when(
      op,
      'the condition',
      args(program),
      () => {
        print(program, program.string('holds'), 5);
        print(program, program.string('.'), 1);
      },
      () => print(program, program.string('fails'), 5),
    );
    exit(program, 9);
  });
  return {
    required: required.status === 0 ? 'goes on' : `${required.status} ${required.stderr}`,
    branch: `${branched.stdout} ${branched.status} ${branched.stderr}`,
  };
}

test('until() repeats its steps, once at least, until the condition holds', t => {
  for (const [start, end] of [
    [0, 5],
    [7, 5],
  ]) {
    const ended = runRestore(program => {
      const count = program.slot();
      program.operation('SET', 'start', [start ?? 0, 0, 0], { into: count });
      program.until('AT_MOST', 'enough', [end ?? 0, count], () => {
        program.operation('SET', 'one more', [count, 1, 0], { into: count });
        printWord(program, count);
      });
      exit(program, 3);
    });
    t.deepEqual(wordsOf(ended), start === 0 ? [1n, 2n, 3n, 4n, 5n] : [8n]);
    t.is(ended.status, 3);
  }
});

const HOLDS = { required: 'goes on', branch: 'holds. 9 ' };
const FAILS = { required: `125 ${PREFIX}the condition\n`, branch: 'fails 9 ' };

const comparisons: readonly [a: string, b: string, length: number, equal: boolean][] = [
  ['abcdefgh', 'abcdefgh', 8, true],
  ['abcdefgh', 'abcdefgx', 8, false],
  ['abcdefgh', 'abcdefgx', 7, true],
  ['abcdefgh', 'xbcdefgh', 8, false],
  ['a', 'b', 1, false],
  ['a', 'b', 0, true],
];

for (const [a, b, length, equal] of comparisons) {
  test(`COMPARE of ${length} bytes of ${a} and ${b} ${equal ? 'holds' : 'does not hold'}`, t => {
    t.deepEqual(
      judge('COMPARE', program => [program.string(a), program.string(b), length]),
      equal ? HOLDS : FAILS,
    );
  });
}

const orders: readonly [a: bigint, b: bigint][] = [
  [1n, 2n],
  [2n, 1n],
  [5n, 5n],
  [0n, MAX],
  [MAX, 0n],
  [2n ** 63n, 2n ** 63n - 1n],
  [2n ** 32n, 1n],
];

for (const [a, b] of orders) {
  test(`AT_MOST of ${a} and ${b} ${a <= b ? 'holds' : 'does not hold'}`, t => {
    t.deepEqual(
      judge('AT_MOST', () => [a, b]),
      a <= b ? HOLDS : FAILS,
    );
  });
}

test('unless() runs its steps only where the condition does not hold', t => {
  for (const [limit, expected] of [
    [5, 'after'],
    [4, 'smaller after'],
  ] as const) {
    const { stdout } = runRestore(program => {
      program.unless('AT_MOST', 'condition', [5, limit], () => print(program, program.string('smaller '), 8));
      print(program, program.string('after'), 5);
      exit(program, 0);
    });
    t.is(stdout.toString(), expected);
  }
});

const cpuinfo = readFileSync('/proc/cpuinfo', 'utf8');
/** Leaf 0 is the name of the vendor in ebx, edx and ecx: no letter has its highest bit set. */
const vendor = Buffer.from(/^vendor_id\s*: (.*)$/m.exec(cpuinfo)?.[1] ?? '');

onX86('CPUID holds where all bits of three registers are there', t => {
  t.is(vendor.length, 12);
  const [ebx, edx, ecx] = [0, 4, 8].map(at => vendor.readUInt32LE(at));
  t.deepEqual(
    judge('CPUID', () => [0, 0, ebx ?? 0, ecx ?? 0, edx ?? 0]),
    HOLDS,
  );
  t.deepEqual(
    judge('CPUID', () => [0, 0, 0, 0, 0]),
    HOLDS,
  );
});

for (const [place, register] of ['ebx', 'ecx', 'edx'].entries()) {
  onX86(`CPUID does not hold where one bit of ${register} is missing`, t => {
    const masks = [0, 0, 0].map((_, i) => (i === place ? 0x8000_0000 : 0));
    t.deepEqual(
      judge('CPUID', () => [0, 0, ...masks]),
      FAILS,
    );
  });
}

onX86('CPUID asks for the subleaf', t => {
  // Leaf 7: features in subleaf 0, nothing at all in a subleaf beyond the last.
  if (!/\bbmi1\b/.test(cpuinfo)) throw new Error('this test needs an x86-64 CPU of 2013 or later');
  const BMI1 = 1 << 3;
  t.deepEqual(
    judge('CPUID', () => [7, 0, BMI1, 0, 0]),
    HOLDS,
  );
  t.deepEqual(
    judge('CPUID', () => [7, 99, BMI1, 0, 0]),
    FAILS,
  );
});

onX86('XGETBV holds where the kernel saves all the given state', t => {
  t.deepEqual(
    judge('XGETBV', () => [3n]),
    HOLDS,
  );
  t.deepEqual(
    judge('XGETBV', () => [0n]),
    HOLDS,
  );
});

onX86('XGETBV does not hold where one component is missing, of the upper half too', t => {
  t.deepEqual(
    judge('XGETBV', () => [3n | (1n << 62n)]),
    FAILS,
  );
});

// Arguments

test('RELOCATE moves the pointers of all three vectors and leaves plain values alone', t => {
  const DELTA = 0x1_0000_0000n;
  const AT = { PHDR: 3n, PAGESZ: 6n, PLATFORM: 15n, BASE_PLATFORM: 24n, RANDOM: 25n, EXECFN: 31n };
  const argv = [0x1000n, 0x2000n, 0n];
  const envp = [0x3000n, 0x4000n, 0x5000n, 0n];
  const auxv = [
    [AT.PHDR, 0x40n],
    [AT.PLATFORM, 0x6000n],
    [AT.PAGESZ, 4096n],
    [AT.RANDOM, 0x7000n],
    [AT.BASE_PLATFORM, 0x8000n],
    [AT.EXECFN, 0x9000n],
    [0n, 0n],
  ] as const;
  const moved = new Set<bigint>([AT.PLATFORM, AT.RANDOM, AT.BASE_PLATFORM, AT.EXECFN]);
  const words = [...argv, ...envp, ...auxv.flat(), 0x7777n];
  const ended = runRestore(program => {
    const bytes = Buffer.alloc(words.length * 8);
    for (const [i, word] of words.entries()) bytes.writeBigUInt64LE(word, i * 8);
    const vectors = program.writable(bytes);
    const auxvRef = { ...vectors, offset: (argv.length + envp.length) * 8 };
    program.operation('RELOCATE', 'move', [vectors, DELTA, auxvRef]);
    print(program, vectors, bytes.length);
    exit(program, 0);
  });
  const move = (word: bigint): bigint => (word === 0n ? 0n : word + DELTA);
  t.deepEqual(wordsOf(ended), [
    ...argv.map(move),
    ...envp.map(move),
    ...auxv.flatMap(([type, value]) => [type, moved.has(type) ? move(value) : value]),
    0x7777n,
  ]);
});

test('arguments and environment outlive the stack that they came on', t => {
  const env = { FIRST: '1', LAST: 'the last one' };
  const { stdout, status, stderr } = runRestore(
    (program, window) => {
      const given = keepArguments(program, window);
      unmapEverything(program, window);
      const length = program.slot();
      program.operation('SET', 'length', [given.envEnd, 0, given.argStart], { into: length });
      print(program, given.argStart, length);
      const pointer = program.slot();
      for (const [vector, index] of [
        [given.argv, 2],
        [given.envp, 1],
      ] as const) {
        program.operation('LOAD', 'pointer', [vector, index * 8], { into: pointer });
        print(program, pointer, 5);
      }
      program.operation('LOAD', 'end of argv', [given.argv, 24], { into: pointer });
      exit(program, pointer);
    },
    { args: ['alpha', 'omega'], env },
  );
  t.is(stderr, '');
  t.is(status, 0);
  const [, ...rest] = stdout.toString().split('\0');
  t.deepEqual(rest, ['alpha', 'omega', 'FIRST=1', 'LAST=the last one', 'omegaLAST=']);
});

/** Address of the code of the vdso, in /proc/self/auxv and here. */
const AT_SYSINFO_EHDR = 33;

onKernel('what is around a vdso that the kernel keeps sealed is unmapped, and the vdso stays', t => {
  const SIZE = 4096;
  const ended = runRestore((program, window) => {
    const [vdso, page, sealed, distance, mapped] = Array.from({ length: 5 }, () => program.slot());
    if (!vdso || !page || !sealed || !distance || !mapped) return;
    program.operation('AUXV', 'the vdso', [AT_SYSINFO_EHDR], { into: vdso });
    // mseal(2), of Linux 6.10, does what a kernel with sealed system mappings does by itself. A vdso cannot be split:
    // only its whole size is taken.
    for (let pages = 1; pages <= 8; pages++) {
      program.syscall('seal', 'mseal', [vdso, pages * SIZE, 0], { bestEffort: true });
    }
    program.operation('SET', 'before it', [vdso, 0, 8 * SIZE], { into: page });
    program.syscall('unmap it', NR.munmap, [page, 16 * SIZE], { bestEffort: true, into: sealed });
    printWord(program, sealed);
    const stays = unmapEverything(program, window);
    program.operation('SET', 'distance', [stays, 0, vdso], { into: distance });
    printWord(program, distance);
    const seen = program.writable(new Uint8Array(8));
    const stack = slot(SLOT.SP);
    program.syscall('the stack', NR.write, [1, stack, 8], { bestEffort: true, into: mapped });
    printWord(program, mapped);
    program.syscall('the vdso', NR.mincore, [vdso, SIZE, seen], { bestEffort: true, into: mapped });
    printWord(program, mapped);
    exit(program, 0);
  });
  t.is(ended.stderr, '');
  const [EPERM, EFAULT] = [1n, 14n].map(errno => BigInt.asUintN(64, -errno));
  t.deepEqual(wordsOf(ended), [EPERM, 0n, EFAULT, 0n], 'sealed, the same vdso, no stack, still there');
});

// Threads

const THREAD = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000;
const PARENT_SETTID = 0x100000;

test('CLONE starts a thread at a step of its own, and AWAIT waits for what it stores', t => {
  const ended = runRestore(program => {
    const word = program.writable(new Uint8Array(4), 8);
    const tidWord = program.writable(new Uint8Array(8), 8);
    const tid = program.slot();
    const seen = program.slot();
    program.operation(
      'CLONE',
      'start a thread',
      [THREAD | PARENT_SETTID, 0, tidWord, 0, 0, { label: 'thread' }],
      { into: tid },
      NR.clone,
    );
    program.operation('AWAIT', 'wait', [word, 77]);
    program.operation('LOAD32', 'tid', [tidWord, 0], { into: seen });
    printWord(program, tid);
    printWord(program, seen);
    program.operation('LOAD32', 'status', [word, 0], { into: seen });
    exit(program, seen);

    program.labelNext('thread');
    const pause = Buffer.alloc(16);
    pause.writeBigUInt64LE(20_000_000n, 8);
    program.syscall('sleep', NR.nanosleep, [program.data(pause), 0]);
    // A wake-up without the value that is awaited: AWAIT goes on waiting.
    program.operation('STORE32', 'not yet', [word, 76]);
    program.syscall('wake', NR.futex, [word, 129, 1]);
    program.syscall('sleep', NR.nanosleep, [program.data(pause), 0]);
    program.operation('STORE32', 'now', [word, 77]);
    program.syscall('wake', NR.futex, [word, 129, 1]);
    program.syscall('end of the thread', NR.exit, [0]);
  });
  t.is(ended.status, 77);
  const [tid, seen] = wordsOf(ended);
  t.true(tid !== undefined && tid > 1n);
  t.is(tid, seen);
});

test('AWAIT goes on at once where the value is there, and compares 32 bits', t => {
  const { status } = runRestore(program => {
    const word = program.data(Uint8Array.of(5, 0, 0, 0, 0xff, 0xff, 0xff, 0xff));
    program.operation('AWAIT', 'wait', [word, 5]);
    exit(program, 8);
  });
  t.is(status, 8);
});

test('a thread that cannot be created ends the resume', t => {
  const { status, stderr } = runRestore(program => {
    const args = [0x10000, 0, 0, 0, 0, { label: 'thread' }]; // CLONE_THREAD by itself
    program.operation('CLONE', 'create thread 7 (worker)', args, {}, NR.clone);
    exit(program, 0);
    program.labelNext('thread');
    exit(program, 1);
  });
  t.is(status, 125);
  t.is(stderr, `${PREFIX}create thread 7 (worker): EINVAL\n`);
});

test('a step that fails in another thread is named as well', t => {
  const { status, stderr } = runRestore(program => {
    const word = program.data(new Uint8Array(4));
    program.operation('CLONE', 'start', [THREAD, 0, 0, 0, 0, { label: 'thread' }], {}, NR.clone);
    program.operation('AWAIT', 'wait for ever', [word, 1]);
    exit(program, 0);
    program.labelNext('thread');
    program.syscall('close in the thread', NR.close, [999]);
    program.syscall('end', NR.exit, [0]);
  });
  t.is(status, 125);
  t.is(stderr, `${PREFIX}close in the thread: EBADF\n`);
});

// The end

/** Code that exits with the sum of a register, a vector register and the word that is on the stack. */
const GOING_ON = {
  x86_64: {
    // mov eax, 231; movd edi, xmm15; add edi, r15d; add edi, [rsp]; syscall
    code: 'b8e700000066440f7eff4401ff033c240f05',
    thread: threadOf(
      { rip: SOMEWHERE, r15: 30n, rsp: SOMEWHERE + 0x100n, cs: 0x33n, ss: 0x2bn, eflags: 0x202n },
      {},
      xstateOf(10),
    ),
  },
  aarch64: {
    // ldr w1, [sp]; add w0, w19, w1; fmov w2, s31; add w0, w0, w2; mov x8, 94; svc 0
    code: 'e10340b96002010be203261e0000020bc80b80d2010000d4',
    thread: armThreadOf({ pc: SOMEWHERE, x19: 30n, sp: SOMEWHERE + 0x100n }, {}, fpsimdOf(10)),
  },
};

/** Vector registers of zeros, but for the last one: the XSAVE area without extended states, FPSIMD's. */
function xstateOf(value: number): Uint8Array {
  const area = Buffer.alloc(512);
  area.writeUInt16LE(0x37f, 0); // FCW
  area.writeUInt32LE(0x1f80, 24); // MXCSR
  area.writeUInt32LE(value, 160 + 15 * 16);
  return area;
}

function fpsimdOf(value: number): Uint8Array {
  const area = Buffer.alloc(528);
  area.writeUInt32LE(value, 31 * 16);
  return area;
}

test('SIGRETURN goes on with the registers of a frame', t => {
  const { code: hex, thread } = GOING_ON[builtFor()];
  const code = Buffer.from(hex, 'hex');
  const { status } = runRestore(program => {
    const stack = program.data(Uint8Array.of(2, 0, 0, 0), 8);
    const frame = signalFrame(program, thread);
    const map = [SOMEWHERE, 4096, PROT_ALL, MAP_PRIVATE_FIXED_ANONYMOUS, -1, 0];
    program.syscall('map', NR.mmap, map);
    program.operation('COPY', 'code', [SOMEWHERE, program.data(code), code.length]);
    program.operation('COPY', 'stack', [SOMEWHERE + 0x100n, stack, 4]);
    program.operation('SYNC_CODE', 'code', [SOMEWHERE, code.length]);
    program.operation('SIGRETURN', 'go', [frame]);
  });
  t.is(status, 42);
});

test('FAIL says its name and ends with 125', t => {
  const { status, stderr, stdout } = runRestore(program => {
    program.operation('FAIL', 'this cannot be (näher: §1)', []);
    print(program, program.string('never'), 5);
  });
  t.is(status, 125);
  t.is(stderr, `${PREFIX}this cannot be (näher: §1)\n`);
  t.is(stdout.length, 0);
});

test('FAIL names the error that an earlier step has kept, and ends with the status that is set', t => {
  const { status, stderr } = runRestore(program => {
    const result = program.slot();
    const options = { bestEffort: true, into: result };
    program.syscall('close', NR.close, [999], options);
    program.operation('SET', 'status', [127, 0, 0], { into: slot(SLOT.EXIT_STATUS) });
    program.operation('FAIL', 'the file', [result]);
  });
  t.is(status, 127);
  t.is(stderr, `${PREFIX}the file: EBADF\n`);
});

test('FAIL appends a text that earlier steps have made, before the error', t => {
  const { status, stderr } = runRestore(program => {
    const text = program.data(Buffer.from(' these and those'));
    const length = program.slot();
    const result = program.slot();
    program.operation('SET', 'length', [6, 0, 0], { into: length });
    program.syscall('close', NR.close, [999], { bestEffort: true, into: result });
    program.operation('FAIL', 'without', [result, text, length]);
  });
  t.is(status, 125);
  t.is(stderr, `${PREFIX}without these: EBADF\n`);
});

test('a failure leads to the fallback, once', t => {
  const { status, stderr, stdout } = runRestore(program => {
    program.operation('SET', 'fall back', [{ label: 'fallback' }, 0, 0], { into: slot(SLOT.FALLBACK) });
    program.syscall('close', NR.close, [999]);
    print(program, program.string('never'), 5);
    program.labelNext('fallback');
    print(program, program.string('other'), 5);
    program.operation('FAIL', 'the fallback', []);
  });
  t.is(status, 125);
  t.is(stdout.toString(), 'other');
  t.is(stderr, `${PREFIX}close: EBADF\n${PREFIX}the fallback\n`);
});

// LZ4

const compressor = new Lz4Compressor();

function compress(bytes: Uint8Array): Uint8Array {
  const into = new Uint8Array(lz4Bound(bytes.length));
  return into.slice(0, compressor.compress(bytes, into));
}

const MARGIN = 64;

/**
 * Decompresses blocks one after the other, each from the very end of a mapping to the very end of one: what reads or
 * writes behind it is killed. Prints for each whether it was sound, and what is there, with a margin before it.
 */
function runBlocks(blocks: readonly { readonly block: Uint8Array; readonly size: number }[]) {
  const room = 64 << 10;
  const from = SOMEWHERE;
  const to = SOMEWHERE + 0x100_0000n;
  const ended = runRestore(program => {
    for (const address of [from, to]) {
      const map = [address, room, PROT_ALL, MAP_PRIVATE_FIXED_ANONYMOUS, -1, 0];
      program.syscall('map', NR.mmap, map);
    }
    const sound = program.string('+');
    const corrupt = program.string('-');
    for (const { block, size } of blocks) {
      const at = from + BigInt(room - block.length);
      const into = to + BigInt(room - size);
      program.operation('COPY', 'block', [at, program.data(block, 1), block.length]);
      program.operation('COPY', 'clear', [into - BigInt(MARGIN), to, size + MARGIN]);
      program.when(
        'LZ4',
        'decompress',
        [at, block.length, into, size],
        () => print(program, sound, 1),
        () => print(program, corrupt, 1),
      );
      print(program, into - BigInt(MARGIN), size + MARGIN);
    }
    exit(program, 0);
  });
  let at = 0;
  const results = blocks.map(({ size }) => {
    const verdict = ended.stdout.toString('latin1', at, at + 1);
    const margin = ended.stdout.subarray(at + 1, at + 1 + MARGIN);
    const bytes = ended.stdout.subarray(at + 1 + MARGIN, at + 1 + MARGIN + size);
    at += 1 + MARGIN + size;
    return { verdict, margin, bytes };
  });
  return { ...ended, results };
}

/** Literals and repetitions of all lengths and distances. */
const repetitive = fc
  .array(fc.tuple(fc.uint8Array({ maxLength: 40 }), fc.integer({ min: 1, max: 70 }), fc.nat({ max: 400 })), {
    maxLength: 12,
  })
  .map(parts => {
    const bytes: number[] = [];
    for (const [fresh, distance, length] of parts) {
      bytes.push(...fresh);
      for (let i = 0; i < length; i++) bytes.push(bytes[bytes.length - distance] ?? 1);
    }
    return Uint8Array.from(bytes);
  });

test('LZ4 decompresses what was compressed, and touches nothing around it', t => {
  const samples = fc.sample(repetitive, { numRuns: 300, seed: 7 });
  samples.push(new Uint8Array(), Uint8Array.of(1), new Uint8Array(60_000), randomBytes(50_000));
  const { results, stderr, status } = runBlocks(
    samples.map(bytes => ({ block: compress(bytes), size: bytes.length })),
  );
  t.deepEqual([stderr, status], ['', 0]);
  for (const [i, { verdict, margin, bytes }] of results.entries()) {
    t.is(verdict, '+');
    t.true(margin.every(byte => byte === 0));
    t.true(bytes.equals(samples[i] ?? bytes), `sample ${i}`);
  }
});

test('LZ4 finds every block corrupt that our reader does, and touches nothing around its place', t => {
  const change = fc.tuple(fc.nat(), fc.nat({ max: 255 }));
  const samples = fc.sample(fc.tuple(repetitive, fc.array(change, { maxLength: 3 }), fc.nat({ max: 9 })), {
    numRuns: 400,
    seed: 11,
  });
  const damaged = samples.map(([bytes, changes, cut]) => {
    const block = compress(bytes);
    for (const [at, value] of changes) block[at % block.length] = value;
    return { block: block.subarray(0, Math.max(0, block.length - (cut > 6 ? cut : 0))), size: bytes.length };
  });
  const expected = damaged.map(({ block, size }) => {
    const into = Buffer.alloc(size);
    try {
      decompressLz4(block, into);
      return into;
    } catch {
      return undefined;
    }
  });
  t.true(expected.filter(bytes => bytes === undefined).length > 100);
  const { results, stderr, status } = runBlocks(damaged);
  t.deepEqual([stderr, status], ['', 0]);
  for (const [i, { verdict, margin, bytes }] of results.entries()) {
    const sound = expected[i];
    t.is(verdict, sound === undefined ? '-' : '+', `sample ${i}`);
    t.true(margin.every(byte => byte === 0));
    if (sound !== undefined) t.true(bytes.equals(sound), `sample ${i}`);
  }
});

test('a required LZ4 fails when its block is corrupt', t => {
  const { status, stderr } = runRestore(program => {
    const into = program.writable(new Uint8Array(8));
    program.operation('LZ4', 'contents of the heap are damaged', [
      program.data(Uint8Array.of(0xf0)),
      1,
      into,
      8,
    ]);
  });
  t.is(status, 125);
  t.is(stderr, `${PREFIX}contents of the heap are damaged\n`);
});

// The machine

test('AUXV finds an entry of the auxiliary vector, and 0 for one that is not there', t => {
  const AT_PAGESZ = 6;
  const AT_EXECFN = 31;
  const ended = runRestore(program => {
    const found = program.slot();
    for (const type of [AT_PAGESZ, AT_EXECFN, 9999]) {
      program.operation('AUXV', 'look', [type], { into: found });
      printWord(program, found);
    }
    printWord(program, slot(SLOT.ENV_END));
    exit(program, 0);
  });
  const [pageSize, name, none, expected] = wordsOf(ended);
  t.is(pageSize, 4096n);
  t.is(name, expected);
  t.is(none, 0n);
});

const bitSets: readonly [has: bigint, wanted: bigint][] = [
  [0b1101n, 0b1001n],
  [0b1101n, 0b0010n],
  [0b1101n, 0b1111n],
  [0n, 0n],
  [0n, 1n],
  [MAX, MAX],
  [MAX - 2n ** 63n, 2n ** 63n],
  [2n ** 63n, 2n ** 63n],
];

for (const [has, wanted] of bitSets) {
  const holds = (has & wanted) === wanted;
  test(`HAS_BITS of ${has.toString(16)} and ${wanted.toString(16)} ${holds ? 'holds' : 'does not hold'}`, t => {
    t.deepEqual(
      judge('HAS_BITS', () => [has, wanted]),
      holds ? HOLDS : FAILS,
    );
  });
}

/** Code that exits with the word at the thread pointer. */
const THREAD_LOCAL = {
  // mov edi, fs:[0]; mov eax, 231; syscall
  x86_64: '648b3c2500000000b8e70000000f05',
  // mrs x0, tpidr_el0; ldr w0, [x0]; mov x8, 94; svc 0
  aarch64: '40d03bd5000040b9c80b80d2010000d4',
};

test('THREAD_POINTER is where the thread finds its own storage', t => {
  const code = Buffer.from(THREAD_LOCAL[builtFor()], 'hex');
  const { status, stderr } = runRestore(program => {
    const { thread } = GOING_ON[builtFor()];
    const map = [SOMEWHERE, 4096, PROT_ALL, MAP_PRIVATE_FIXED_ANONYMOUS, -1, 0];
    program.syscall('map', NR.mmap, map);
    program.operation('COPY', 'code', [SOMEWHERE, program.data(code), code.length]);
    program.operation('SYNC_CODE', 'code', [SOMEWHERE, code.length]);
    program.operation('THREAD_POINTER', 'storage', [program.data(Uint8Array.of(23, 0, 0, 0, 0, 0, 0, 0))]);
    program.operation('SIGRETURN', 'go', [signalFrame(program, thread)]);
  });
  t.is(stderr, '');
  t.is(status, 23);
});
