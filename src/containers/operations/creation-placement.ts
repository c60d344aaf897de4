import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { ContainerEngine, EngineError, type EngineErrorCode, nodeName } from '../../engine';
import { DomainError } from '../../errors';
import { ImageCatalog } from '../../images';
import { LOGGER } from '../../logging';
import { Placement } from '../capacity/placement';
import type { Ending, Verb } from '../model/container.entity';
import type { OperationLease } from './operation-lease';
import { SickNodes } from '../capacity/sick-nodes';
import type { StepResults } from './executor';
import { Recovery } from './recovery';

/**
 * Maximum number of nodes on which a creation is tried if its own settings may be at fault, such as an image that does
 * not exist. Nodes that do not answer, or whose disk is full, are not counted.
 */
const MOST_TRIED = 4;

/** Errors that the node may have caused. */
const OF_THE_NODE: readonly EngineErrorCode[] = [
  'node_unavailable',
  'docker_error',
  'no_capacity',
  'image_not_found',
  'image_not_built',
  'image_access_denied',
  'image_unavailable',
  'start_refused',
];

/** The errors above that the image may have caused as well. */
const OF_THE_IMAGE: readonly EngineErrorCode[] = [
  'image_not_found',
  'image_not_built',
  'image_access_denied',
  'image_unavailable',
  'start_refused',
];

/** Provides a {@link PlacedCreation} for each creation on a cluster. */
@Injectable()
export class CreationPlacement {
  constructor(
    readonly engine: ContainerEngine,
    readonly recovery: Recovery,
    readonly placement: Placement,
    readonly catalog: ImageCatalog,
    readonly sick: SickNodes,
    @Inject(LOGGER) readonly logger: Logger,
  ) {}

  /**
   * @param isNew whether nothing has been done in Docker for the row yet
   * @returns null on a single machine, for a container with data on its node, and for an operation that creates nothing
   */
  of(lease: OperationLease, { verb, isNew }: { verb: Verb | Ending; isNew: boolean }): PlacedCreation | null {
    const { engineId, nodeId, formerNodeId, seedSnapshotId } = lease.row;
    const hasData = engineId !== null || seedSnapshotId !== null || (formerNodeId !== null && formerNodeId === nodeId);
    const isCreation = verb === 'create' || (verb === 'start' && !hasData);
    return isCreation && this.engine.nodes.list() !== null ? new PlacedCreation(this, lease, isNew) : null;
  }
}

interface Failure {
  readonly node: string;
  readonly error: EngineError;
  /** The node must be at fault: its disk is full. */
  readonly isCertain: boolean;
  /** An image outside the catalogue failed. Its user controls the image, and thus the error. */
  readonly isOwnImage: boolean;
}

/**
 * A creation on a cluster, or a start of a container without data, which is a creation too. If it fails because of its
 * node, it continues on another node. The failed node is avoided afterwards if it must be at fault, or if the creation
 * succeeds on another node and no image of the user's own failed: a faulty request would fail on every node. A sweep
 * removes the leftovers on the failed node.
 */
class PlacedCreation {
  private readonly failures: Failure[] = [];
  /** Whether a container of this creation may be running on the current node. */
  private mayRun: boolean;

  constructor(
    private readonly parts: CreationPlacement,
    private readonly lease: OperationLease,
    isNew: boolean,
  ) {
    this.mayRun = !isNew;
  }

  /**
   * Places the creation on another node if the current one may be at fault and no container of the creation runs there
   * any more.
   *
   * @returns false if the creation must fail; it stays placed on its node
   * @throws LeaseLostError, the database's error
   */
  async moveOn(error: unknown, { failedAt, wasStartAsked }: StepResults): Promise<boolean> {
    this.mayRun ||= wasStartAsked === true;
    const { nodeId: node, image } = this.lease.row;
    if (!(error instanceof EngineError) || node === null || !OF_THE_NODE.includes(error.code)) return false;
    // The container started and then exited: the image is at fault.
    if (error.code === 'start_refused' && failedAt === 'confirm_running') return false;
    const isOwn = !this.parts.catalog.has(image);
    const isOwnImage = isOwn && (failedAt === 'ensure_image' || OF_THE_IMAGE.includes(error.code));
    // With a user's image, Docker's message may come from the image, except while the volume is created.
    const isCertain = error.isDiskFull && (!isOwn || failedAt === 'ensure_volume');
    this.failures.push({ node, error, isCertain, isOwnImage });
    if (isCertain) await this.parts.sick.note(node, 'no_space', error);
    if (!this.isWorthAnother || !(await this.isLeft(error))) return false;
    try {
      const except = this.failures.map((failure) => failure.node);
      await this.parts.placement.placeElsewhere(this.lease, except);
    } catch (refusal) {
      if (!(refusal instanceof DomainError) || refusal.kind !== 'no_capacity') throw refusal;
      return false;
    }
    this.mayRun = false;
    const { engine, logger } = this.parts;
    const names = { node: nodeName(engine.nodes, node), to: nodeName(engine.nodes, this.lease.row.nodeId) };
    const about = { err: error, container_id: this.lease.row.id, ...names };
    logger.warn(about, 'a creation was placed on another node');
    return true;
  }

  /** To be called when the creation has succeeded: has the nodes avoided on which it failed before. Never throws. */
  async succeeded(): Promise<void> {
    const { nodeId } = this.lease.row;
    const { sick, engine, logger } = this.parts;
    try {
      for (const { node, error, isOwnImage } of this.failures) {
        // Nothing is placed on a node that does not answer, and the node may be healthy once it answers.
        const isSilent = error.code === 'node_unavailable' && !engine.nodes.answers(node);
        if (!isOwnImage && !isSilent) await sick.note(node, error.isDiskFull ? 'no_space' : error.code, error);
      }
      if (nodeId !== null) await sick.noteWell(nodeId);
    } catch (error) {
      logger.warn({ err: error }, 'on which nodes creations fail could not be noted');
    }
  }

  /** The error to report: preferably one that the user can act on, rather than a fault of the last node. */
  reason(last: unknown): unknown {
    if (!(last instanceof EngineError) || !OF_THE_NODE.includes(last.code)) return last;
    const reasons = this.failures.map(({ error }) => error);
    return reasons.findLast(({ code }) => OF_THE_IMAGE.includes(code)) ?? last;
  }

  private get isWorthAnother(): boolean {
    const unclear = this.failures.filter(({ error, isCertain }) => error.code !== 'node_unavailable' && !isCertain);
    return unclear.length < MOST_TRIED;
  }

  /** Whether no container of the creation runs on the current node. False if the node does not answer. */
  private async isLeft({ code }: EngineError): Promise<boolean> {
    if (!this.mayRun) return true;
    if (code === 'node_unavailable') return false;
    try {
      await this.parts.recovery.recover(this.lease, 'reconcile');
      return true;
    } catch (fault) {
      if (!(fault instanceof EngineError)) throw fault;
      this.parts.logger.warn({ err: fault, container_id: this.lease.row.id }, 'a failed creation could not be removed');
      return false;
    }
  }
}
