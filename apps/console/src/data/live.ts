import { batch, computed, signal } from '@preact/signals';
import { io, type Socket } from 'socket.io-client';
import { forget, session } from '../session';
import { call } from './api';
import type { Agent, BerthEvent, Container, ContainerList, Me } from './types';

/**
 * What the user has, always as the server has it: listed once, then followed by its events from the list's `event_seq`
 * on. Events have a container's facts; what they lack (times, readiness) is read again for the one container.
 */

/** How it stands with the connection: `late` is a first connection or one that broke. */
export type Connection = 'connecting' | 'live' | 'late';

export interface Progress {
  readonly stage: string;
  readonly message: string;
  readonly progress: number;
}

export const me = signal<Me | null>(null);
export const connection = signal<Connection>('connecting');
/** By database id, in the order of creation. */
const byId = signal<ReadonlyMap<string, Container>>(new Map());
/** False until the first page of the list is here. */
export const listed = signal(false);
export const usage = signal<{ containers: number; limit: number } | null>(null);
export const agents = signal<ReadonlyMap<string, Agent>>(new Map());
/** How far what is under way has come, by database id. */
export const progress = signal<ReadonlyMap<string, Progress>>(new Map());
/** The newest first. */
export const events = signal<readonly BerthEvent[]>([]);
/** Why the list could not be read. */
export const fault = signal<unknown>(null);

/** The newest first. */
export const containers = computed(() =>
  [...byId.value.values()].sort((a, b) => (a.created_at < b.created_at ? 1 : a.created_at > b.created_at ? -1 : 0)),
);
export const containerById = (id: string): Container | undefined => byId.value.get(id);

const KEPT_EVENTS = 200;
/** As many as a page may have. */
const PAGE = 100;
/** How long after an event a container is read again, so that several events are one reading, in milliseconds. */
const REFRESH_MS = 400;
/** With more to read again than this the whole list is, which costs fewer requests. */
const MANY = 10;

const isAgent = (each: Container | Agent): each is Agent => 'type' in each;

let socket: Socket | null = null;
let lastSeq: number | undefined;
/** Of the present session: what an earlier one has asked for is dropped. */
let generation = 0;

/** Begins to follow for whoever is signed in. */
export async function follow(): Promise<void> {
  stop();
  const own = ++generation;
  me.value = await call<Me>('GET', '/api/me');
  if (own !== generation) return;
  await list(own);
  if (own === generation) connect(own);
}

/** Forgets everything. */
export function stop(): void {
  generation += 1;
  socket?.disconnect();
  socket = null;
  lastSeq = undefined;
  stale.clear();
  batch(() => {
    me.value = null;
    byId.value = new Map();
    agents.value = new Map();
    progress.value = new Map();
    events.value = [];
    usage.value = null;
    listed.value = false;
    fault.value = null;
    connection.value = 'connecting';
  });
}

/** Reads all pages; what is shown meanwhile stays. */
async function list(own: number): Promise<void> {
  const found = new Map<string, Container>();
  const online = new Map<string, Agent>();
  let cursor: string | null = null;
  let seq: number | undefined;
  do {
    const page: ContainerList = await call('GET', '/api/containers', { query: { limit: PAGE, cursor } });
    if (own !== generation) return;
    // Events from the first page on are replayed: what changes while the others are read is among them.
    seq ??= page.event_seq;
    for (const each of page.containers) {
      if (isAgent(each)) online.set(each.id, each);
      else found.set(each.db_id, each);
    }
    cursor = page.next_cursor;
    batch(() => {
      usage.value = page.usage;
      if (!listed.value) byId.value = new Map(found);
      listed.value ||= cursor === null || found.size >= PAGE;
      if (cursor !== null && lastSeq === undefined) byId.value = new Map(found);
    });
  } while (cursor !== null);
  lastSeq = seq;
  batch(() => {
    byId.value = found;
    agents.value = online;
    listed.value = true;
    fault.value = null;
  });
}

function connect(own: number): void {
  socket = io({
    forceNew: true,
    transports: ['websocket'],
    auth: (give) => give({ token: session.value?.token, after: lastSeq }),
  });
  socket.on('connect', () => (connection.value = 'live'));
  socket.on('disconnect', (reason) => {
    connection.value = 'late';
    // The server ended it: the token is worth nothing any more, which a request finds out.
    if (reason === 'io server disconnect') void check(own);
  });
  socket.on('connect_error', (error) => {
    connection.value = 'late';
    if (error.message === 'unauthorized') forget('Your session has ended: its token was revoked or has expired.');
  });
  socket.onAny((type: string, event: BerthEvent) => {
    if (own !== generation) return;
    if (type === 'resync_required') void relist(own);
    else apply(event);
  });
}

async function check(own: number): Promise<void> {
  await call('GET', '/api/me').catch(() => undefined);
  if (own === generation) socket?.connect();
}

