/**
 * Lets another process have things done here: `POST /WHAT/HOW` on a socket, answered once it is done. What tests
 * need of the services that they were brought.
 */
import { createServer } from 'node:http';
import { join } from 'node:path';
import { atEnd, isEnding } from './shutdown.mjs';
import { temporaryFolder } from './test-remains.mjs';

/**
 * @param {string} name of the socket
 * @param {Record<string, () => Promise<void>>} actions by path
 * @returns {Promise<string>} the socket's path
 */
export async function offerActions(name, actions) {
  const running = new Set();
  const server = createServer((request, response) => {
    const action = isEnding() ? undefined : actions[request.url];
    const answer = (status, message) => response.writeHead(status).end(message);
    if (!action) return void answer(404, `no action ${request.url}`);
    const done = action().then(
      () => answer(200, 'done'),
      (error) => answer(500, [error.message, ...(error.advice ?? [])].join('\n')),
    );
    running.add(done);
    void done.finally(() => running.delete(done));
  });
  const socket = join(temporaryFolder(), `${name}.sock`);
  await new Promise((resolve) => server.listen(socket, resolve));
  // What is being started again must be there to be stopped.
  atEnd(`ending the actions of ${name}`, () => Promise.all(running));
  atEnd(`closing the control of ${name}`, () => server.close());
  return socket;
}
