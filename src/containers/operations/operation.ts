import { Injectable } from '@nestjs/common';
import type { EngineErrorCode } from '../../engine';
import type { ErrorCode } from '../../errors';
import { Clock } from '../../scheduling';
import { Placement } from '../capacity/placement';
import type { ContainerRow, Ending, Verb } from '../model/container.entity';
import { RunPolicies } from '../policies/run-policy';
import { Environments } from '../rows/environments';
import { DataVolumes } from './data-volumes';
import type { Execution, StepResults } from './executor';
import type { OperationLease } from './operation-lease';
import type { Outcome } from './outcome';
import { Purge } from './purge';
import { Recovery } from './recovery';
import type { LayerToKeep, ObservedState, Plan, PlanInput } from './steps';

/** The services that operations are prepared with. */
@Injectable()
export class OperationContext {
  constructor(
    readonly recovery: Recovery,
    readonly volumes: DataVolumes,
    readonly policies: RunPolicies,
    readonly placement: Placement,
    readonly environments: Environments,
    readonly purge: Purge,
    readonly clock: Clock,
  ) {}
}

/** What a verb defines; `OperationRunner` runs all of them in the same way. `Result` is what its caller is told. */
export interface OperationDefinition<Result> {
  readonly verb: Verb | Ending;
  /** The error of a failure, if it is not the verb's. */
  readonly failure?: ErrorCode;
  /** How long to wait for another operation, in milliseconds; by default `OPERATION_WAIT_SECONDS`. */
  readonly waitMs?: number | undefined;
  /** Called first: the outcome if the operation changes nothing in Docker, null if it does. May refuse by an error. */
  readonly ofRowAlone?: (row: ContainerRow, context: OperationContext) => Outcome | null;
  /** Called once no abandoned operation is left. */
  readonly prepare: (lease: OperationLease, context: OperationContext) => Promise<Preparation>;
  /**
   * The outcome if Docker refuses or does not answer. If present, the operation runs even if the node does not answer,
   * or an abandoned operation cannot be recovered.
   */
  readonly ifRefused?: (row: ContainerRow, context: OperationContext) => Outcome;
  /** True for failures after which the whole operation is run once more. */
  readonly isRepeatedAfter?: (error: unknown) => boolean;
  readonly result: (completed: Completed) => Result;
}

/** What an operation is to do in Docker, and what its success writes; or its outcome, if Docker has nothing to do. */
export type Preparation = PlannedOperation | { readonly write: Outcome };

export interface PlannedOperation {
  /** Pure. Every combination of row and observed state has a plan. */
  readonly plan: (input: PlanInput) => Plan;
  /** Nothing has been done in Docker for the row yet. */
  readonly isNew?: boolean;
  /** What the executor needs besides the row, see {@link Execution}. */
  readonly resources?: Execution['resources'];
  readonly seed?: Execution['seed'];
  readonly mostLayerBytes?: number;
  /** The layer of a container that is replaced. */
  readonly layer?: LayerToKeep | null;
  /** Told of the progress, in place of the emission of `container_progress`. */
  readonly listeners?: Pick<Execution, 'onStep' | 'onCopy' | 'onLayer'>;
  /**
   * How the container is recovered before another plan if the name of a new one is taken, or the new one is broken.
   * `undo` leaves it running, as the next plan must find it. Absent: the operation fails.
   */
  readonly recoverAs?: 'reconcile' | 'undo';
  /** Called if Docker contradicts the plan: the observed state for the next one; null: the operation fails. */
  readonly onContradiction?: (code: EngineErrorCode) => Promise<ObservedState | null>;
  /** Called if the plan failed in Docker: whether the operation has succeeded nevertheless. */
  readonly hasSucceeded?: () => Promise<boolean>;
  /** Called once the plan has been executed. */
  readonly outcome: (results: StepResults) => Outcome | Promise<Outcome>;
  /**
   * If present, the plan's cleanup runs after the outcome is written, before the lease ends with this. If absent, the
   * cleanup runs in the background, after the lease has ended with the outcome.
   */
  readonly afterCleanup?: Outcome;
  /** Called with the row after the commit; must not throw. */
  readonly onCommitted?: (row: ContainerRow) => void;
}

/** What a successful operation has done. */
export interface Completed {
  /** The row as committed. */
  readonly row: ContainerRow;
  /** The row before the outcome. */
  readonly before: ContainerRow;
  /** Empty if no step was executed. */
  readonly results: StepResults;
}
