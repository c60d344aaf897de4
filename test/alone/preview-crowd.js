/**
 * Many connections to the listener of previews, in a process of its own, as one process may not have both ends of all:
 * `CROWD`, as JSON, has the port, the name of a preview and the number. Says when all are open, and when all are over.
 */
const { connect } = require('node:net');

/** Opened at a time, so that the kernel's queue takes them all. */
const AT_ONCE = 200;

const { port, host, count } = JSON.parse(process.env.CROWD);
let open = 0;

/** Every other one sends half a request, the others nothing. */
function join(index) {
  const localAddress = `127.0.${1 + (index % 100)}.1`;
  const socket = connect({ host: '127.0.0.1', port, localAddress });
  socket.on('error', () => undefined);
  // What the server says at the end is read, or the connection would not close.
  socket.resume();
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.once('connect', () => {
      open += 1;
      socket.once('close', () => {
        open -= 1;
        if (open === 0) process.send({ open });
      });
      if (index % 2 === 0) socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\n`);
      resolve();
    });
  });
}

async function joinAll() {
  for (let at = 0; at < count; at += AT_ONCE) {
    await Promise.all(Array.from({ length: AT_ONCE }, (_each, index) => join(at + index)));
  }
  process.send({ open });
}

process.on('disconnect', () => process.exit(0));
void joinAll();
