/**
 * A Docker that only remembers, on a socket of its own: for numbers of containers and operations that would take the
 * real one hours. It runs as a process of its own, so that its work is not counted as the server's:
 * `node memory-docker.mjs SOCKET`. Or a Swarm of them, each on an address of this machine, over mutual TLS:
 * `node memory-docker.mjs --nodes CERTIFICATES ADDRESS …`.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

const NEVER = '0001-01-01T00:00:00Z';
const runtimes = { runsc: { path: 'runsc', runtimeArgs: ['--overlay2=none'] } };

/** Of the one image that everything is of. */
const IMAGE_ID = `sha256:${'0'.repeat(64)}`;

const newId = () => randomBytes(32).toString('hex');

const run = (container) => Object.assign(container, { state: 'running', startedAt: new Date().toISOString() });

/** Every container's: an address of this machine, so that what listens there is what listens in all containers. */
const ADDRESS = { IPAddress: '127.0.0.2', Gateway: '127.0.0.1' };

const inspected = ({ id, name, body, state, startedAt }) => ({
  Id: id,
  Name: `/${name}`,
  Image: IMAGE_ID,
  State: { Status: state, Running: state === 'running', StartedAt: startedAt, ExitCode: 0, OOMKilled: false },
  HostConfig: { Runtime: body.HostConfig?.Runtime ?? 'runsc' },
  NetworkSettings: { Networks: { [body.HostConfig?.NetworkMode ?? 'bridge']: ADDRESS } },
});

/** As long as an entry of Docker's own. */
const listed = ({ id, name, body, created, state }) => ({
  Id: id,
  Names: [`/${name}`],
  Image: body.Image,
  ImageID: IMAGE_ID,
  Command: 'sleep infinity',
  Created: Math.floor(created / 1000),
  Ports: [],
  Labels: body.Labels,
  State: state,
  Status: 'Up 2 hours',
  HostConfig: { NetworkMode: body.HostConfig.NetworkMode },
  NetworkSettings: {
    Networks: {
      [body.HostConfig.NetworkMode]: { NetworkID: '0'.repeat(64), EndpointID: '0'.repeat(64), MacAddress: '' },
    },
  },
  Mounts: [
    { Type: 'volume', Name: name, Source: `/volumes/${name}/_data`, Destination: '/home/user', Driver: 'local' },
  ],
});

/** As long as Docker's own, too. */
const listedVolume = ({ Name, Labels }) => ({
  CreatedAt: '2026-01-01T00:00:00Z',
  Driver: 'local',
  Labels,
  Mountpoint: `/var/lib/docker/volumes/${Name}/_data`,
  Name,
  Options: null,
  Scope: 'local',
});

/** That of Docker over TLS. */
const PORT = 2376;

/** More than is ever asked for. */
const RESOURCES = { NanoCPUs: 4096e9, MemoryBytes: 2 ** 42 };

/** The nodes of one Swarm. */
class Swarm {
  id = newId().slice(0, 25);
  members = [];

  join(node) {
    const id = newId().slice(0, 25);
    this.members.push({ id, node, hostname: `node${this.members.length + 1}`, availability: 'active', version: 1 });
    return this.members.at(-1);
  }

  find(id) {
    return this.members.find((member) => member.id === id);
  }

  told({ id, node, hostname, availability, version }) {
    return {
      ID: id,
      Version: { Index: version },
      Spec: { Labels: { 'berth.engine': node.host }, Role: 'worker', Availability: availability },
      Description: { Hostname: hostname, Resources: RESOURCES },
      Status: { State: 'ready', Addr: '127.0.0.1' },
    };
  }
}

/** One machine's. */
class Docker {
  containers = new Map();
  volumes = new Map();
  networks = new Map();
  watchers = new Set();
  lists = 0;
  /** What its list was answered with, until something changes: that it is made anew is no work of Docker's. */
  listing = null;
  volumeListing = null;
  host = null;
  member = null;

  /** @param {Swarm | null} swarm */
  constructor(swarm = null) {
    this.swarm = swarm;
    this.member = swarm?.join(this) ?? null;
  }

