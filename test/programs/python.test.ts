import { programTests } from '../support/program-tests.ts';

programTests({
  name: 'python',
  program: '/usr/bin/python3',
  args: [
    '-c',
    `
import asyncio, collections, csv, ctypes, datetime, decimal, email.message, hashlib, http.client, io, json
import os, random, re, signal, sqlite3, subprocess, sys, threading, xml.etree.ElementTree as tree, zlib
database = sqlite3.connect(':memory:')
database.execute('create table t (a integer, b text)')
database.executemany('insert into t values (?, ?)', [(i, 'row %d' % i) for i in range(500)])
random.seed(7)
numbers = [random.random() for _ in range(1000)]
print('loaded', len(sys.modules) > 200, flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
print('resumed')
print(database.execute('select count(*), max(b) from t').fetchone())
print(sum(numbers), random.random(), decimal.Decimal(2).sqrt())
print(hashlib.sha256(repr(numbers).encode()).hexdigest(), zlib.crc32(b'unexec'))
async def work(n):
    await asyncio.sleep(0.001 * n)
    return n * n
async def all_work():
    return await asyncio.gather(*[work(n) for n in range(5)])
print(asyncio.run(all_work()))
results = []
threads = [threading.Thread(target=lambda n=n: results.append(n)) for n in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(sorted(results), subprocess.run(['echo', 'a child'], capture_output=True).stdout)
message = email.message.EmailMessage()
message['Subject'] = 'frozen'
message.set_content('body')
print(message.as_string(), tree.tostring(tree.fromstring('<a><b c="d"/></a>')))
out = io.StringIO()
csv.writer(out).writerow([1, 'two', 3.5])
print(out.getvalue().strip(), re.sub(r'(\\w)(\\d)', r'\\2\\1', 'a1 b2'), json.dumps({'a': [1, None]}))
print(datetime.date(2024, 2, 29) + datetime.timedelta(days=366), collections.Counter('abracadabra').most_common(2))
try:
    import fractions
    print(fractions.Fraction(1, 3) + fractions.Fraction(1, 6))
    1 / 0
except ZeroDivisionError as error:
    print(error)
`,
  ],
  times: 200,
});
