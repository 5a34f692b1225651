/** Perl, restarted: Debian's static library, with modules that are written in Perl. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { interpreter, restartTests } from '../support/restart-tests.ts';
import { sandbox } from '../support/sandbox.ts';

const embed = (what: string, ...args: string[]): string =>
  execFileSync('perl', ['-MExtUtils::Embed', '-e', what, ...args], { encoding: 'utf8' });

/** What makes the interpreter's extensions known to it, as perlembed(1) has it. */
const EXTENSIONS = join(sandbox('perl'), 'perlxsi.c');
embed('xsinit', '--', '-o', EXTENSIONS);

restartTests({
  name: 'perl',
  sources: [
    ...embed('ccopts').trim().split(/\s+/),
    interpreter('perl.c'),
    EXTENSIONS,
    '-Wl,-E',
    '-l:libperl.a',
    '-lcrypt',
    '-lm',
    '-ldl',
  ],
  load: `
    use strict; use warnings; use utf8;
    use Text::Wrap (); use Getopt::Long (); use Text::ParseWords (); use constant TWO => 2;
    our %words = map { ("word $_" => $_) } 1 .. 15000;
    our @lines = map { { number => $_, text => "\\x{20ac}" x ($_ % 5) } } 1 .. 1000;
    our $count = do { my $n = 0; sub { ++$n } };
    package Shape { sub new { my ($class, %with) = @_; bless {%with}, $class } sub area { $_[0]{side} ** main::TWO } }
    our $shape = Shape->new(side => 12);
    our $pattern = qr/(?<name>\\w+) (\\d+)/i;
    $count->();`,
  use: `
    print $words{'word 777'}, ' ', scalar(keys %words), ' ', $count->(), ' ', $shape->area, "\\n";
    delete $words{"word $_"} for 1 .. 7000;
    $words{"more $_"} = [1 .. 5] for 1 .. 4000;
    my $sum = 0;
    $sum += ref $_ ? @$_ : $_ for values %words;
    print scalar(keys %words), " $sum ", join('', map { length $_->{text} } @lines[0 .. 9]), "\\n";
    'Word 42' =~ $pattern and print "$+{name}: $2\\n";
    print Text::Wrap::wrap('', '  ', 'a few words to be wrapped ' x 5), "\\n";
    print join('|', Text::ParseWords::shellwords(q(a 'b c' d))), ' ', sprintf('%.3f', 1.5), ' ', lc "\\x{c9}A", "\\n"
      =~ s/[^\\x00-\\x7f]/?/gr;
    Getopt::Long::GetOptionsFromArray([qw(--size 5 rest)], 'size=i' => \\my $size);
    print eval { die { code => $size } } // $@->{code}, ' ', eval 'sort { $a <=> $b } 10, 9' ? 'sorted' : $@, "\\n";
    require POSIX; require List::Util; # libraries of this life
    print POSIX::floor(2.7), ' ', List::Util::sum(map { $_ ** 2 } 1 .. 9), ' ', POSIX::strtol('77', 8), "\n";
    open my $in, '<', '/proc/self/comm' or die; print defined <$in> ? "read\\n" : "not read\\n";`,
  change: `$count->() for 1 .. 3; $words{'word 777'} = 'another';`,
});
