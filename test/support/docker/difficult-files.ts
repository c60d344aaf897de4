/** A Perl program that makes files in `/d` which a careless copy would lose or change. */
export const MAKE_DIFFICULT_FILES = String.raw`
use strict; use warnings;
chdir '/d' or die;
my $setxattr = qx(uname -m) =~ /aarch64/ ? 6 : 189;
sub attribute { my ($path, $name, $value) = @_; syscall($setxattr, $path, $name, $value, length $value, 0) == 0 or die "$path $name: $!" }
sub put { my ($path, $text) = @_; open my $file, '>', $path or die "$path: $!"; print $file $text; close $file or die }
sub hole { my ($path, $before, $end) = @_; open my $file, '>', $path or die; seek $file, $before, 0; print $file 'end'; truncate $file, $end; close $file }

put 'plain', "hello\n"; chown 1000, 1001, 'plain'; chmod 0640, 'plain';
put 'setuid', "#!/bin/sh\n"; chown 0, 50, 'setuid'; chmod 06755, 'setuid';
mkdir 'sticky'; chmod 01777, 'sticky';
mkdir 'closed'; put 'closed/secret', 'x'; chown 4000000000, 4000000000, 'closed/secret'; chmod 0, 'closed/secret', 'closed';
mkdir 'empty'; mkdir 'empty/inner';
put 'linked-1', 'linked'; mkdir 'zz'; link 'linked-1', $_ or die for 'linked-2', 'zz/linked-3';
symlink '/etc/passwd', 'absolute'; symlink '../../..', 'up'; link 'absolute', 'absolute-2' or die;
symlink "dangling\nline", "symlink\nline";
system('mkfifo', 'fifo') == 0 or die; system('mknod', 'device', 'c', '1', '3') == 0 or die;
put $_, "name $_" for "new\nline", "not\xffutf\xfe8", "\xc3\xa4", '-rf', ' blank ', '--checkpoint-action=exec=sh x', '$(touch pwned)\x60x\x60', "\x01\e[31m", 'back\\slash', 'l' x 255;
mkdir "not\xffutf8"; put "not\xffutf8/inner\xfe", 'x';
my $deep = 'deep'; for (1 .. 12) { mkdir $deep or die; $deep .= '/' . 'd' x 250 }
hole 'sparse', 50 * 2**20, 50 * 2**20 + 3; hole "sparse\xff", 3 * 2**20, 9 * 2**20; hole 'start-and-hole', 0, 8 * 2**20;
put 'zeros', "\0" x 2**20; put 'large', join '', map { pack 'NNNN', $_, $_ * 2654435761 % 2**32, $_ ^ 0x55555555, 7 } 1 .. 2**20;
put 'attributed', 'x'; attribute 'attributed', 'user.note', "a\0b\n=\xff"; attribute 'attributed', 'user.empty', '';
mkdir 'attributed-directory'; attribute 'attributed-directory', 'user.note', 'directory';
put 'capable', 'x'; chown 5, 5, 'capable'; attribute 'capable', 'security.capability', pack('V5', 0x02000001, 0x400, 0, 0, 0);
my $acl = pack('V', 2) . join '', map { pack 'vvV', @$_ } [1, 6, 0xffffffff], [2, 4, 1234], [4, 4, 0xffffffff], [16, 4, 0xffffffff], [32, 0, 0xffffffff];
put 'acl', 'x'; attribute 'acl', 'system.posix_acl_access', $acl;
mkdir 'inheriting'; put 'inheriting/before', 'x'; attribute 'inheriting', 'system.posix_acl_default', $acl; put 'inheriting/after', 'x';
system('touch', '-d', '1969-12-31T23:59:59.5Z', 'linked-1') == 0 or die;
chown 7, 8, '.'; chmod 02750, '.'; attribute '.', 'user.root', 'root';
system('touch', '-h', '-d', '2001-02-03T04:05:06.123456789Z', 'plain', 'absolute', 'sticky', "new\nline", 'fifo', '.') == 0 or die;
`;

/**
 * Prints everything in `/d`, a line for each name: kind, mode, owners, links, size, time to the nanosecond, link
 * target, hard links, content, attributes. It shares no code with the copying of volumes.
 */
export const DESCRIBE_FILES = String.raw`
use strict; use warnings;
chdir '/d' or die;
my ($listxattr, $getxattr) = qx(uname -m) =~ /aarch64/ ? (12, 9) : (195, 192);
sub shown { my ($text) = @_; $text =~ s/([^!-~])/sprintf '\\x%02x', ord $1/ge; $text }
sub attributes {
  my ($path) = @_; my $names = "\0" x 4096; my $length = syscall($listxattr, $path, $names, 4096);
  return join ',', map { my $value = "\0" x 4096; my $n = syscall($getxattr, $path, my $name = $_, $value, 4096); "$_=" . unpack 'H*', substr $value, 0, $n }
    sort split /\0/, $length > 0 ? substr $names, 0, $length : '';
}
my (%first, @lines);
open my $found, '-|', 'find', '.', '-printf', '%p\0%y %m %U:%G %n %T@\0%l\0' or die;
{ local $/ = "\0"; my @entries;
  while (defined(my $path = <$found>)) { my $facts = <$found>; my $target = <$found>; chomp($path, $facts, $target); push @entries, [$path, $facts, $target] }
  for (sort { $a->[0] cmp $b->[0] } @entries) {
    my ($path, $facts, $target) = @$_; my ($inode, $links, $rdev, $size) = (lstat $path)[1, 3, 6, 7];
    $first{$inode} //= $path; my $content = '';
    if (-f _) { open my $sum, '-|', 'sha256sum', '--zero', '--', $path or die; $content = substr(<$sum>, 0, 64) . " $size" }
    push @lines, join ' ', shown($path), $facts, shown($target), $rdev, shown($first{$inode}), $content, attributes($path);
  }
}
print join "\n", @lines, '';
`;
