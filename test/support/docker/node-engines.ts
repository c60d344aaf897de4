import { randomUUID } from 'node:crypto';
import type { ContainerSpec } from '../../../src/docker';
import { DockerEngine, type DockerEngineSettings } from '../../../src/docker/docker-engine';
import { smallestSpec } from './smallest-spec';
import { clientCertificate, type TestNode } from './test-nodes';

/** Berth's engine on single nodes of a cluster, over TLS, with an instance id of its own. */
export class NodeEngines {
  readonly instance = `test-${randomUUID().slice(0, 8)}`;
  private readonly used = new Map<TestNode, DockerEngine>();

  on(node: TestNode, settings: Partial<DockerEngineSettings> = {}): DockerEngine {
    const all: DockerEngineSettings = {
      DOCKER_HOST: node.host,
      DOCKER_TIMEOUT_SECONDS: 30,
      SANDBOX_RUNTIME: 'runsc',
      SANDBOX_FIREWALL: 'required',
      SANDBOX_BLOCKED_NETWORKS: [],
      SANDBOX_ALLOWED_SERVICES: [],
      SANDBOX_NETWORK_SIZE: 900,
      SANDBOX_SUBNETS: [],
      SANDBOX_DNS: [],
      DISK_QUOTA: 'off',
      NODE_FIREWALL_IMAGE: process.env['NODE_FIREWALL_IMAGE'],
      ...settings,
    };
    const engine = new DockerEngine(all, undefined, { tls: clientCertificate() });
    this.used.set(node, engine);
    return engine;
  }

  /** Creates and starts the smallest sandbox. @returns its Docker id */
  async running(engine: DockerEngine, changes: Partial<ContainerSpec> = {}): Promise<string> {
    const spec = smallestSpec({ instance: this.instance, ...changes });
    const { volumeName: name, diskMb, owner } = spec;
    await engine.ensureVolume({ name, diskMb, owner });
    const dockerId = await engine.createContainer(spec);
    await engine.startContainer(dockerId);
    return dockerId;
  }

  async cleanUp(): Promise<void> {
    for (const [node, engine] of this.used) {
      await node.removeInstance(this.instance);
      engine.onApplicationShutdown();
    }
  }
}
