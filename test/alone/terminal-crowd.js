/**
 * Many clients of terminals over plain WebSockets, in a process of their own so that they take none of the server's
 * time. `CROWD`: { url, perContainer, users: [{ token, containers }] }. Says `attached` when all are, floods as many
 * as it is told to, and answers `count` with the bytes that have come.
 */
const { WebSocket } = require('ws');

const { url, perContainer, users } = JSON.parse(process.env.CROWD);
const sockets = [];
let bytes = 0;
let attached = 0;
let closed = 0;

const wanted = users.flatMap(({ token, containers }) =>
  containers.flatMap((container) => Array.from({ length: perContainer }, () => ({ token, container }))),
);
for (const { token, container } of wanted) {
  const headers = { authorization: `Bearer ${token}` };
  const socket = new WebSocket(`${url.replace(/^http/, 'ws')}/ws/terminal/${container}`, { headers });
  sockets.push(socket);
  socket.on('error', (error) => process.send({ failed: error.message }));
  socket.on('close', () => (closed += 1));
  let isFirst = true;
  socket.on('message', (data) => {
    bytes += data.length;
    if (!isFirst) return;
    isFirst = false;
    attached += 1;
    if (attached === wanted.length) process.send({ attached });
  });
}

process.on('message', ({ flood, count }) => {
  if (flood !== undefined) for (const socket of sockets.slice(0, flood)) socket.send('flood\n');
  if (count) process.send({ bytes, closed });
});
