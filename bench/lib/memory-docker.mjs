/**
 * A Docker that only remembers, on a socket of its own: for numbers of containers and operations that would take the
 * real one hours. It runs as a process of its own, so that its work is not counted as the server's:
 * `node memory-docker.mjs SOCKET`.
 */
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';

const NEVER = '0001-01-01T00:00:00Z';
const containers = new Map();
const volumes = new Map();
const networks = new Map();
const watchers = new Set();
let lists = 0;

const runtimes = { runsc: { path: 'runsc', runtimeArgs: ['--overlay2=none'] } };
const info = () => ({ Runtimes: runtimes, Driver: 'memory', DriverStatus: [], SystemTime: new Date().toISOString() });

/** Of the one image that everything is of. */
const IMAGE_ID = `sha256:${'0'.repeat(64)}`;

function tell(container, action, attributes = {}) {
  const nano = Date.now() * 1e6;
  const Actor = { ID: container.id, Attributes: { ...container.body.Labels, ...attributes } };
  const line = `${JSON.stringify({ Type: 'container', Action: action, Actor, time: Math.floor(nano / 1e9), timeNano: nano })}\n`;
  for (const watcher of watchers) watcher.write(line);
}

function add(name, body) {
  const id = randomBytes(32).toString('hex');
  const container = { id, name, body, created: Date.now(), state: 'created', startedAt: NEVER };
  containers.set(id, container);
  return container;
}

const run = (container) => Object.assign(container, { state: 'running', startedAt: new Date().toISOString() });

const inspected = ({ id, name, body, state, startedAt }) => ({
  Id: id,
  Name: `/${name}`,
  Image: IMAGE_ID,
  State: { Status: state, Running: state === 'running', StartedAt: startedAt, ExitCode: 0, OOMKilled: false },
  HostConfig: { Runtime: body.HostConfig?.Runtime ?? 'runsc' },
  NetworkSettings: { Networks: { [body.HostConfig?.NetworkMode ?? 'bridge']: { IPAddress: '172.20.0.2' } } },
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
  HostConfig: { NetworkMode: 'berth' },
  NetworkSettings: { Networks: { berth: { NetworkID: '0'.repeat(64), EndpointID: '0'.repeat(64), MacAddress: '' } } },
  Mounts: [
    { Type: 'volume', Name: name, Source: `/volumes/${name}/_data`, Destination: '/home/user', Driver: 'local' },
  ],
});

const routes = [
  ['GET', /^\/_ping$/, () => [200, 'OK']],
  ['GET', /^\/info$/, () => [200, info()]],
  ['GET', /^\/networks$/, () => [200, [...networks.values()]]],
  [
    'POST',
    /^\/networks\/create$/,
    (_match, { body }) => {
      networks.set(body.Name, { ...body, Id: randomBytes(32).toString('hex'), Created: new Date().toISOString() });
      return [201, { Id: networks.get(body.Name).Id }];
    },
  ],
  ['GET', /^\/images\/json$/, () => [200, []]],
  ['GET', /^\/images\/(.+)\/json$/, () => [200, { Id: IMAGE_ID }]],
  // Every image has a shell.
  ['HEAD', /^\/containers\/[^/]+\/archive$/, () => [200]],
  ['GET', /^\/volumes$/, () => [200, { Volumes: [...volumes.values()] }]],
  [
    'POST',
    /^\/volumes\/create$/,
    (_match, { body }) => {
      volumes.set(body.Name, body);
      return [201, body];
    },
  ],
  ['GET', /^\/volumes\/([^/]+)$/, ([, name]) => (volumes.has(name) ? [200, volumes.get(name)] : [404, {}])],
  ['DELETE', /^\/volumes\/([^/]+)$/, ([, name]) => [volumes.delete(name) ? 204 : 404]],
  [
    'GET',
    /^\/containers\/json$/,
    () => {
      lists += 1;
      return [200, [...containers.values()].map(listed)];
    },
  ],
  ['POST', /^\/containers\/create$/, (_match, { query, body }) => [201, { Id: add(query.get('name'), body).id }]],
  // Not Docker's: what a benchmark asks for.
  ['GET', /^\/bench\/lists$/, () => [200, { lists }]],
  [
    'POST',
    /^\/bench\/containers$/,
    (_match, { body }) => [201, body.map(({ name, Labels }) => run(add(name, { Image: 'berth/test', Labels })).id)],
  ],
];

const actions = {
  json: (container) => [200, inspected(container)],
  start: (container) => {
    if (container.state === 'running') return [304];
    tell(run(container), 'start');
    return [204];
  },
  stop: (container) => {
    if (container.state !== 'running') return [304];
    container.state = 'exited';
    tell(container, 'die', { exitCode: '0' });
    return [204];
  },
  rename: (container, { query }) => {
    container.name = query.get('name');
    return [204];
  },
  remove: (container) => {
    containers.delete(container.id);
    tell(container, 'destroy');
    return [204];
  },
};

function ofContainer(method, path, request) {
  const [, id, verb] = /^\/containers\/([^/]+)(?:\/(\w+))?$/.exec(path) ?? [];
  const container = containers.get(id);
  const action = actions[method === 'DELETE' ? 'remove' : verb];
  if (!action) return undefined;
  return container ? action(container, request) : [404, { message: `No such container: ${id}` }];
}

async function answer(request) {
  const { pathname, searchParams: query } = new URL(request.url, 'http://docker');
  const path = decodeURIComponent(pathname.replace(/^\/v[\d.]+/, ''));
  const sent = await text(request);
  const given = { query, body: sent === '' ? {} : JSON.parse(sent) };
  for (const [method, pattern, work] of routes) {
    const match = method === request.method && pattern.exec(path);
    if (match) return work(match, given);
  }
  return ofContainer(request.method, path, given) ?? [501, { message: `${request.method} ${path} is not made` }];
}

const [socket] = process.argv.slice(2);
rmSync(socket, { force: true });
const server = createServer((request, response) => {
  if (/\/events\?/.test(request.url)) {
    response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
    watchers.add(response);
    response.on('close', () => watchers.delete(response));
    return;
  }
  void answer(request).then(([status, body]) => {
    const text = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body);
    response.writeHead(status, { 'content-type': 'application/json' }).end(text);
  });
});
server.listen(socket, () => process.send?.('ready'));
process.on('disconnect', () => process.exit(0));
