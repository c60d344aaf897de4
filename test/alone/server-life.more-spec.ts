import { rm } from 'node:fs/promises';
import { openTestDatabase } from '../support/databases/test-database';
import { BerthProcess } from '../support/servers/berth-process';
import { TerminalClient } from '../support/clients/terminal-client';

jest.setTimeout(120_000);

it(`the built server must run a container from its creation to its deletion on Node.js ${process.version}`, async () => {
  const database = await openTestDatabase();
  const berth = new BerthProcess({
    DATABASE_URL: database.url,
    ENGINE: 'simulated',
    SIMULATION_SPEED: '1000',
    INSTANCE_ID: 'server-life',
  });
  try {
    await berth.start();
    const api = await berth.user();
    const { db_id: id } = await api.running({ image: 'sandbox', custom_image: null });
    const command = await api.call('POST', `/api/containers/${id}/exec`, { command: ['sh', '-c', 'echo 1 >a; cat a'] });
    expect(command.body).toMatchObject({ exit_code: 0, stdout: '1\n' });
    const terminal = await new TerminalClient(berth.url, { token: api.token, container: id }).opened();
    terminal.type('echo $((6 * 7)); exit\r');
    await terminal.says('42');
    terminal.leave();
    const file = await fetch(`${berth.url}/api/containers/${id}/files?path=/home/user/a`, {
      headers: { authorization: `Bearer ${api.token}` },
    });
    expect(await file.text()).toBe('1\n');
    expect((await api.delete(id)).status).toBe(200);
    expect(await berth.stop()).toBe(0);
  } finally {
    await berth.kill();
    await rm(`${database.url.replace('sqlite:', '')}.simulated`, { recursive: true, force: true });
    await database.drop();
  }
});
