import { randomUUID } from 'node:crypto';
import type { ContainerEngine, ContainerSpec } from '../../../src/engine';
import { DockerEngine, type DockerEngineSettings } from '../../../src/docker/docker-engine';
import { SimulatedEngine } from '../../../packages/simulator/src/simulated-engine';
import { testImage } from '../clients/api-client';
import { RealDocker } from './real-docker';
import { smallestSpec } from './smallest-spec';
import { supervisorFile } from './supervisor-file';
import { clientCertificate, type TestNode } from './test-nodes';
import { isSimulated } from './which-engine';

export const TEST_IMAGE = testImage();

/** Docker of a cluster's node, over TLS; if absent, the tests' only Docker. */
const NODE_HOST = process.env['TEST_NODE_HOST'];

/** Settings of an engine on one node of several. */
const ON_NODES: Partial<DockerEngineSettings> = {
  DOCKER_TIMEOUT_SECONDS: 30,
  SANDBOX_FIREWALL: 'required',
  DISK_QUOTA: 'off',
};

/**
 * A real engine (or a simulated one: `which-engine.ts`) with an instance id of its own, and direct access to the same
 * Docker, to make changes behind the engine's back.
 */
export class EngineSandbox {
  readonly instance = `test-${randomUUID().slice(0, 8)}`;
  readonly real = new RealDocker();
  private readonly engines: DockerEngine[] = [];
  private readonly nodes = new Set<TestNode>();
  private readonly simulated = isSimulated ? new SimulatedEngine({ folder: null, speed: Infinity }) : null;

  /** @returns the simulated engine, or a new real one with these settings */
  engine(settings: Partial<DockerEngineSettings> = {}): ContainerEngine {
    return this.simulated ?? this.dockerEngine(settings);
  }

  /** @returns an engine on a node of a cluster */
  on(node: TestNode, settings: Partial<DockerEngineSettings> = {}): DockerEngine {
    this.nodes.add(node);
    return this.dockerEngine({ ...ON_NODES, ...settings }, node.host);
  }

  dockerEngine(settings: Partial<DockerEngineSettings> = {}, nodeHost = NODE_HOST): DockerEngine {
    const all: DockerEngineSettings = {
      DOCKER_HOST: nodeHost ?? process.env['DOCKER_HOST'] ?? 'unix:///var/run/docker.sock',
      DOCKER_TIMEOUT_SECONDS: 60,
      SANDBOX_RUNTIME: 'runsc',
      SANDBOX_FIREWALL: 'preferred',
      SANDBOX_BLOCKED_NETWORKS: [],
      SANDBOX_ALLOWED_SERVICES: [],
      SANDBOX_NETWORK_SIZE: 900,
      SANDBOX_SUBNETS: [],
      SANDBOX_DNS: [],
      DISK_QUOTA: 'preferred',
      SUPERVISOR_CHANNELS: 256,
      SUPERVISOR_FILE: supervisorFile(),
      NODE_FIREWALL_IMAGE: process.env['NODE_FIREWALL_IMAGE'],
      ...settings,
    };
    const tls = nodeHost === undefined ? {} : { tls: clientCertificate() };
    const engine = new DockerEngine(all, undefined, tls);
    this.engines.push(engine);
    return engine;
  }

  /** See {@link smallestSpec}. */
  spec(changes: Partial<ContainerSpec> = {}): ContainerSpec {
    return smallestSpec({ instance: this.instance, ...changes });
  }

  /** Creates the volume and the container, and starts it. @returns its Docker id */
  async running(engine: ContainerEngine, spec: ContainerSpec = this.spec()): Promise<string> {
    await engine.volumes.ensure({ name: spec.volumeName, diskMb: spec.diskMb, owner: spec.owner });
    const engineId = await engine.containers.create(spec);
    await engine.containers.start(engineId);
    return engineId;
  }

  /** Runs a command in a container, behind a real engine's back, and returns its output. */
  async exec(engineId: string, command: readonly string[]): Promise<string> {
    if (!this.simulated) return this.real.exec(engineId, command);
    const said: Buffer[] = [];
    await this.simulated.programs.run(engineId, {
      command,
      timeoutMs: 60_000,
      maxOutputBytes: 2 ** 20,
      onOutput: ({ data }) => void said.push(data),
    });
    return Buffer.concat(said).toString();
  }

  /** Pauses the container as `docker pause` does. */
  async pause(engineId: string): Promise<void> {
    if (this.simulated) this.simulated.daemon.pause(engineId);
    else await this.real.docker.getContainer(engineId).pause();
  }

  /** Whether the volume exists. */
  async hasVolume(name: string): Promise<boolean> {
    return this.simulated ? this.simulated.daemon.volumes.has(name) : this.real.volumeExists(name);
  }

  async cleanUp(): Promise<void> {
    if (this.simulated) return this.simulated.onApplicationShutdown();
    for (const docker of this.nodes.size > 0 ? this.nodes : [this.real]) await docker.removeInstance(this.instance);
    for (const engine of this.engines) engine.onApplicationShutdown();
  }
}
