import { TokenService } from '../../src/auth';
import { eventually } from '../support/eventually';
import { FakeEngine } from '../support/fakes/fake-engine';
import { Berth, type NewUser } from '../support/servers/berth';

/** Between the packets of a polling request. */
const SEPARATOR = '\x1e';
/** A request of 64 KB has room for so many of the shortest packets. */
const FLOOD = 21_000;
/** Namespaces that a connection may be joining at a time, and refusals of one that has joined one. */
const MOST = 8;

let berth: Berth;
let user: NewUser;

beforeAll(async () => {
  berth = await Berth.start({ engine: new FakeEngine() });
  user = await berth.user();
});

afterAll(() => berth.stop());
afterEach(() => jest.restoreAllMocks());

/** A client that polls, and sends packets as it likes. */
class Polling {
  private constructor(private readonly url: string) {}

  static async open(): Promise<Polling> {
    const url = `${berth.url}/socket.io/?EIO=4&transport=polling`;
    const opened = await (await fetch(url)).text();
    const { sid } = JSON.parse(opened.slice(1)) as { readonly sid: string };
    return new Polling(`${url}&sid=${sid}`);
  }

  /** Sends packets in one request. @returns the status of its answer */
  async send(...packets: readonly string[]): Promise<number> {
    const { status } = await fetch(this.url, { method: 'POST', body: packets.join(SEPARATOR) });
    return status;
  }

  /** The packets that wait for the client. */
  async poll(): Promise<string[]> {
    return (await (await fetch(this.url)).text()).split(SEPARATOR);
  }

  /** Joins the namespace of events. */
  async join(): Promise<this> {
    await this.send(`40${JSON.stringify({ token: user.token })}`);
    expect(await this.poll()).toEqual([expect.stringMatching(/^40\{"sid"/)]);
    return this;
  }

  /** The server has closed the connection: once the client was told so, it knows the session no more. */
  async closed(): Promise<void> {
    await eventually(async () => expect((await fetch(this.url)).status).toBe(400));
  }
}

const many = (packet: string, count = FLOOD): string[] => Array.from({ length: count }, () => packet);

describe('the packets of a Socket.IO connection', () => {
  it('closes a connection that sends thousands of CONNECT packets, and verifies eight tokens at most', async () => {
    const verify = jest.spyOn(berth.app.get(TokenService), 'verify');
    const client = await Polling.open();
    await client.send(...many('40{"token":"x"}', 3_500));
    await client.closed();
    expect(verify.mock.calls.length).toBeLessThanOrEqual(MOST);
  });

  it.each(['40', '40/nothing,', '40{"token":"x"}', '40/terminal,'])(
    'closes a connection at its first refusal, and tells its client why: %s',
    async (packet) => {
      const client = await Polling.open();
      await client.send(packet);
      await client.send(`40${JSON.stringify({ token: user.token })}`);
      const packets = await client.poll();
      // A WebSocket would be closed; a polling client is told so.
      while (!packets.includes('1')) packets.push(...(await client.poll()));
      expect(packets[0]).toMatch(/^44/);
      expect(packets.filter((each) => each.startsWith('40'))).toEqual([]);
      await client.closed();
    },
  );

  it('answers one of thousands of CONNECT packets to unknown namespaces', async () => {
    const client = await Polling.open();
    await client.send(...many('40/x,', 10_000));
    expect((await client.poll()).filter((packet) => packet.startsWith('44')).length).toBeLessThanOrEqual(1);
    await client.closed();
  });

  it('keeps a connection that has joined a namespace, until it was refused by nine', async () => {
    const client = await (await Polling.open()).join();
    for (let refusals = 0; refusals < MOST; refusals += 1) {
      expect(await client.send('40/nothing,')).toBe(200);
      expect(await client.poll()).toEqual([expect.stringMatching(/^44\/nothing,/)]);
    }
    await client.send('40/nothing,');
    await client.poll();
    await client.closed();
  });

  it('takes 500 packets of a request, and closes a connection that sends more', async () => {
    const client = await (await Polling.open()).join();
    expect(await client.send(...many('42["nothing"]', 500))).toBe(200);
    expect(await client.send(...many('42["nothing"]', 500))).toBe(200);
    await client.send(...many('3'));
    await client.closed();
  });

  it('closes a connection that goes on sending while thousands of answers wait for it', async () => {
    const { body: agent } = await user.api.call('POST', '/api/agents', { name: 'silent' });
    const client = await Polling.open();
    await client.send(`40/agents,${JSON.stringify({ token: agent['token'] })}`);
    await eventually(async () => expect((await client.poll()).join()).toContain('welcome'));
    const beats = Array.from({ length: 400 }, (_, at) => `42/agents,${String(at)}["heartbeat",{}]`);
    const statuses: number[] = [];
    for (let rounds = 0; rounds < 12 && statuses.at(-1) !== 400; rounds += 1)
      statuses.push(await client.send(...beats));
    expect(statuses).toContain(400);
    expect(statuses.length).toBeGreaterThan(5);
  });
});
