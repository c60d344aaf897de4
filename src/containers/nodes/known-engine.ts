import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { Database, ProcessPresence, SettingEntity, sql } from '../../database';
import { ContainerEngine, EngineError, EngineIdentity } from '../../engine';
import { LOGGER } from '../../logging';
import { Instance } from '../rows/instance';
import { NodeWatch } from './node-watch';

const KEY = 'docker_id';

const ADVICE =
  'if its data-root or DOCKER_HOST is wrong, correct that, and Berth recovers by itself; ' +
  'if the old data is lost or was moved here, accept this Docker: POST /api/admin/docker/accept';

/**
 * The Docker that this Berth's containers and volumes are in, identified by its own id, which the database stores. A
 * container that is missing in another Docker is not lost. So until the known Docker is back, or an operator accepts
 * the other one, nothing is purged, and no container or volume that existed before is recreated.
 */
@Injectable()
export class KnownEngine {
  constructor(
    private readonly engine: ContainerEngine,
    private readonly identity: EngineIdentity,
    private readonly instance: Instance,
    private readonly database: Database,
    private readonly nodes: NodeWatch,
    private readonly presence: ProcessPresence,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Prepares Docker for this instance, and checks whether it is the known one. To be awaited before any other use of
   * Docker.
   *
   * @param onReadmitted called with a node of a cluster that was given up and is back
   * @returns the instance's name
   * @throws ConfigError, EngineError if sandboxes cannot run here as configured
   */
  async prepare(onReadmitted: (node: string) => void): Promise<string> {
    const instance = await this.instance.load();
    await this.nodes.remember(await this.stored());
    const capabilities = await this.engine.host.prepare(instance, this.presence.holder);
    await this.nodes.start(onReadmitted);
    this.logger.info({ instance, ...capabilities }, 'Docker is ready');
    await this.check();
    return instance;
  }

  /** Compares the ids; logs each change once. @returns whether this is the known Docker @throws EngineError */
  async check(): Promise<boolean> {
    const id = await this.engine.host.identify();
    const known = id === null ? null : await this.known(id);
    const state = id === known ? 'same' : 'changed';
    const before = this.identity.state;
    this.identity.note(state);
    if (state === 'changed' && before !== 'changed') {
      this.logger.error(
        { docker_id: id, known_docker_id: known },
        `this is not the Docker that the containers and volumes are in; purges and starts that would lose data are refused: ${ADVICE}`,
      );
    }
    if (state === 'same' && before === 'changed') this.logger.info({ docker_id: id }, 'the known Docker is back');
    return state === 'same';
  }

  /** Whether this is another Docker than the known one, as of the last check. */
  get changed(): boolean {
    return this.identity.state === 'changed';
  }

  /** @throws EngineError `docker_changed`, as of the last check */
  assertUnchanged(): void {
    if (this.changed) throw new EngineError('docker_changed', 'this is not the Docker that the containers are in');
  }

  /** Checks again. @throws EngineError `docker_changed` */
  async assertSame(): Promise<void> {
    await this.check();
    this.assertUnchanged();
  }

  /**
   * The reason why Docker refused a call: another Docker lacks images, containers and volumes, which nothing else may
   * hide. Checks again. Never throws.
   *
   * @returns `docker_changed`; `error` if this is the known Docker, or if Docker does not answer
   */
  async reasonOf(error: EngineError): Promise<EngineError> {
    try {
      await this.assertSame();
      return error;
    } catch (fault) {
      return fault instanceof EngineError && fault.code === 'docker_changed' ? fault : error;
    }
  }

  /** Makes the current Docker the known one, without regard to its contents. @throws EngineError */
  async accept(): Promise<{ id: string | null; previous: string | null }> {
    const id = await this.engine.host.identify();
    if (id === null) return { id, previous: null };
    const previous = await this.known(id);
    if (previous !== id) {
      await this.database.manager.update(SettingEntity, { key: KEY }, { value: id });
      this.logger.warn({ docker_id: id, known_docker_id: previous }, 'another Docker was accepted');
    }
    await this.check();
    return { id, previous };
  }

  private async stored(): Promise<string | null> {
    return (await this.database.manager.findOneBy(SettingEntity, { key: KEY }))?.value ?? null;
  }

  /** @param first becomes the known id if there is none yet */
  private async known(first: string): Promise<string> {
    const { manager } = this.database;
    const stored = await this.stored();
    if (stored !== null) return stored;
    // If two processes start at once, the first insert decides.
    await this.database.run(sql`${sql.insert(SettingEntity, { key: KEY, value: first })} ON CONFLICT DO NOTHING`);
    return (await manager.findOneByOrFail(SettingEntity, { key: KEY })).value;
  }
}
