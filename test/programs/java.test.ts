import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { logRatio } from '../support/log-ratio.ts';
import { programTests } from '../support/program-tests.ts';
import { sandbox } from '../support/sandbox.ts';
import { answered, freePort, freezeService, httpGet, startService } from '../support/service.ts';

const JAVA = '/usr/bin/java';
const directory = sandbox('java');

/** A service with classes loaded, methods compiled by the JIT, a pool of threads, an HTTP server; it also reads stdin. */
writeFileSync(
  join(directory, 'Service.java'),
  `
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;

public class Service {
  static long work(int n) {
    long sum = 0;
    for (int i = 0; i < n; i++) sum += Integer.toString(i).hashCode() % 7;
    return sum;
  }

  record Point(int x, int y) {}

  public static void main(String[] args) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(4);
    ScheduledExecutorService ticker = Executors.newScheduledThreadPool(1);
    long warm = 0;
    for (int i = 0; i < 30; i++) warm += work(20000);
    Map<String, Integer> table = new ConcurrentHashMap<>();
    for (int i = 0; i < 20000; i++) table.put("key " + i, i * i);
    CountDownLatch ticks = new CountDownLatch(3);
    Future<?> ticking = ticker.scheduleAtFixedRate(ticks::countDown, 1, 20, TimeUnit.MILLISECONDS);
    ticks.await();
    System.out.println("loaded " + table.size() + " " + warm);
    if (args.length > 0) {
      HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])), 16);
      server.setExecutor(pool);
      server.createContext("/", exchange -> {
        String key = exchange.getRequestURI().getQuery();
        if (key.equals("gc")) System.gc();
        byte[] answer = (key + " is " + table.get(key) + ", work " + work(5000) + "\\n").getBytes();
        exchange.sendResponseHeaders(200, answer.length);
        exchange.getResponseBody().write(answer);
        exchange.close();
      });
      server.start();
      Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("shut down")));
      return;
    }
    ticking.cancel(false); // something to do is no wait for input
    Scanner in = new Scanner(System.in);
    while (in.hasNextLine()) {
      String line = in.nextLine();
      switch (line) {
        case "gc" -> System.gc();
        case "throw" -> {
          try { table.get(null); } catch (NullPointerException error) { System.out.println("caught"); }
          try { deep(0); } catch (StackOverflowError error) { System.out.println("overflow"); }
        }
        case "garbage" -> {
          List<byte[]> kept = new ArrayList<>();
          for (int i = 0; i < 3000; i++) { byte[] some = new byte[100000]; if (i % 300 == 0) kept.add(some); }
          System.out.println(kept.stream().mapToInt(some -> some.length).sum());
        }
        case "new code" -> System.out.println("" + IntStream.range(0, 1000).mapToObj(i -> new Point(i, -i))
            .collect(Collectors.groupingBy(point -> point.x() % 3, TreeMap::new, Collectors.summingInt(Point::y))));
        case "child" -> System.out.print(new String(new ProcessBuilder("echo", "a child").start().getInputStream().readAllBytes()));
        default -> System.out.println(line + " is " + table.get(line) + ", work " + pool.submit(() -> work(5000)).get());
      }
    }
    CountDownLatch more = new CountDownLatch(3);
    ticker.scheduleAtFixedRate(more::countDown, 1, 1, TimeUnit.MILLISECONDS);
    more.await();
    ticker.shutdown();
    pool.shutdown();
    System.out.println("end " + pool.awaitTermination(5, TimeUnit.SECONDS));
    System.exit(3);
  }

  static int deep(int n) { return deep(n + 1) + 1; }
}
`,
);
execFileSync('/usr/bin/javac', ['-d', directory, join(directory, 'Service.java')]);

const TYPED = ['key 7', 'gc', 'key 9', 'throw', 'garbage', 'new code', 'child', 'gc', 'key 19999', ''].join(
  '\n',
);

for (const [name, options, times] of [
  ['java', [], 10],
  ['java-serial-gc', ['-XX:+UseSerialGC'], 5],
  ['java-g1', ['-XX:+UseG1GC'], 10],
] as const) {
  programTests({
    name,
    program: JAVA,
    args: [...options, '-cp', directory, 'Service'],
    typed: TYPED,
    status: 3,
    times,
  });
}

test.serial('java serves HTTP after its resume as before its freeze', async t => {
  const port = await freePort();
  const args = ['-cp', directory, 'Service', `${port}`];
  const ask = async () => {
    const keys = ['key 3', 'gc', 'key 100', 'none'];
    return Promise.all(keys.map(key => httpGet(port, `/?${encodeURIComponent(key)}`)));
  };
  const first = startService(directory, JAVA, args);
  const wanted = await answered(first, ask);
  t.is(wanted[0]?.body, `key 3 is 9, work ${/work (.*)/.exec(wanted[0]?.body ?? '')?.[1]}\n`);
  const image = join(directory, 'server');
  // Beside the one that listens, the library keeps one to put into the place of those that it closes.
  t.like(await freezeService(first, image, 2), { ok: true });
  await first.end('SIGKILL');
  for (let life = 0; life < 3; life++) {
    const service = startService(directory, image);
    t.deepEqual(await answered(service, ask), wanted);
    await Promise.all(Array.from({ length: 30 }, () => httpGet(port, '/?none')));
    t.is(await service.end('SIGTERM'), 143);
    t.is(service.said(), 'shut down\n');
  }
  const until = (program: string, more: readonly string[]) => async () => {
    const service = startService(directory, program, more, { measured: true });
    await answered(service, () => httpGet(port, '/?none'));
    await service.end('SIGKILL');
  };
  await logRatio(t, 'first answer', { own: until(JAVA, args), resumed: until(image, []) });
});