async function relist(own: number): Promise<void> {
  try {
    await list(own);
  } catch (error) {
    if (own === generation) fault.value = error;
  }
}

function apply(event: BerthEvent): void {
  lastSeq = event.seq;
  batch(() => {
    events.value = [event, ...events.value].slice(0, KEPT_EVENTS);
    const { type, data } = event;
    if (type.startsWith('container_')) applyToContainer(type, data, event.timestamp);
    else if (type.startsWith('agent_')) applyToAgent(type, data as unknown as Agent);
  });
}

/** What of an event are the container's own facts. */
const FACTS = ['id', 'db_id', 'name', 'status', 'image', 'role', 'labels', 'resources', 'network'] as const;

function applyToContainer(type: string, data: BerthEvent['data'], timestamp: string): void {
  const id = data['db_id'] as string;
  const next = new Map(byId.value);
  const before = next.get(id);
  if (type === 'container_deleted') {
    if (next.delete(id)) changeUsage(-1);
    dropProgress(id);
  } else {
    const facts = Object.fromEntries(FACTS.filter((name) => name in data).map((name) => [name, data[name]]));
    if (!before && (type === 'container_created' || type === 'container_restored')) changeUsage(1);
    const reason = type === 'container_stopped' || type === 'container_error' ? data['reason'] : undefined;
    const status_reason = typeof reason === 'string' ? reason : type === 'container_started' ? null : undefined;
    next.set(id, {
      ...(before ?? blank(timestamp)),
      ...(facts as Partial<Container>),
      ...(status_reason !== undefined && type !== 'container_error' && { status_reason }),
      ...(type === 'container_ready' && { ready: true }),
    });
    if (type === 'container_progress') {
      const { stage, message, progress: percent } = data;
      progress.value = new Map(progress.value).set(id, {
        stage: String(stage),
        message: String(message),
        progress: Number(percent),
      });
      if (percent === 100) refresh(id);
    } else {
      if (type !== 'container_created') dropProgress(id);
      refresh(id);
    }
  }
  byId.value = next;
}

/** A container that is only known by an event; the rest is read a moment later. */
function blank(timestamp: string): Container {
  return {
    id: '',
    db_id: '',
    name: '',
    image: '',
    role: null,
    labels: {},
    resources: { memory_mb: 0, cpu_shares: 0, disk_mb: 0 },
    network: 'internet',
    user_id: '',
    status: 'creating',
    status_reason: null,
    role_status: null,
    created_at: timestamp,
    updated_at: timestamp,
    last_used_at: timestamp,
    idle_seconds: 0,
    expires_at: null,
    auto_stop_seconds: null,
    auto_delete_seconds: null,
    ip_address: null,
    runtime: null,
    start: null,
    ready: null,
  };
}

function changeUsage(by: number): void {
  if (usage.value) usage.value = { ...usage.value, containers: usage.value.containers + by };
}

function dropProgress(id: string): void {
  if (!progress.value.has(id)) return;
  const next = new Map(progress.value);
  next.delete(id);
  progress.value = next;
}

function applyToAgent(type: string, agent: Agent): void {
  const next = new Map(agents.value);
  if (type === 'agent_connected') next.set(agent.id, { ...agent, status: 'online' });
  else next.delete(agent.id);
  agents.value = next;
}

/** Containers of which more has changed than their events said. */
const stale = new Set<string>();

function refresh(id: string): void {
  if (stale.size === 0) setTimeout(() => void readStale(generation), REFRESH_MS);
  stale.add(id);
}

async function readStale(own: number): Promise<void> {
  if (own !== generation) return;
  const ids = [...stale];
  stale.clear();
  if (ids.length > MANY) return relist(own);
  await Promise.all(ids.map((id) => reread(id, own)));
}

async function reread(id: string, own: number): Promise<void> {
  const seq = lastSeq;
  try {
    const container = await call<Container>('GET', `/api/containers/${id}`);
    if (own !== generation) return;
    // An event that came meanwhile may be newer than the answer.
    if (seq !== lastSeq && events.value.some((event) => event.seq > (seq ?? 0) && event.data['db_id'] === id)) {
      refresh(id);
      return;
    }
    if (byId.value.has(id)) byId.value = new Map(byId.value).set(id, container);
  } catch {
    // Deleted meanwhile, or out of reach: its events, or the next list, say so.
  }
}

/** Takes an answer's container, which may come before its event. */
export function takeContainer(container: Container): void {
  if (byId.value.has(container.db_id)) byId.value = new Map(byId.value).set(container.db_id, container);
}

/** The time, for what is counted from it; every ten seconds, while somebody looks. */
export const now = signal(Date.now());
setInterval(() => {
  if (document.visibilityState === 'visible') now.value = Date.now();
}, 10_000);
