# The benchmark's perl: start | freeze | fork (see ../programs.ts).
use strict;
use warnings;
use POSIX    ();
use Encode   ();
use Storable ();
use JSON::PP ();
use Time::HiRes ();

sub work {
    my %record = (name => "J\x{f6}rg", list => [1 .. 20], at => POSIX::strftime('%F', gmtime 86400));
    my $text   = JSON::PP->new->canonical->encode(\%record);
    my $copy   = Storable::dclone(JSON::PP->new->decode($text));
    my $bytes  = Encode::encode('UTF-8', $copy->{name});
    return sprintf "%d %s %d\n", length $text, $copy->{at}, length $bytes;
}

sub serve {
    open my $requests, '<&=', 3 or die "descriptor 3: $!";
    open my $answers,  '>&=', 4 or die "descriptor 4: $!";
    while (sysread $requests, my $byte, 1) {
        my $start = Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC());
        my $pid   = fork // die "fork: $!";
        if ($pid == 0) { print work(); exit 0 }
        waitpid $pid, 0;
        my $end = Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC());
        syswrite $answers, sprintf "%.0f %d\n", ($end - $start) * 1e9, $?;
    }
    exit 0;
}

my $mode = shift // die "usage: perl.pl start | freeze | fork\n";
work()          if $mode ne 'start';
serve()         if $mode eq 'fork';
kill 'STOP', $$ if $mode eq 'freeze';
print work();
