import { EventStreamClient } from '../support/clients/event-stream-client';
import { range } from '../support/servers/events-process';
import { eventually } from '../support/eventually';
import { SocketServer } from '../support/servers/socket-server';
import { openTestDatabase } from '../support/databases/test-database';

it('streams of one user at several servers must send the same, and one must continue another', async () => {
  const database = await openTestDatabase();
  const servers = [await SocketServer.start(database), await SocketServer.start(database)] as const;
  const [here, there] = servers;
  const { id, token } = await here.user();
  const open = (url: string, lastEventId: string) => EventStreamClient.open({ url, token, lastEventId });
  const streams = [await open(here.url, '0'), await open(there.url, '0')] as const;
  await Promise.all(range(1, 40).map((n) => (n % 2 ? here : there).commit(id, String(n))));
  for (const { told } of streams) await eventually(() => expect(told).toHaveLength(40));
  expect(streams[0].seqs).toEqual(range(1, 40));
  expect(streams[0].told).toEqual(streams[1].told);
  streams[0].close();
  await here.commit(id, 'missed');
  const back = await open(there.url, streams[0].lastEventId);
  await here.commit(id, 'live');
  await eventually(() => expect(back.seqs).toEqual([41, 42]));
  await Promise.all(servers.map((server) => server.stop()));
  await database.drop();
});
