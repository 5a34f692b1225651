import test from 'ava';
import { availableMemory } from '../../../unexec/linux/available-memory.ts';

const KIB = 1024;
const memory = (files: Readonly<Record<string, string>>): number =>
  availableMemory(
    path => ({ '/proc/meminfo': 'MemTotal: 900 kB\nMemAvailable:     800 kB\n', ...files })[path],
  );

test('availableMemory() is what the machine has, without control groups', t => {
  t.is(memory({}), 800 * KIB);
});

test('availableMemory() heeds the limit of every group above', t => {
  const groups = {
    '/proc/self/cgroup': '0::/user/me\n',
    '/sys/fs/cgroup/user/me/memory.max': 'max\n',
    '/sys/fs/cgroup/user/me/memory.current': '1000\n',
    '/sys/fs/cgroup/user/memory.max': '5000\n',
    '/sys/fs/cgroup/user/memory.current': '2000\n',
  };
  t.is(memory(groups), 3000);
  t.is(memory({ ...groups, '/sys/fs/cgroup/user/memory.current': '6000\n' }), 0);
});

test('availableMemory() heeds the groups of version 1', t => {
  const files = {
    '/proc/self/cgroup': '5:cpu:/a\n4:hugetlb,memory:/a\n',
    '/sys/fs/cgroup/memory/a/memory.limit_in_bytes': '9000\n',
    '/sys/fs/cgroup/memory/a/memory.usage_in_bytes': '1000\n',
  };
  t.is(memory(files), 8000);
});
