/**
 * The limit of a preview: a proxy that does nothing but pass requests on, each over a connection of its own, as
 * http-proxy does without an agent. Run as a process of its own: UPSTREAM (`http://ADDRESS:PORT`).
 */
import { createServer, request } from 'node:http';

const { hostname, port } = new URL(process.env.UPSTREAM);
const server = createServer((incoming, response) => {
  const { method, url, headers } = incoming;
  const outgoing = request({ hostname, port, method, path: url, headers: { ...headers, connection: 'close' }, agent: false });
  outgoing.on('response', (answer) => {
    const { connection: _connection, ...others } = answer.headers;
    response.writeHead(answer.statusCode, others);
    answer.pipe(response);
  });
  incoming.pipe(outgoing);
});
server.listen(0, '127.0.0.1', () => process.send?.({ url: `http://127.0.0.1:${server.address().port}` }));
process.on('disconnect', () => process.exit(0));
