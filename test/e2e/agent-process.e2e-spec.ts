import { agentsOf, NewAgent, newAgent } from '../support/clients/agent-client';
import { Berth, TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { FakeEngine } from '../support/fakes/fake-engine';
import { Program } from '../support/servers/program';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';

jest.setTimeout(120_000);

/** Needs the build. Started directly, without the npm script, which installs and builds. */
const runAgent = (environment: Readonly<Record<string, string>>): Program =>
  new Program(process.execPath, ['dist/src/cli/agent.js'], {
    env: { ...process.env, LOG_LEVEL: 'info', ...environment },
  });
/** A message as it stands in a line of the log. */
const said = (message: string): string => `"msg":"${message}"`;

describe('the agent as a process', () => {
  let database: TestDatabase;
  let berth: Berth;
  let user: TestUser;
  let agent: NewAgent;
  let programs: Program[] = [];

  const serve = (port = '0') => Berth.start({ database, engine: new FakeEngine(), environment: { PORT: port } });
  const expectStatus = (status: string) =>
    eventually(async () => expect(await agentsOf(berth.as(user))).toEqual([expect.objectContaining({ status })]));

  beforeAll(async () => {
    database = await openTestDatabase();
    berth = await serve();
  });

  beforeEach(async () => {
    user = await berth.user();
    agent = await newAgent(user);
  });

  afterEach(async () => {
    await Promise.all(programs.map((program) => program.end('SIGKILL')));
    programs = [];
  });

  afterAll(async () => {
    await berth.stop();
    await database.drop();
  });

  function run(): Program {
    const program = runAgent({ BERTH_URL: berth.url, BERTH_AGENT_TOKEN: agent.token });
    programs.push(program);
    return program;
  }

  it('must report its machine, survive a restart of the server and a stop, and say goodbye when it is asked to end', async () => {
    const program = run();
    await program.untilSaid(said('connected'));
    await eventually(async () =>
      expect(await agentsOf(user)).toEqual([
        expect.objectContaining({
          id: agent.id,
          status: 'online',
          os: process.platform,
          arch: process.arch,
          load: [expect.any(Number), expect.any(Number), expect.any(Number)],
          uptime_seconds: expect.any(Number),
          memory_total_mb: expect.any(Number),
          memory_used_mb: expect.any(Number),
        }),
      ]),
    );
    const { port } = new URL(berth.url);
    await berth.stop();
    await program.untilSaid(said('the server is unreachable'));
    berth = await serve(port);
    await program.untilSaid(said('connected'), { times: 2 });
    await expectStatus('online');
    expect((await berth.as(user).api.stop(agent.id)).body).toMatchObject({ message: 'agent disconnected' });
    await program.untilSaid(said('connected'), { times: 3 });
    await expectStatus('online');
    expect(await program.end()).toBe(0);
    await expectStatus('offline');
    expect(program.output).not.toContain(agent.token.slice(6));
  });

  it('must end, and say why, when it is deleted, and when its token opens nothing', async () => {
    const program = run();
    await program.untilSaid(said('connected'));
    await user.api.delete(agent.id);
    expect(await program.ended).toBe(77);
    expect(program.output).toContain('unauthorized: the agent was deleted or its token revoked');
    expect(await run().ended).toBe(77);
    agent = { ...agent, token: user.token };
    expect(await run().ended).toBe(77);
  });

  it('must make way for another program with the same token, and not fight with it', async () => {
    const first = run();
    await first.untilSaid(said('connected'));
    const second = run();
    expect(await first.ended).toBe(78);
    await second.untilSaid(said('connected'));
    expect(second.output.split(said('connected'))).toHaveLength(2);
    await expectStatus('online');
    expect(await second.end('SIGINT')).toBe(0);
  });

  it('must say what is wrong with how it is called', async () => {
    const program = runAgent({ BERTH_URL: 'ftp://x', BERTH_AGENT_TOKEN: '' });
    expect(await program.ended).toBe(2);
    expect(program.output).toMatch(/^--url must be http.*\n--token or BERTH_AGENT_TOKEN is missing\n\nUsage: /);
  });
});