  info() {
    const swarm = this.member ? { Swarm: { NodeID: this.member.id } } : {};
    const SystemTime = new Date().toISOString();
    return { Runtimes: runtimes, Driver: 'memory', DriverStatus: [], SystemTime, ...swarm };
  }

  tell(container, action, attributes = {}) {
    this.listing = null;
    const nano = Date.now() * 1e6;
    const Actor = { ID: container.id, Attributes: { ...container.body.Labels, ...attributes } };
    const time = Math.floor(nano / 1e9);
    const line = `${JSON.stringify({ Type: 'container', Action: action, Actor, time, timeNano: nano })}\n`;
    for (const watcher of this.watchers) watcher.write(line);
  }

  add(name, body) {
    this.listing = null;
    const container = { id: newId(), name, body, created: Date.now(), state: 'created', startedAt: NEVER };
    this.containers.set(container.id, container);
    return container;
  }

  list() {
    this.lists += 1;
    this.listing ??= JSON.stringify([...this.containers.values()].map(listed));
    return this.listing;
  }

  listVolumes() {
    this.volumeListing ??= JSON.stringify({ Volumes: [...this.volumes.values()].map(listedVolume), Warnings: null });
    return this.volumeListing;
  }

  addVolume(body) {
    this.volumeListing = null;
    this.volumes.set(body.Name, { ...body, Mountpoint: `/volumes/${body.Name}/_data` });
  }

  removeVolume(name) {
    this.volumeListing = null;
    return this.volumes.delete(name);
  }

  answerOf(method, path, given) {
    for (const [verb, pattern, work] of routes) {
      const match = verb === method && pattern.exec(path);
      if (match) return work(this, match, given);
    }
    return this.ofContainer(method, path, given) ?? [501, { message: `${method} ${path} is not made` }];
  }

  ofContainer(method, path, request) {
    const [, id, verb] = /^\/containers\/([^/]+)(?:\/(\w+))?$/.exec(path) ?? [];
    const container = this.containers.get(id);
    const action = actions[method === 'DELETE' ? 'remove' : verb];
    if (!action) return undefined;
    return container ? action(this, container, request) : [404, { message: `No such container: ${id}` }];
  }
}

const routes = [
  ['GET', /^\/_ping$/, () => [200, 'OK']],
  ['GET', /^\/info$/, (docker) => [200, docker.info()]],
  ['GET', /^\/swarm$/, ({ swarm }) => (swarm ? [200, { ID: swarm.id }] : [503, { message: 'not a swarm manager' }])],
  ['GET', /^\/nodes$/, ({ swarm }) => [200, swarm.members.map((member) => swarm.told(member))]],
  ['GET', /^\/nodes\/(\w+)$/, ({ swarm }, [, id]) => [200, swarm.told(swarm.find(id))]],
  [
    'POST',
    /^\/nodes\/(\w+)\/update$/,
    ({ swarm }, [, id], { body }) => {
      const member = swarm.find(id);
      Object.assign(member, { availability: body.Availability, version: member.version + 1 });
      return [200];
    },
  ],
  ['GET', /^\/networks$/, ({ networks }) => [200, [...networks.values()]]],
  [
    'POST',
    /^\/networks\/create$/,
    ({ networks }, _match, { body }) => {
      networks.set(body.Name, { ...body, Id: newId(), Created: new Date().toISOString() });
      return [201, { Id: networks.get(body.Name).Id }];
    },
  ],
  [
    'GET',
    /^\/networks\/([^/]+)$/,
    ({ networks }, [, name]) => {
      const found = [...networks.values()].find(({ Id, Name }) => Id === name || Name === name);
      return found ? [200, found] : [404, { message: 'no such network' }];
    },
  ],
  ['GET', /^\/images\/json$/, () => [200, []]],
  ['POST', /^\/images\/create$/, () => [200, '']],
  ['DELETE', /^\/images\/.+$/, () => [200, []]],
  ['GET', /^\/images\/(.+)\/json$/, () => [200, { Id: IMAGE_ID }]],
  // Every image has a shell; the supervisor's volume is empty.
  [
    'HEAD',
    /^\/containers\/[^/]+\/archive$/,
    (_docker, _match, { query }) => (query.get('path').startsWith('/.berth') ? [404] : [200]),
  ],
  // The supervisor, into its volume.
  ['PUT', /^\/containers\/[^/]+\/archive$/, () => [200]],
  ['GET', /^\/volumes$/, (docker) => [200, docker.listVolumes()]],
  [
    'POST',
    /^\/volumes\/create$/,
    (docker, _match, { body }) => {
      docker.addVolume(body);
      return [201, docker.volumes.get(body.Name)];
    },
  ],
  [
    'GET',
    /^\/volumes\/([^/]+)$/,
    ({ volumes }, [, name]) => (volumes.has(name) ? [200, volumes.get(name)] : [404, {}]),
  ],
  ['DELETE', /^\/volumes\/([^/]+)$/, (docker, [, name]) => [docker.removeVolume(name) ? 204 : 404]],
  ['GET', /^\/containers\/json$/, (docker) => [200, docker.list()]],
  [
    'POST',
    /^\/containers\/create$/,
    (docker, _match, { query, body }) => [201, { Id: docker.add(query.get('name'), body).id }],
  ],
  // Not Docker's: what a benchmark asks for.
  ['GET', /^\/bench\/lists$/, ({ lists }) => [200, { lists }]],
  [
    'POST',
    /^\/bench\/containers$/,
    (docker, _match, { body }) => {
      const [NetworkMode] = docker.networks.keys();
      const made = { Image: 'berth/test', HostConfig: { NetworkMode } };
      // Each with its volume, which has its name.
      for (const { name: Name, Labels } of body) docker.addVolume({ Name, Labels });
      return [201, body.map(({ name, Labels }) => run(docker.add(name, { ...made, Labels })).id)];
    },
  ],
];

