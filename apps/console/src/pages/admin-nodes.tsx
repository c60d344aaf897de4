import type { AmountView, BerthEvent, NodeView } from '@berth/client';
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { berth } from '../data/berth';
import { reservedInWords } from '../data/capacity';
import { count, cpus, megabytes } from '../words/format';
import { connection, events, now } from '../data/live';
import { ask } from '../ui/dialog';
import { later } from '../ui/later';
import { Menu, type MenuItem } from '../ui/menu';
import { Ago, Empty, Listing, Meter, PageHead, Shown, Status, useLoaded } from '../ui/parts';
import { say, sayFault } from '../ui/toasts';
import { nodeWords } from '../words/admin-nodes';

/** How often the page is reloaded, for changes without an event, such as those of other users' containers. */
const EVERY_MS = 30_000;

/** The events with which the page is reloaded: those of nodes, and of the user's own containers. */
const isTold = ({ type }: BerthEvent): boolean =>
  type.startsWith('node_') || (type.startsWith('container_') && type !== 'container_progress');

const DayCharts = later(async () => (await import('../ui/day-charts')).DayCharts);

/** With more nodes than these, the charts of each are shown when they are asked for. */
const FEW_NODES = 3;

/** The machines of a cluster, for administrators: their state, their capacity now and in the last day. */
export function Nodes(): JSX.Element {
  const told = events.value.find(isTold)?.seq ?? 0;
  const loaded = useLoaded(
    () => berth.admin.nodes(),
    [told, connection.value === 'live', Math.floor(now.value / EVERY_MS)],
  );
  const { columns } = nodeWords;
  return (
    <>
      <PageHead title={nodeWords.title} aside={<span class="muted">{nodeWords.about}</span>} />
      <Shown of={loaded}>
        {(nodes) => (
          <>
            <Listing
              items={nodes}
              caption={nodeWords.caption}
              columns={[columns.node, columns.state, columns.memory, columns.cpu, columns.containers]}
              hasActions
              empty={
                <Empty title={nodeWords.empty.title}>
                  <p>{nodeWords.empty.text}</p>
                </Empty>
              }
            >
              {(node) => <Row key={node.id} node={node} onChange={() => void loaded.reload()} />}
            </Listing>
            {nodes
              .filter(({ state }) => state !== 'forgotten')
              .map((node) => (
                <NodeCharts key={node.id} node={node} isOpen={nodes.length <= FEW_NODES} />
              ))}
          </>
        )}
      </Shown>
    </>
  );
}

interface NodeChartsProps {
  readonly node: NodeView;
  readonly isOpen: boolean;
}

/** The last day of a node. Its charts are loaded when they are opened. */
function NodeCharts({ node: { id, name, used }, isOpen }: NodeChartsProps): JSX.Element {
  const [wasOpened, setOpened] = useState(isOpen);
  return (
    <details class="node-charts" open={isOpen} onToggle={(event) => event.currentTarget.open && setOpened(true)}>
      <summary>
        <h2>{nodeWords.lastDay(name)}</h2>
      </summary>
      {wasOpened && (
        <DayCharts
          name={name}
          load={() => berth.admin.nodeHistory(id)}
          present={
            used.memory_mb === null || used.cpu_shares === null
              ? undefined
              : { memory_reserved_mb: used.memory_mb, cpu_reserved_shares: used.cpu_shares }
          }
        />
      )}
    </details>
  );
}

