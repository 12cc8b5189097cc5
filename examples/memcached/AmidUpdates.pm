# Has a Perl test wait for updates of its servers: after its 1st, 2nd, 4th, 8th… point, at most so long.
#
# In: `updates` in the runtime directory, where whoever updates them says how many there were. So a test
# that is over in no time meets some, too, and knows of each that it was amid its commands.
package AmidUpdates;
use strict;
use warnings;
use Test::Builder;

my $LONGEST_S = 3;
my ($points, $next) = (0, 1);
my $tell = \&Test::Builder::ok;

sub updates {
    open my $file, '<', "$ENV{KITSUNE_RUNTIME_DIR}/updates" or return 0;
    return scalar(<$file>) || 0;
}

no warnings 'redefine';
*Test::Builder::ok = sub {
    if (++$points == $next) {
        $next *= 2;
        my ($before, $left) = (updates(), $LONGEST_S / 0.02);
        select undef, undef, undef, 0.02 while $left-- > 0 && updates() == $before;
    }
    goto &$tell;
};

1;
