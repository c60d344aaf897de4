import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigError } from '../../config';
import type { ClientCertificate } from '../connection/client';
import { explain, NodeDirectory } from './node-directory';

interface Answer {
  readonly status: number;
  readonly body: object;
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

describe('a manager of the Swarm that cannot be used', () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-directory-'));
  const servers: Server[] = [];
  let ours: ClientCertificate;
  let theirs: ClientCertificate;

  beforeAll(() => {
    [ours, theirs] = [authority('ours'), authority('theirs')];
  });

  afterEach(() => {
    for (const server of servers.splice(0)) server.close();
  });

  afterAll(() => rmSync(folder, { recursive: true }));

  /** An authority, and what it has signed, which is good at both ends of a connection to 127.0.0.1. */
  function authority(name: string): ClientCertificate {
    const openssl = (...args: string[]): unknown => execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' });
    const file = (of: string): string => `${name}-${of}.pem`;
    const root = ['-keyout', file('ca-key'), '-out', file('ca'), '-subj', `/CN=${name}`];
    openssl('req', '-x509', ...NEW_KEY, ...root);
    openssl('req', ...NEW_KEY, '-keyout', file('key'), '-out', file('request'), '-subj', '/CN=leaf');
    writeFileSync(join(folder, file('names')), 'subjectAltName=IP:127.0.0.1\n');
    const signed = ['-CA', file('ca'), '-CAkey', file('ca-key'), '-CAcreateserial', '-extfile', file('names')];
    openssl('x509', '-req', '-in', file('request'), ...signed, '-out', file('cert'));
    const read = (of: string): Buffer => readFileSync(join(folder, file(of)));
    return { ca: read('ca'), cert: read('cert'), key: read('key') };
  }

  /** @returns where a Docker answers so */
  async function docker(
    tls: ClientCertificate,
    answer: Answer | ((request: IncomingMessage) => Answer),
  ): Promise<string> {
    const server = createServer({ ...tls, requestCert: true, rejectUnauthorized: true }, (request, response) => {
      const { status, body } = typeof answer === 'function' ? answer(request) : answer;
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `https://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  }

  /** What a start says. */
  async function faultOf(host: string, tls: ClientCertificate): Promise<string> {
    const directory = new NodeDirectory([host], tls);
    try {
      const error: unknown = await directory.refresh().catch((fault: unknown) => fault);
      expect(error).toBeInstanceOf(ConfigError);
      expect((error as ConfigError).message).toContain(
        `CLUSTER_MANAGERS: no manager of a Swarm can be used:\n  ${host}: `,
      );
      return (error as ConfigError).message.split(`${host}: `)[1] ?? '';
    } finally {
      directory.close();
    }
  }

  const ANY = { status: 200, body: {} };

  it('must be told: nothing listens there', async () => {
    const host = await docker(ours, ANY);
    await new Promise((resolve) => servers.pop()?.close(resolve));
    expect(await faultOf(host, ours)).toBe('nothing listens there');
  });

  it('must be told: its certificate is of another authority', async () => {
    const host = await docker({ ...theirs, ca: ours.ca }, ANY);
    expect(await faultOf(host, ours)).toBe(
      'its certificate is not one of the CA in CLUSTER_CERT_PATH, or for another address',
    );
  });

  it('must be told: its certificate is for another address', async () => {
    const host = (await docker(ours, ANY)).replace('127.0.0.1', 'localhost');
    expect(await faultOf(host, ours)).toBe(
      'its certificate is not one of the CA in CLUSTER_CERT_PATH, or for another address',
    );
  });

  // As Docker says it; a server in Node.js only hangs up.
  it.each([
    'write EPROTO C0:error:0A000418:SSL routines:ssl3_read_bytes:tlsv1 alert unknown ca:SSL alert number 48',
    'C0:error:0A00045C:SSL routines:ssl3_read_bytes:tlsv13 alert certificate required:SSL alert number 116',
    'C0:error:0A000412:SSL routines:ssl3_read_bytes:sslv3 alert bad certificate:SSL alert number 42',
  ])('must be told: it takes no client of this authority (%s)', (message) => {
    expect(explain(new Error(message))).toBe('it does not accept the client certificate in CLUSTER_CERT_PATH');
  });

  it.each([
    ['This node is not a swarm manager. Use "docker swarm init"', 'it is no manager of a Swarm'],
    ['rpc error: The swarm does not have a leader.', 'it has lost the other managers'],
  ])('must be told: %s', async (message, told) => {
    const host = await docker(ours, { status: 503, body: { message } });
    expect(await faultOf(host, ours)).toBe(told);
  });

  it('must be asked to write what it says to be so already, and again what another was faster with', async () => {
    const asked: string[] = [];
    let version = 7;
    const node = { ID: 'n', Description: { Hostname: 'node-1' }, Status: { State: 'ready', Addr: '192.0.2.1' } };
    const Spec = { Role: 'worker', Labels: {}, Availability: 'active' };
    const host = await docker(ours, ({ method, url }) => {
      asked.push(`${method ?? ''} ${url ?? ''}`);
      if (method === 'GET') return { status: 200, body: { ...node, Version: { Index: version }, Spec } };
      version += 1;
      return version === 8 ? { status: 500, body: { message: 'rpc error: update out of sequence' } } : ANY;
    });
    const directory = new NodeDirectory([host], ours);
    // One that has just become the leader may not know yet of what was decided before.
    await directory.setAvailability('n', 'active');
    directory.close();
    expect(asked).toEqual([
      'GET /nodes/n',
      'POST /nodes/n/update?version=7',
      'GET /nodes/n',
      'POST /nodes/n/update?version=8',
    ]);
  });
});
