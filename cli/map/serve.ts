/**
 * Serves one page, to this machine only: the socket is on the loopback interface, and a request must name it. Otherwise
 * a site whose name leads to 127.0.0.1 could read the page in the user's browser.
 *
 * @module
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { UnexecError } from '../../unexec/errors.ts';

const HOST = '127.0.0.1';

/**
 * Serves until the signal is aborted; the promise rejects with its reason then. `listening` is told the address.
 *
 * @throws UnexecError `SERVE_FAILED`
 */
export async function servePage(
  html: string,
  port: number,
  signal: AbortSignal,
  listening: (url: string) => void,
): Promise<never> {
  const body = Buffer.from(html);
  const server = createServer((request, response) => {
    response.setHeader('X-Content-Type-Options', 'nosniff');
    if (!isOurs(request.headers.host)) {
      response.writeHead(421).end();
    } else if ((request.method !== 'GET' && request.method !== 'HEAD') || request.url !== '/') {
      response.writeHead(404).end();
    } else {
      response.writeHead(200, {
        'Content-Type': 'text/html; charset=utf-8',
        'Content-Length': body.length,
        'Cache-Control': 'no-store',
      });
      response.end(request.method === 'GET' ? body : undefined);
    }
  });
  try {
    return await new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason));
      server.on('error', cause => {
        const message = `port ${port} of ${HOST} cannot be served: ${cause.message}`;
        reject(new UnexecError('SERVE_FAILED', message, { cause, hint: 'choose another one with --port' }));
      });
      server.listen(port, HOST, () => listening(`http://${HOST}:${portOf(server.address())}/`));
    });
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

const portOf = (address: AddressInfo | string | null): number =>
  typeof address === 'object' && address !== null ? address.port : 0;

const isOurs = (host: string | undefined): boolean =>
  /^(?:127\.0\.0\.1|localhost)(?::\d+)?$/.test(host ?? '');
