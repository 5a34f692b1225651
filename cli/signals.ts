/**
 * SIGINT, SIGTERM and SIGHUP abort the freeze: the program is killed, the temporary file goes, and the
 * exit status says which signal it was. A second one does not wait for anything.
 *
 * @module
 */
import { setGracefulCleanup } from 'tmp-promise';
import { UnexecError } from '../unexec/index.ts';
import { exitCodeOfSignal, HANDLED_SIGNALS, type HandledSignal } from './exit-codes.ts';

export interface Interruption {
  /** Aborted by the first signal. */
  readonly signal: AbortSignal;
  /** The signal that came, after what is pending now has been handled. */
  came(): Promise<HandledSignal | undefined>;
  /** Signals have their default effect again. */
  stop(): void;
}

export function handleSignals(): Interruption {
  const controller = new AbortController();
  let first: HandledSignal | undefined;
  // A file that is half written goes even when the process is ended by the second signal.
  setGracefulCleanup();
  const handlers = signalNames().map(name => {
    const handler = (): void => {
      if (first !== undefined) process.exit(exitCodeOfSignal(first));
      first = name;
      controller.abort(new UnexecError('INTERRUPTED', `interrupted by ${name}`));
    };
    process.on(name, handler);
    return { name, handler };
  });
  // Without a handler a file that grows beyond `ulimit -f` kills the process; with one the write fails.
  const tooLarge = (): void => {};
  process.on('SIGXFSZ', tooLarge);
  return {
    signal: controller.signal,
    async came() {
      // A terminal's ^C also ends the program; we may see that end before our own signal.
      await new Promise(resolve => setTimeout(resolve, 10));
      return first;
    },
    stop() {
      for (const { name, handler } of handlers) process.off(name, handler);
      process.off('SIGXFSZ', tooLarge);
    },
  };
}

const signalNames = (): HandledSignal[] => Object.keys(HANDLED_SIGNALS).filter(isHandled);
const isHandled = (name: string): name is HandledSignal => Object.hasOwn(HANDLED_SIGNALS, name);
