/** From `docker kill` behind Berth's back to the event in a client, against Docker's own event stream. */
import { io } from 'socket.io-client';
import { figure } from './lib/report.mjs';
import { quantile } from './lib/statistics.mjs';

const KILLS = 30;

/**
 * @param {{ berth: import('./lib/server.mjs').Berth, docker: import('dockerode'), image: string,
 *   progress: (line: string) => void }} context
 */
export async function outsideEvents({ berth, docker, image, progress }) {
  const token = await berth.token();
  const { db_id: id, id: engineId } = await berth.running(token, image);
  const socket = io(berth.url, { auth: { token }, transports: ['websocket'] });
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('connect_error', reject));
  const stream = await docker.getEvents({ filters: { container: [engineId], event: ['die'] } });
  const late = [];
  for (let kill = 1; kill <= KILLS; kill += 1) {
    progress(`kill ${kill}/${KILLS}`);
    const toldByDocker = new Promise((resolve) => stream.once('data', () => resolve(performance.now())));
    const toldByBerth = new Promise((resolve) => socket.once('container_stopped', () => resolve(performance.now())));
    await docker.getContainer(engineId).kill({ signal: 'SIGKILL' });
    late.push((await toldByBerth) - (await toldByDocker));
    await berth.call(token, 'POST', `/api/containers/${id}/start`);
  }
  socket.close();
  stream.destroy();
  await berth.call(token, 'DELETE', `/api/containers/${id}`);
  const at = (share, bar) => ({ measured: quantile(late, share), limit: bar, unit: 'ms', bar: 1 });
  return [
    figure({ name: 'docker kill → client, median, over Docker’s own event', ...at(0.5, 15) }),
    figure({ name: 'docker kill → client, p99, over Docker’s own event', ...at(0.99, 60) }),
  ];
}