const actions = {
  json: (_docker, container) => [200, inspected(container)],
  start: (docker, container) => {
    if (container.state === 'running') return [304];
    docker.tell(run(container), 'start');
    return [204];
  },
  stop: (docker, container) => {
    if (container.state !== 'running') return [304];
    container.state = 'exited';
    docker.tell(container, 'die', { exitCode: '0' });
    return [204];
  },
  rename: (docker, container, { query }) => {
    docker.listing = null;
    container.name = query.get('name');
    return [204];
  },
  remove: (docker, container) => {
    docker.containers.delete(container.id);
    docker.tell(container, 'destroy');
    return [204];
  },
};

async function answer(docker, request) {
  const { pathname, searchParams: query } = new URL(request.url, 'http://docker');
  const path = decodeURIComponent(pathname.replace(/^\/v[\d.]+/, ''));
  const sent = await text(request);
  const isJson = request.headers['content-type'] === 'application/json';
  return docker.answerOf(request.method, path, { query, body: isJson && sent !== '' ? JSON.parse(sent) : {} });
}

const serving = (docker) => (request, response) => {
  if (/\/events\?/.test(request.url)) {
    response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
    docker.watchers.add(response);
    response.on('close', () => docker.watchers.delete(response));
    return;
  }
  void answer(docker, request).then(([status, body]) => {
    const text = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body);
    response.writeHead(status, { 'content-type': 'application/json' }).end(text);
  });
};

/** @returns {Promise<{ id: string, host: string }[]>} each with where its Docker is */
async function serveNodes(folder, addresses) {
  const [ca, cert, key] = ['ca.pem', 'node.pem', 'node-key.pem'].map((name) => readFileSync(join(folder, name)));
  const swarm = new Swarm();
  for (const address of addresses) {
    const node = new Docker(swarm);
    const server = createTlsServer({ ca, cert, key, requestCert: true, rejectUnauthorized: true }, serving(node));
    // Docker ends no idle connection either.
    server.keepAliveTimeout = 0;
    await new Promise((resolve) => server.listen(PORT, address, resolve));
    node.host = `tcp://${address}:${PORT}`;
  }
  return swarm.members.map(({ id, node }) => ({ id, host: node.host }));
}

const [socket, folder, ...addresses] = process.argv.slice(2);
if (socket === '--nodes') {
  void serveNodes(folder, addresses).then((nodes) => process.send?.({ nodes }));
} else {
  rmSync(socket, { force: true });
  createServer(serving(new Docker())).listen(socket, () => process.send?.('ready'));
}
process.on('disconnect', () => process.exit(0));
