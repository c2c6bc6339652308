#!/usr/bin/perl
# DBD::Pg: libpq beneath, with prepared statements of its own.
use strict;
use warnings;
use DBD::Pg qw(:async);
use DBI;
use JSON::PP;

my $db = DBI->connect("dbi:Pg:sslmode=verify-full", $ENV{PGUSER}, $ENV{PGPASSWORD}, {RaiseError => 1, PrintError => 0, AutoCommit => 1});
my %result;

sub step {
  my ($name, $work) = @_;
  my $answer = eval { $work->() };
  $result{$name} = $@ ? "$@" : ($answer // '') =~ m{^n/a} ? $answer : 'ok';
}
sub masked { $_[0] =~ /^\*\*\*@/ or die "not masked: $_[0]" }
sub one { ($db->selectrow_array(@_))[0] }
sub fails {
  my ($state, $work) = @_;
  eval { $work->(); 1 } and die "no error";
  $db->state eq $state or die $db->errstr;
}

step(tls => sub { });
step(prepared => sub {
  my $statement = $db->prepare('select id, email from app.customers where id = ?');
  for my $n (1 .. 10) {
    $statement->execute($n);
    my ($id, $email) = $statement->fetchrow_array;
    $id == $n or die "row $id";
    masked($email);
  }
});
step(batch => sub {
  my $statement = $db->prepare('insert into app.support_tickets (customer_id, subject) values (?, ?)');
  $statement->execute_array({}, [(1) x 20], 'batch') == 20 or die 'batch';
  $db->do('select 1; select 2');
});
step(copy => sub {
  $db->do('copy app.support_tickets (customer_id, subject) from stdin');
  $db->pg_putcopydata("1\tcopied $_\n") for 1 .. 1000;
  $db->pg_putcopyend;
  $db->do('copy (select email from app.customers where id = 7) to stdout');
  my ($line, $all) = ('', '');
  $all .= $line while $db->pg_getcopydata($line) >= 0;
  masked($all);
});
step(cancel => sub {
  my $statement = $db->prepare('select count(*) from generate_series(1, 100000000000)', {pg_async => PG_ASYNC});
  $statement->execute;
  $db->pg_cancel or die 'not cancelled';
  one('select 1') == 1 or die 'does not go on';
});
step(cursor => sub {
  $db->begin_work;
  $db->do('declare part cursor for select id, email from app.customers order by id');
  for my $expected (1, 6) {
    my $rows = $db->selectall_arrayref('fetch 5 from part');
    $rows->[0][0] == $expected or die "row $rows->[0][0]";
    masked($rows->[0][1]);
  }
  $db->commit;
});
step(error => sub {
  $db->begin_work;
  fails('22012', sub { one('select 1 / 0') });
  fails('25P02', sub { one('select 1') });
  $db->rollback;
  one('select 1') == 1 or die 'does not go on';
});
step(masked => sub { masked(one('select email from app.customers where id = 7')) });
step(held => sub {
  my $id = one("insert into app.support_tickets (customer_id, subject) values (1, 'held') returning id");
  $db->do('delete from app.support_tickets where id = ?', undef, $id) == 1 or die 'rows';
});
step(denied => sub {
  fails('42501', sub { $db->do('grant all on app.orders to public') });
  one('select 1') == 1 or die 'does not go on';
});
$db->disconnect;
print encode_json(\%result), "\n";
