import test from 'ava';
import { reasonsFor, refusedFor } from '../../support/refused.ts';
import { run } from '../../support/run.ts';
import { freezeFixture } from '../../support/same-result.ts';

const refused = refusedFor('files/refused.c', 'by number and with a remedy');

const DROP_3 = /--drop-fd 3$/;
test(
  refused,
  'pipe',
  'FD_OUTSIDE_PIPE',
  /^descriptor 4 is the write end of a pipe whose other end/,
  /--drop-fd 4$/,
);
test(refused, 'fifo', 'FD_FIFO', /^descriptor 3 is a named pipe \(.*\/fifo\)$/, DROP_3);
test(refused, 'netlink', 'FD_SOCKET_FAMILY', /^descriptor 3 is a netlink socket/, DROP_3);
test(refused, 'filter', 'FD_SOCKET_FILTER', /^descriptor 3 is a socket with a filter/, DROP_3);
test(refused, 'datagram', 'FD_WAITING', /^descriptor 3 is a socket with messages that nobody/, DROP_3);
test(refused, 'pidfd', 'FD_UNSUPPORTED', /^descriptor 3 is a pidfd/, DROP_3);
test(refused, 'namespace', 'FD_UNSUPPORTED', /^descriptor 3 is a net namespace/, DROP_3);
test(refused, 'huge', 'FD_HUGE_PAGES', /^descriptor 3 is memory of huge pages/, DROP_3);
test(refused, 'queue', 'FD_MESSAGE_QUEUE', /^descriptor 3 is a POSIX message queue/, DROP_3);
test(refused, 'lease', 'FD_LEASE', /^descriptor 3 is a file with a lease/, DROP_3);
test(refused, 'packets', 'FD_PACKETS', /^descriptor 3 is a pipe with packets/, DROP_3);
test(refused, 'directory', 'FD_DELETED', /^descriptor 3 is a directory that was deleted/, DROP_3);
test(
  refused,
  'epoll',
  'FD_EPOLL_CLOSED',
  /^descriptor 3 is an epoll .* what was descriptor 4/,
  /EPOLL_CTL_DEL/,
);
test(refused, 'terminal', 'FD_FOREIGN_TERMINAL', /^descriptor 4 is a terminal other than/, /--drop-fd 4$/);
test(
  refused,
  'passed',
  'FD_PASSED_DESCRIPTORS',
  /^descriptor 4 is a socket with descriptors on their way/,
  /--drop-fd 4$/,
);

test('freeze tells all its reasons at once, with every number of a descriptor', async t => {
  const reasons = await reasonsFor('files/refused.c', 'tcp', 'fifo', 'netlink');
  t.deepEqual(reasons.map(({ code }) => code).sort(), [
    'FD_CONNECTED_SOCKET',
    'FD_CONNECTED_SOCKET',
    'FD_FIFO',
    'FD_SOCKET_FAMILY',
  ]);
  const client = reasons.find(({ what }) => /^descriptor 4 is a TCP connection/.test(what));
  t.regex(client?.remedy ?? '', /--hangup-sockets, or leave it out with --drop-fd 4 --drop-fd 41$/);
});

test('--hangup-sockets gives a connected socket its end of file and EPIPE', async t => {
  const { frozen } = await freezeFixture('files/refused.c', { args: ['tcp'], hangupSockets: true });
  const { stdout, status, stderr } = await run(frozen.path);
  t.is(status, 0, stderr);
  t.is(stdout, "40: 0 ''\n40: EPIPE\n4 is open\n40 is open\n41 is open\n");
});

test('--drop-fd leaves descriptors out, and they are closed in the second life', async t => {
  const { frozen } = await freezeFixture('files/refused.c', {
    args: ['tcp', 'fifo'],
    dropFds: [3, 4, 41, 40],
  });
  const { stdout, status } = await run(frozen.path);
  t.is(status, 0);
  t.is(stdout, '40: EBADF\n40: EBADF\n');
});

test('--drop-fd of a watched descriptor leaves its epoll without it', async t => {
  const { frozen } = await freezeFixture('files/epoll.c', { dropFds: [5] });
  const { stdout, status, stderr } = await run(frozen.path);
  t.is(status, 0, stderr);
  t.regex(stdout, /^modify: EBADF$/m);
});
