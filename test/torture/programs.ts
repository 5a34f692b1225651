/**
 * The programs that are frozen anywhere: each computes for 50 to 200 ms, allocates, reads files, writes
 * now and then, and says exactly the same each time. None has children at any moment, as a process with
 * children is rightly refused.
 *
 * @module
 */
import { compileSample } from '../support/compile.ts';

export interface TortureProgram {
  readonly name: TortureName;
  readonly program: string;
  readonly args: readonly string[];
}

export const TORTURE_NAMES = ['perl', 'python', 'threads'] as const;
export type TortureName = (typeof TORTURE_NAMES)[number];

const PERL = `
use strict; use warnings;
my ($state, %seen) = (1);
sub step { $state = ($state * 1103515245 + 12345) % 2147483648 }
for my $round (1 .. 60) {
  if ($round == 5) { require POSIX; $state += POSIX::floor(3.7) }
  if ($round == 10) { require Storable; require List::Util }
  if ($round == 15) { require Encode; $state += length Encode::encode('UTF-16', 'unexec' x $round) }
  my @list = map { step() % 1000 } 1 .. 400;
  push @{ $seen{$_ % 97} }, $_ for @list;
  my $text = join ',', sort { $a <=> $b } @list;
  open my $in, '<', '/etc/passwd' or die; my $lines = () = <$in>; close $in;
  if ($round > 10) { $state += List::Util::sum(@list); my $copy = Storable::dclone(\\%seen); $state += keys %$copy }
  my $found = () = $text =~ /(?:^|,)(\\d)\\1\\d(?=,|$)/g;
  $| = $round % 3 == 0;
  printf "round %d: %d %s %d %.15g\\n", $round, $state, unpack('%32C*', $text), $found, sqrt $state;
  print STDERR "note $round $lines\\n" if $round % 6 == 0;
}
exit $state % 60;
`;

const PYTHON = `
import sys, os
state = 1
def step():
    global state
    state = (state * 1103515245 + 12345) % 2147483648
    return state
seen = {}
for round in range(16):
    if round == 2:
        import json, struct
    if round == 4:
        import threading
        lock = threading.RLock()
    if round == 6:
        import hashlib, zlib
    if round == 8:
        import decimal, datetime
    if round == 10:
        import ctypes
    if round == 12:
        import xml.etree.ElementTree as tree
    values = [step() % 1000 for _ in range(1500)]
    for value in values:
        seen.setdefault(value % 97, []).append(value)
    with open('/etc/passwd', 'rb') as file:
        size = len(file.read())
    if round >= 2:
        state += len(json.dumps(seen))
    if round >= 4:
        found = []
        def run():
            with lock:
                found.append(sum(values))
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        state += found[0]
    if round >= 6:
        state += zlib.crc32(hashlib.sha256(repr(values).encode()).digest())
    if round >= 8:
        state += int(decimal.Decimal(state).sqrt())
    if round >= 12:
        state += len(tree.tostring(tree.fromstring('<a>' + '<b/>' * round + '</a>')))
    print('round', round, state, sum(values) ** 0.5, size, flush=round % 3 == 0)
    if round % 6 == 5:
        sys.stdout.flush()
        os.write(2, b'note %d\\n' % round)
sys.exit(state % 60)
`;

/** The program of this name, built in `directory` where it must be. */
export function tortureProgram(name: TortureName, directory: string): TortureProgram {
  switch (name) {
    case 'perl':
      return { name, program: '/usr/bin/perl', args: ['-e', PERL] };
    case 'python':
      return { name, program: '/usr/bin/python3', args: ['-X', 'pycache_prefix=/nonexistent', '-c', PYTHON] };
    case 'threads':
      return { name, program: compileSample(directory, 'threads-torture.c'), args: [] };
  }
}
