import type { SelectQueryBuilder } from 'typeorm';
import type { ContainerEntity } from './container.entity';
import { jsonFragment, type LabelSelector } from './labels';

/**
 * Leaves only rows of `c` that match all the selectors. It reads the text of every row that is left by then: the query must be
 * narrowed to one user.
 */
export function whereLabels(
  query: SelectQueryBuilder<ContainerEntity>,
  selectors: readonly LabelSelector[] = [],
): void {
  const position = query.dataSource.options.type === 'postgres' ? 'strpos' : 'instr';
  for (const [at, selector] of selectors.entries()) {
    const parameter = `label${String(at)}`;
    query.andWhere(`${position}(c.labels, :${parameter}) > 0`, { [parameter]: jsonFragment(selector) });
  }
}
