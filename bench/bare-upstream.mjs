/**
 * What listens in a container, for a Docker that only remembers: a page of 1 KiB, and WebSockets that stay silent. Run
 * as a process of its own: ADDRESS, that of every container of `lib/memory-docker.mjs`.
 */
import { createServer } from 'node:http';

const page = Buffer.alloc(1024, 'x');
const server = createServer((request, response) => {
  request.resume();
  response.end(page);
});
server.on('upgrade', (_request, socket) => {
  socket.on('error', () => socket.destroy());
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
});
server.listen({ port: 0, host: process.env.ADDRESS, backlog: 1024 }, () => {
  process.send?.({ url: `http://${process.env.ADDRESS}:${server.address().port}` });
});
process.on('disconnect', () => process.exit(0));
