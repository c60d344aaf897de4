import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { ContainerEngine, EngineError, type EngineErrorCode, saysDiskFull } from '../../docker';
import { DomainError } from '../../errors';
import { ImageCatalog } from '../../images';
import { LOGGER } from '../../logging';
import { RunPolicies } from '../expiry/run-policy';
import type { OperationLease } from '../leases/operation-lease';
import { SickNodes } from '../nodes/sick-nodes';
import type { Facts } from './executor';
import type { PlanInput } from './plan';
import { Recovery } from './recovery';

/**
 * On so many nodes a creation is tried whose own settings may be at fault, such as an image that does not exist. Those
 * that do not answer, or whose disk is full, are not counted.
 */
const MOST_TRIED = 4;

/** Failures that may be the node's. */
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

/** What of these may be the image's as well. */
const OF_THE_IMAGE: readonly EngineErrorCode[] = [
  'image_not_found',
  'image_not_built',
  'image_access_denied',
  'image_unavailable',
  'start_refused',
];

/** What a creation does if its node fails: see {@link PlacedCreation}. */
@Injectable()
export class CreationPlacement {
  constructor(
    readonly engine: ContainerEngine,
    readonly recovery: Recovery,
    readonly policies: RunPolicies,
    readonly catalog: ImageCatalog,
    readonly sick: SickNodes,
    @Inject(LOGGER) readonly logger: Logger,
  ) {}

  /**
   * @param isNew whether nothing has been done yet for the row
   * @returns null of what is on a single machine, or has data on its own
   */
  of(lease: OperationLease, { verb, isNew }: Pick<PlanInput, 'verb' | 'isNew'>): PlacedCreation | null {
    const { dockerId, nodeId, formerNodeId } = lease.row;
    const hasData = dockerId !== null || (formerNodeId !== null && formerNodeId === nodeId);
    const isCreation = verb === 'create' || (verb === 'start' && !hasData);
    return isCreation && this.engine.nodes() !== null ? new PlacedCreation(this, lease, isNew === true) : null;
  }
}

interface Failure {
  readonly node: string;
  readonly error: EngineError;
  /** It can only be the node's: its disk is full. */
  readonly isCertain: boolean;
  /** It is the user's own image that failed, which may answer as its user likes. */
  readonly isOwnImage: boolean;
}

/**
 * A creation, or a start that makes up for one, on several machines: where it fails because of its node, it goes on on
 * another one. The node is avoided from then on if the fault can only be its own, or if another one succeeds with the
 * same image: what a user asks for may fail anywhere. What is left on an abandoned node is removed by a sweep.
 */
export class PlacedCreation {
  private readonly failures: Failure[] = [];
  /** Whether Docker may run something of it on the present node. */
  private mayRun: boolean;

  constructor(
    private readonly parts: CreationPlacement,
    private readonly lease: OperationLease,
    isNew: boolean,
  ) {
    this.mayRun = !isNew;
  }

  /**
   * Places it on another node if its own may be at fault, and nothing of it runs there any more.
   *
   * @returns false if it has failed: nothing is changed then
   * @throws LeaseLostError, the database's error
   */
  async moveOn(error: unknown, { failedAt, wasStartAsked }: Facts): Promise<boolean> {
    this.mayRun ||= wasStartAsked === true;
    const { nodeId: node, image, userId } = this.lease.row;
    if (!(error instanceof EngineError) || node === null || !OF_THE_NODE.includes(error.code)) return false;
    // It has run: the image does not stay up.
    if (error.code === 'start_refused' && failedAt === 'confirm_running') return false;
    const isOwn = !this.parts.catalog.has(image);
    const isOwnImage = isOwn && (failedAt === 'ensure_image' || OF_THE_IMAGE.includes(error.code));
    // Of a user's image Docker's words may be too.
    const isCertain = saysDiskFull(error) && (!isOwn || failedAt === 'ensure_volume');
    this.failures.push({ node, error, isCertain, isOwnImage });
    if (isCertain) await this.parts.sick.note(node, 'no_space', error);
    if (!this.isWorthAnother || !(await this.isLeft(error))) return false;
    try {
      const except = this.failures.map((failure) => failure.node);
      await this.lease.placeElsewhere({ pool: await this.parts.policies.poolOf(userId), except });
    } catch (refusal) {
      if (!(refusal instanceof DomainError) || refusal.kind !== 'no_capacity') throw refusal;
      return false;
    }
    this.mayRun = false;
    const about = { err: error, container_id: this.lease.row.id, node, to: this.lease.row.nodeId };
    this.parts.logger.warn(about, 'a creation was placed on another node');
    return true;
  }

  /** Has those nodes avoided on which it failed. Never throws. */
  async succeeded(): Promise<void> {
    const { nodeId } = this.lease.row;
    const { sick, engine, logger } = this.parts;
    try {
      for (const { node, error, isOwnImage } of this.failures) {
        // One that does not answer takes nothing anyway, and may be well when it does.
        const isSilent = error.code === 'node_unavailable' && !engine.answers(node);
        if (!isOwnImage && !isSilent) await sick.note(node, saysDiskFull(error) ? 'no_space' : error.code, error);
      }
      if (nodeId !== null) await sick.noteWell(nodeId);
    } catch (error) {
      logger.warn({ err: error }, 'on which nodes creations fail could not be noted');
    }
  }

  /** Why it failed in the end: what its user can do something about, rather than a fault of the last node. */
  reason(last: unknown): unknown {
    if (!(last instanceof EngineError) || !OF_THE_NODE.includes(last.code)) return last;
    const reasons = this.failures.map(({ error }) => error);
    return reasons.findLast(({ code }) => OF_THE_IMAGE.includes(code)) ?? last;
  }

  private get isWorthAnother(): boolean {
    const unclear = this.failures.filter(({ error, isCertain }) => error.code !== 'node_unavailable' && !isCertain);
    return unclear.length < MOST_TRIED;
  }

  /** Whether nothing runs on the present node. What does not answer cannot be asked. */
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
