/**
 * The limit of a preview: a proxy library that does nothing but pass requests on, each over a connection of its own,
 * as previews do. Run as a process of its own: UPSTREAM (`http://ADDRESS:PORT`).
 */
import { createServer } from 'node:http';
import { createProxyServer } from 'http-proxy-3';

const proxy = createProxyServer({ target: process.env.UPSTREAM });
const server = createServer((request, response) => proxy.web(request, response));
server.listen(0, '127.0.0.1', () => process.send?.({ url: `http://127.0.0.1:${server.address().port}` }));
process.on('disconnect', () => process.exit(0));
