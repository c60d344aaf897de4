// Prints the containers, and each change of them, until Ctrl-C. Breaks of the connection do not matter to it.
//   BERTH_URL=http://127.0.0.1:8080 BERTH_TOKEN=berth_… node examples/watch.mjs
import { Berth } from '@berth/client';

const berth = new Berth({ url: process.env.BERTH_URL ?? 'http://127.0.0.1:8080', token: process.env.BERTH_TOKEN });
const watch = berth.watch();
await watch.ready;

const describe = ({ name, status, progress }) => `${name} ${status}${progress ? ` ${progress.percent}%` : ''}`;
console.log('containers:', [...watch.getSnapshot().containers.values()].map(describe).join(', ') || 'none');
watch.onEvent(({ seq, type, data }) => {
  const container = watch.getSnapshot().containers.get(data.db_id);
  console.log(seq, type, container ? describe(container) : (data.name ?? ''));
});

process.once('SIGINT', () => watch.close());