function Row({ node, onChange }: { readonly node: NodeView; readonly onChange: () => void }): JSX.Element {
  const { name, pool, address, is_manager, capacity, limit, used, containers, idle_containers: idle } = node;
  return (
    <tr>
      <td>
        <div class="two">
          <span class="chips">
            <strong>{name}</strong>
            {is_manager && <span class="chip">{nodeWords.manager}</span>}
            <span class="chip">{nodeWords.pool(pool)}</span>
          </span>
          <span class="small muted mono">{address.replace(/^tcp:\/\//, '')}</span>
        </div>
      </td>
      <td>
        <State of={node} />
      </td>
      <td data-name={nodeWords.cells.memory}>
        <Used
          of={{ reserved: used.memory_mb ?? 0, limit: limit.memory_mb, total: capacity.memory_mb }}
          show={megabytes}
          label={nodeWords.memoryOf(name)}
        />
      </td>
      <td data-name={nodeWords.cells.cpu}>
        <Used
          of={{ reserved: used.cpu_shares ?? 0, limit: limit.cpu_shares, total: capacity.cpu_shares }}
          show={cpus}
          label={nodeWords.cpuOf(name)}
        />
      </td>
      <td data-name={nodeWords.cells.containers}>
        {count(containers)} {idle > 0 && <span class="muted nowrap">{nodeWords.idle(count(idle))}</span>}
      </td>
      <td class="actions-cell">
        <div class="actions">
          <Menu label={nodeWords.moreFor(name)} items={itemsOf(node, onChange)} />
        </div>
      </td>
    </tr>
  );
}

/** Whether the node answers, and whether it gets containers. */
function State({ of }: { readonly of: NodeView }): JSX.Element {
  const { state, availability, problem, avoided, reachable_at } = of;
  if (state === 'forgotten') return <Status of="deleted" word={nodeWords.state.removed} />;
  if (state === 'unreachable') {
    return (
      <div class="two">
        <Status of="error" word={nodeWords.state.unreachable} />
        <span class="small muted">
          {reachable_at === null
            ? nodeWords.state.neverAnswered
            : nodeWords.state.lastAnswer(<Ago time={reachable_at} />)}
        </span>
      </div>
    );
  }
  const [look, word, why] =
    availability === 'active'
      ? (['ok', nodeWords.state.active, null] as const)
      : ([
          'warn',
          availability === 'drain' ? nodeWords.state.drained : nodeWords.state.paused,
          nodeWords.state.getsNone,
        ] as const);
  if (problem === null && why === null && avoided !== null) {
    return (
      <div class="two">
        <Status of="warn" word={nodeWords.state.avoided} />
        <span class="small muted">{nodeWords.state.avoidedFor(avoided.reason.replaceAll('_', ' '))}</span>
      </div>
    );
  }
  const says = problem ?? why;
  return (
    <div class="two">
      <Status of={problem === null ? look : 'warn'} word={problem === null ? word : nodeWords.state.unusable} />
      {says !== null && <span class="small muted">{says}</span>}
    </div>
  );
}

interface UsedProps {
  readonly of: AmountView;
  readonly show: (amount: number) => string;
  readonly label: string;
}

function Used({ of, show, label }: UsedProps): JSX.Element {
  const { reserved, limit } = of;
  return (
    <div class="progress">
      <span>
        {show(reserved)} <span class="muted">{reservedInWords(of, { show, machine: nodeWords.node })}</span>
      </span>
      {limit !== null && <Meter value={reserved} max={limit} label={label} />}
    </div>
  );
}

function itemsOf({ name, state, availability, containers }: NodeView, onChange: () => void): MenuItem[] {
  const drain = (): void =>
    ask({
      title: nodeWords.drain.question(name),
      text: nodeWords.drain.effect,
      action: nodeWords.drain.action,
      run: async () => {
        await berth.admin.drainNode(name);
        say(nodeWords.drain.done(name));
        onChange();
      },
    });
  const activate = async (): Promise<void> => {
    try {
      await berth.admin.activateNode(name);
      say(nodeWords.activate.done(name));
    } catch (error) {
      sayFault(error);
    }
    onChange();
  };
  const forget = (): void =>
    ask({
      title: nodeWords.remove.question(name),
      text: nodeWords.remove.effect(containers),
      action: nodeWords.remove.action,
      run: async () => {
        await berth.admin.forgetNode(name);
        onChange();
      },
    });
  return [
    availability === 'active'
      ? { name: nodeWords.drain.action, run: drain }
      : { name: nodeWords.activate.action, run: () => void activate() },
    ...(state === 'unreachable' ? [{ name: nodeWords.remove.item, isDangerous: true, run: forget }] : []),
  ];
}
