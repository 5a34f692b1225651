import { request } from 'node:http';
import test from 'ava';
import { servePage } from '../../../cli/map/serve.ts';

/** Status and body for a request with this Host header. */
const get = (url: string, host: string, path = '/', method = 'GET'): Promise<readonly [number, string]> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const asked = request({ hostname, port, path, method, headers: { host } }, response => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.on('end', () => resolve([response.statusCode ?? 0, body]));
    });
    asked.on('error', reject);
    asked.end();
  });

test('servePage() serves one page on the loopback interface, to who names it, until it is told to stop', async t => {
  const controller = new AbortController();
  let served: Promise<never> | undefined;
  const url = await new Promise<string>(listening => {
    served = servePage('<p>page', 0, controller.signal, listening);
  });
  t.regex(url, /^http:\/\/127\.0\.0\.1:\d+\/$/);
  const { host, port } = new URL(url);
  t.deepEqual(await get(url, host), [200, '<p>page']);
  t.deepEqual(await get(url, `localhost:${port}`), [200, '<p>page']);
  t.deepEqual(await get(url, host, '/', 'HEAD'), [200, '']);
  // A site whose name leads here is not told anything.
  t.deepEqual(await get(url, `example.test:${port}`), [421, '']);
  t.deepEqual(await get(url, host, '/etc/passwd'), [404, '']);
  t.deepEqual(await get(url, host, '/', 'POST'), [404, '']);

  const taken = servePage('', Number(port), controller.signal, () => {});
  await t.throwsAsync(taken, {
    code: 'SERVE_FAILED',
    message: /^port \d+ of 127\.0\.0\.1 cannot be served: /,
  });
  const reason = new Error('enough');
  controller.abort(reason);
  await t.throwsAsync(async () => served, { is: reason });
  await t.throwsAsync(get(url, host));
});
