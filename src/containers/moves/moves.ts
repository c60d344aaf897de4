import { Injectable } from '@nestjs/common';
import { ContainerEngine } from '../../engine';
import { DomainError } from '../../errors';
import { findForOperator } from '../access/container-access';
import { type ContainerRow } from '../model/container.entity';
import { ContainerRepository } from '../rows/container.repository';
import { type ContainerMovedView, moved } from '../dto/responses';
import { RunPolicies } from '../policies/run-policy';
import { moving } from '../operations/move';
import { OperationRunner } from '../operations/operation-runner';
import type { NodeRow } from '../model/node.entity';
import { NodeRepository } from '../nodes/node.repository';

/** Moves containers between nodes, for administrators. */
@Injectable()
export class Moves {
  constructor(
    private readonly engine: ContainerEngine,
    private readonly repository: ContainerRepository,
    private readonly nodes: NodeRepository,
    private readonly policies: RunPolicies,
    private readonly operations: OperationRunner,
  ) {}

  /**
   * @param name the target node's name or id; absent: the node with the most room
   * @throws DomainError `container_not_found`, `ambiguous_id`, `not_clustered`, `node_not_found`, `same_node`,
   *   `wrong_pool`, and as {@link moving}
   */
  async move(id: string, name?: string): Promise<ContainerMovedView> {
    const row = await findForOperator(this.repository, id);
    if (this.engine.nodes.list() === null) throw new DomainError('not_clustered');
    const target = name === undefined ? null : await this.target(row, name);
    try {
      const { row: after, ...done } = await this.operations.run(
        row,
        moving(target === null ? {} : { node: target.id }),
      );
      const names = await this.repository.nodeNames([after]);
      return moved(after, { node: names.get(after.nodeId ?? '') ?? '', ...done });
    } catch (error) {
      if (target === null || !(error instanceof DomainError) || error.kind !== 'no_capacity') throw error;
      throw refused('no_capacity', this.whyNot(target), error);
    }
  }

  /** @throws DomainError `node_not_found`, `same_node`, `wrong_pool` */
  private async target(row: ContainerRow, name: string): Promise<NodeRow> {
    const node = await this.nodes.find(name);
    if (node?.forgottenAt !== null) throw refused('node_not_found', 'is not a node of the cluster');
    if (node.id === row.nodeId) throw refused('same_node', 'must be another node than the current one');
    const pool = await this.policies.poolOf(row.userId);
    if (node.pool !== pool) throw refused('wrong_pool', `must be in the pool "${pool}" of the user's tier`);
    return node;
  }

  private whyNot({ id, availability }: NodeRow): string {
    const node = this.engine.nodes.list()?.find((each) => each.id === id);
    if (!node?.isReachable) return 'is unreachable';
    if (node.problem !== null) return 'is currently unavailable';
    return node.availability === 'active' && availability === 'active' ? 'has not enough capacity' : 'is drained';
  }
}

function refused(kind: DomainError['kind'], message: string, cause?: DomainError): DomainError {
  const { fields, retryAfter } = cause?.options ?? {};
  const details = [{ field: 'node', message }];
  return new DomainError(kind, {
    fields: { ...fields, details },
    ...(retryAfter !== undefined && { retryAfter }),
    cause,
  });
}
