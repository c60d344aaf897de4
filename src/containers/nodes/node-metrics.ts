import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { ContainerEngine } from '../../engine';
import { LOGGER } from '../../logging';
import { Metrics, SampledGauge } from '../../metrics';
import { MIB } from '../model/container.entity';
import { NodesAdmin, type NodeView } from './nodes-admin';

/** The metrics of a cluster's nodes; none on a single machine. */
@Injectable()
export class NodeMetrics {
  /** The read in progress, shared by all gauges of a scrape. */
  private reading: Promise<readonly NodeView[]> | null = null;

  constructor(
    engine: ContainerEngine,
    private readonly nodes: NodesAdmin,
    metrics: Metrics,
    @Inject(LOGGER) logger: Logger,
  ) {
    if (engine.nodes.list() === null) return;
    const gauge = (
      { name, help }: { name: string; help: string },
      value: (node: NodeView) => number | null,
    ): SampledGauge =>
      new SampledGauge(metrics, { name, help, labelNames: ['node'], sample: () => this.sample(value), logger });
    gauge(
      { name: 'berth_node_reachable', help: 'Whether any process can reach the Docker of a node: 1 or 0.' },
      ({ state }) => (state === 'forgotten' ? null : state === 'reachable' ? 1 : 0),
    );
    gauge({ name: 'berth_node_usable', help: 'Whether containers can be placed on a node: 1 or 0.' }, (node) =>
      node.state === 'forgotten' ? null : isUsable(node) ? 1 : 0,
    );
    gauge(
      { name: 'berth_node_avoided', help: 'Whether a node is avoided after failed creations: 1 or 0.' },
      ({ state, avoided }) => (state === 'forgotten' ? null : avoided === null ? 0 : 1),
    );
    gauge(
      { name: 'berth_node_containers', help: 'Containers on a node, running or not.' },
      ({ containers }) => containers,
    );
    gauge({ name: 'berth_node_memory_bytes', help: 'Memory of a node.' }, ({ capacity }) =>
      inBytes(capacity.memory_mb),
    );
    gauge(
      { name: 'berth_node_reserved_memory_bytes', help: 'Sum of the memory limits of running containers on a node.' },
      ({ used }) => inBytes(used.memory_mb),
    );
  }

  private read(): Promise<readonly NodeView[]> {
    this.reading ??= this.nodes
      .list()
      .then(({ nodes }) => nodes)
      .finally(() => (this.reading = null));
    return this.reading;
  }

  private async sample(
    value: (node: NodeView) => number | null,
  ): Promise<{ labels: { node: string }; value: number }[]> {
    return (await this.read()).flatMap((node) => {
      const sampled = value(node);
      return sampled === null ? [] : [{ labels: { node: node.name }, value: sampled }];
    });
  }
}

function isUsable({ state, availability, problem }: NodeView): boolean {
  return state === 'reachable' && availability === 'active' && problem === null;
}

function inBytes(megabytes: number | null): number | null {
  return megabytes === null ? null : megabytes * MIB;
}
