import { Inject, Injectable } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { type Config, CONFIG } from '../config';
import { EngineCalls, EngineIdentity, PROOF_CHECKS } from '../engine';
import { EventLog, EventsGateway } from '../events';
import { Metrics } from './metrics';

/** In seconds, from a ping to a slow stop. */
const CALL_BUCKETS = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/**
 * Times the calls to Docker, and reports whether it is still the known Docker and the results of the sandbox proof.
 */
@Injectable()
export class DockerMetrics {
  constructor(
    { registry }: Metrics,
    calls: EngineCalls,
    identity: EngineIdentity,
    @Inject(CONFIG) { CLUSTER }: Pick<Config, 'CLUSTER'>,
  ) {
    const duration = new Histogram({
      name: 'berth_docker_call_duration_seconds',
      help: 'Calls to Docker, by call and result: ok, or the reason of the failure.',
      labelNames: ['call', 'outcome'] as const,
      buckets: CALL_BUCKETS,
      registers: [registry],
    });
    if (CLUSTER !== undefined) this.timeByNode(registry, calls);
    this.countChannels(registry, calls);
    new Gauge({
      name: 'berth_docker_changed',
      help: '1 while the Docker daemon is not the one that holds the containers and volumes, and purges are held.',
      registers: [registry],
      collect() {
        this.set(identity.state === 'changed' ? 1 : 0);
      },
    });
    new Gauge({
      name: 'berth_sandbox_proof',
      help: '1 if the sandbox test at start passed, 0 if it failed; absent if it did not run.',
      labelNames: ['check'] as const,
      registers: [registry],
      collect() {
        this.reset();
        const { proof } = identity;
        if (proof === null || proof === 'proving' || proof.state === 'unproved') return;
        for (const check of PROOF_CHECKS) this.set({ check }, check in proof.faults ? 0 : 1);
      },
    });
    new Gauge({
      name: 'berth_idle_sandbox_cpus',
      help: 'CPU cores used by a sandbox without programs, measured by the sandbox test at start; absent if not measured.',
      registers: [registry],
      collect() {
        const { idleCores } = identity;
        if (idleCores === null) this.remove();
        else this.set(idleCores);
      },
    });
    calls.onEnded(({ call, outcome, seconds }) => {
      duration.observe({ call: call.replaceAll(' ', '_'), outcome }, seconds);
    });
  }

  /** The channels to the sandboxes' supervisors. */
  private countChannels(registry: Registry, { channels }: EngineCalls): void {
    new Gauge({
      name: 'berth_channels',
      help: "Open connections of this process to sandboxes' supervisors.",
      registers: [registry],
      collect() {
        this.set(channels.open);
      },
    });
    new Counter({
      name: 'berth_channels_total',
      help: "Connections to sandboxes' supervisors made by this process since its start.",
      registers: [registry],
      collect() {
        this.reset();
        this.inc(channels.opened);
      },
    });
  }

  /** By node, but not also by call: a hundred nodes would have tens of thousands of series. */
  private timeByNode(registry: Registry, calls: EngineCalls): void {
    const duration = new Histogram({
      name: 'berth_node_docker_call_duration_seconds',
      help: 'Calls to the Docker of each node, by result.',
      labelNames: ['node', 'outcome'] as const,
      buckets: CALL_BUCKETS,
      registers: [registry],
    });
    calls.onEnded(({ node, outcome, seconds }) => {
      if (node !== undefined) duration.observe({ node, outcome }, seconds);
    });
  }
}

/** Counts the events that this process has committed, and the sockets that follow events through it. */
@Injectable()
export class EventMetrics {
  constructor({ registry }: Metrics, log: EventLog, gateway: EventsGateway) {
    const events = new Counter({
      name: 'berth_events_total',
      help: 'Events committed by this process.',
      labelNames: ['type'] as const,
      registers: [registry],
    });
    log.onCommitted((_userId, committed) => {
      for (const { type } of committed) events.inc({ type });
    });
    new Gauge({
      name: 'berth_sockets',
      help: 'Socket.IO connections to this process that receive events.',
      registers: [registry],
      collect() {
        this.set(gateway.socketCount);
      },
    });
  }
}

/** Clients can invent methods and paths, and every label value takes memory until the process ends. */
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
const OTHER_METHOD = 'OTHER';
const UNMATCHED = 'unmatched';

/** Counts and times HTTP responses, by the route's pattern. */
@Injectable()
export class HttpMetrics {
  private readonly requests: Counter<'method' | 'route' | 'status'>;
  private readonly duration: Histogram<'method' | 'route'>;

  constructor({ registry }: Metrics) {
    this.requests = new Counter({
      name: 'berth_http_requests_total',
      help: 'Completed requests.',
      labelNames: ['method', 'route', 'status'],
      registers: [registry],
    });
    this.duration = new Histogram({
      name: 'berth_http_request_duration_seconds',
      help: 'Duration of requests. Waits and event streams take as long as requested.',
      labelNames: ['method', 'route'],
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
      registers: [registry],
    });
  }

  answered(request: FastifyRequest, reply: FastifyReply): void {
    const method = METHODS.has(request.method) ? request.method : OTHER_METHOD;
    const route = request.is404 ? UNMATCHED : (request.route?.url ?? UNMATCHED);
    this.requests.inc({ method, route, status: reply.statusCode });
    this.duration.observe({ method, route }, reply.elapsedTime / 1000);
  }
}

/** Measures every request. Call it before `init()` or `listen()`. */
export function setUpHttpMetrics(app: NestFastifyApplication): void {
  const metrics = app.get(HttpMetrics);
  app
    .getHttpAdapter()
    .getInstance()
    .addHook('onResponse', (request, reply, done) => {
      metrics.answered(request, reply);
      done();
    });
}
