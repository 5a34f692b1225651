import { programTests } from '../support/program-tests.ts';

programTests({
  name: 'perl',
  program: '/usr/bin/perl',
  args: [
    '-MPOSIX',
    '-MEncode',
    '-MStorable=freeze,thaw',
    '-MJSON::PP',
    '-e',
    `$| = 1;
     my $json = JSON::PP->new->canonical->utf8;
     my %data = map { ("key $_" => [$_, $_ ** 0.5, "\\x{e9}" x ($_ % 5)]) } 1 .. 2000;
     my $kept = freeze \\%data;
     print "loaded ", length $kept, "\\n";
     kill STOP => $$;
     print "resumed\\n";
     my $back = thaw $kept;
     print $json->encode($back), "\\n";
     print unpack('%32C*', encode('UTF-16LE', join ',', sort keys %$back)), "\\n";
     print strftime('%Y-%m-%d', gmtime 86400 * 365), ' ', POSIX::fmod(17, 5), "\\n";
     open my $pipe, '-|', 'echo', 'a child' or die; print <$pipe>; close $pipe;
     print eval { die { code => 7 } } // $@->{code}, "\\n";`,
  ],
  times: 200,
});
