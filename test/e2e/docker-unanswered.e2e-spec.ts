import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DockerEngine } from '../../src/docker/docker-engine';
import { eventually } from '../support/eventually';
import { supervisorFile } from '../support/docker/supervisor-file';

/** A socket that takes every connection and does with it what a test says. */
class BrokenDaemon {
  readonly path = join(tmpdir(), `berth-broken-${randomUUID()}.sock`);
  readonly sockets = new Set<Socket>();
  answer: (socket: Socket, request: string) => void = () => undefined;
  private readonly server: Server = createServer((socket) => {
    this.sockets.add(socket);
    socket.on('close', () => this.sockets.delete(socket));
    socket.on('error', () => undefined);
    socket.on('data', (request) => this.answer(socket, request.toString()));
  });

  listen(): Promise<void> {
    return new Promise((resolve) => this.server.listen(this.path, resolve));
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
    await rm(this.path, { force: true });
  }
}

const http = (body: string, headers = ''): string =>
  `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n${headers}Content-Length: ${String(Buffer.byteLength(body))}\r\n\r\n${body}`;

function engineThatWaits(seconds: number, host: string): DockerEngine {
  return new DockerEngine({
    DOCKER_HOST: host,
    DOCKER_TIMEOUT_SECONDS: seconds,
    SANDBOX_RUNTIME: 'runsc',
    DISK_QUOTA: 'off',
    SANDBOX_FIREWALL: 'off',
    SANDBOX_BLOCKED_NETWORKS: [],
    SANDBOX_ALLOWED_SERVICES: [],
    SANDBOX_NETWORK_SIZE: 900,
    SANDBOX_SUBNETS: [],
    SANDBOX_DNS: [],
    SUPERVISOR_CHANNELS: 256,
    SUPERVISOR_FILE: supervisorFile(),
  });
}

async function expectUnavailable(call: Promise<unknown>): Promise<void> {
  await expect(call).rejects.toMatchObject({ name: 'EngineError', code: 'docker_unavailable' });
}

describe('a Docker that does not answer', () => {
  const daemon = new BrokenDaemon();
  let engine: DockerEngine;
  /** What this one says at once, it says long before its time is over. */
  let patient: DockerEngine;

  beforeAll(() => daemon.listen());
  afterAll(() => daemon.close());
  beforeEach(() => {
    engine = engineThatWaits(1, `unix://${daemon.path}`);
    patient = engineThatWaits(600, `unix://${daemon.path}`);
  });
  afterEach(() => {
    engine.onApplicationShutdown();
    patient.onApplicationShutdown();
  });

  it.each([
    ['ping', () => engine.host.ping()],
    ['prepare', () => engine.host.prepare('test-broken')],
    ['listContainers', () => engine.containers.list({ instance: 'test-broken' })],
    ['ensureImage', () => engine.images.ensure('ubuntu:24.04')],
    ['removeContainer', () => engine.containers.remove('f'.repeat(64))],
  ])('must end %s when its time is over', async (_name, call) => {
    daemon.answer = () => undefined;
    await expectUnavailable(call());
  });

  it('must give its sockets back after calls that ran out of time', async () => {
    daemon.answer = () => undefined;
    await Promise.all(Array.from({ length: 80 }, () => expectUnavailable(engine.containers.remove('f'.repeat(64)))));
    daemon.answer = (socket) => socket.write(http('OK'));
    await eventually(() => engine.host.ping());
  });

  it('must end a call whose connection is cut in the middle of the answer, at once', async () => {
    daemon.answer = (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n[{"Id":');
    await expectUnavailable(patient.containers.list({ instance: 'test-broken' }));
  });

  it.each([
    ['nothing but a cut connection', (socket: Socket) => socket.destroy()],
    ['what is not HTTP', (socket: Socket) => socket.end('SSH-2.0-OpenSSH\r\n')],
    ['what is not JSON', (socket: Socket) => socket.end(http('<html>'))],
    ['JSON of another shape', (socket: Socket) => socket.end(http('{"unexpected":true}'))],
  ])('must say that Docker is unavailable when it answers %s', async (_name, answer) => {
    daemon.answer = answer;
    await expectUnavailable(patient.containers.list({ instance: 'test-broken' }));
  });

  it('must say that Docker is unavailable when nobody listens', async () => {
    await expectUnavailable(engineThatWaits(600, 'unix:///nonexistent/docker.sock').host.ping());
  });

  it('must never hang a pull whose stream falls silent', async () => {
    daemon.answer = (socket, request) => {
      const isPull = request.startsWith('POST /images/create?fromImage=ubuntu&tag=24.04 ');
      socket.write(`HTTP/1.1 ${isPull ? '200 OK' : '404 Not Found'}\r\n`);
      socket.write(isPull ? 'Transfer-Encoding: chunked\r\n\r\n' : 'Content-Length: 2\r\n\r\n{}');
    };
    await expectUnavailable(engine.images.ensure('ubuntu:24.04'));
  });
});
