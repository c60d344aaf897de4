import type { EngineNode } from './engine-nodes';
import { containerFields, nodeName, SINGLE_MACHINE } from './engine-nodes';

describe('the fields of a log line', () => {
  const nodes = { list: () => [{ id: 'qx1k0z', name: 'node-3' } as EngineNode] };

  it('name a node as people know it, and by its id if it is not known', () => {
    expect([nodeName(nodes, 'qx1k0z'), nodeName(nodes, 'other'), nodeName(nodes, null)]).toEqual([
      'node-3',
      'other',
      null,
    ]);
  });

  it('name a container by the id of its engine, and beside it the node', () => {
    expect(containerFields(nodes, 'qx1k0z/abc')).toEqual({ docker_id: 'abc', node: 'node-3' });
    expect(containerFields(SINGLE_MACHINE, 'abc')).toEqual({ docker_id: 'abc' });
    expect(containerFields(nodes, null)).toEqual({ docker_id: null });
  });
});
