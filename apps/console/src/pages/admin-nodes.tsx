import type { BerthEvent, NodeView } from '@berth/client';
import type { JSX } from 'preact';
import { berth } from '../data/berth';
import { count, cpus, megabytes } from '../data/format';
import { connection, events, now } from '../data/live';
import { ask } from '../ui/dialog';
import { Menu, type MenuItem } from '../ui/menu';
import { Ago, Empty, Listing, Meter, PageHead, Shown, Status, useLoaded } from '../ui/parts';
import { say, sayFault } from '../ui/toasts';

/** How often the page is read again, for changes without an event, such as the usage of other users' containers. */
const EVERY_MS = 30_000;

/** With these events it is read again: what becomes of nodes, and of one's own containers on them. */
const isTold = ({ type }: BerthEvent): boolean =>
  type.startsWith('node_') || (type.startsWith('container_') && type !== 'container_progress');

/** The machines of a cluster, for administrators: how they are, what is used of them, and what is placed there. */
export function Nodes(): JSX.Element {
  const told = events.value.find(isTold)?.seq ?? 0;
  const loaded = useLoaded(
    () => berth.admin.nodes(),
    [told, connection.value === 'live', Math.floor(now.value / EVERY_MS)],
  );
  return (
    <>
      <PageHead title="Nodes" aside={<span class="muted">Machines that containers are placed on</span>} />
      <Shown of={loaded}>
        {(nodes) => (
          <Listing
            items={nodes}
            caption="Nodes, by name"
            columns={['Node', 'State', 'Memory', 'CPU', 'Containers']}
            hasActions
            empty={
              <Empty title="There is one machine">
                <p>With CLUSTER=swarm, containers are placed on the nodes of a Docker Swarm, which are listed here.</p>
              </Empty>
            }
          >
            {(node) => <Row key={node.id} node={node} onChange={() => void loaded.reload()} />}
          </Listing>
        )}
      </Shown>
    </>
  );
}

function Row({ node, onChange }: { readonly node: NodeView; readonly onChange: () => void }): JSX.Element {
  const { name, pool, address, is_manager, capacity, used, containers } = node;
  return (
    <tr>
      <td>
        <div class="two">
          <span class="chips">
            <strong>{name}</strong>
            {is_manager && <span class="chip">manager</span>}
            <span class="chip">pool {pool}</span>
          </span>
          <span class="small muted mono">{address.replace(/^tcp:\/\//, '')}</span>
        </div>
      </td>
      <td>
        <State of={node} />
      </td>
      <td data-name="memory">
        <Used of={used.memory_mb} total={capacity.memory_mb} show={megabytes} label={`Memory of ${name}`} />
      </td>
      <td data-name="CPU">
        <Used of={used.cpu_shares} total={capacity.cpu_shares} show={cpus} label={`CPU of ${name}`} />
      </td>
      <td data-name="containers">{count(containers)}</td>
      <td class="actions-cell">
        <div class="actions">
          <Menu label={`More for ${name}`} items={itemsOf(node, onChange)} />
        </div>
      </td>
    </tr>
  );
}

/** Whether it answers, and whether anything is placed there. */
function State({ of }: { readonly of: NodeView }): JSX.Element {
  const { state, availability, problem, avoided, reachable_at } = of;
  if (state === 'forgotten') return <Status of="deleted" word="Given up" />;
  if (state === 'unreachable') {
    return (
      <div class="two">
        <Status of="error" word="Does not answer" />
        <span class="small muted">
          {reachable_at === null ? (
            'Never has'
          ) : (
            <>
              Last answer <Ago time={reachable_at} />
            </>
          )}
        </span>
      </div>
    );
  }
  const [look, word, why] =
    availability === 'active'
      ? (['ok', 'Active', null] as const)
      : (['warn', availability === 'drain' ? 'Drained' : 'Paused', 'Nothing is placed there'] as const);
  if (problem === null && why === null && avoided !== null) {
    return (
      <div class="two">
        <Status of="warn" word="Avoided" />
        <span class="small muted">Creations fail there: {avoided.reason.replaceAll('_', ' ')}</span>
      </div>
    );
  }
  const says = problem ?? why;
  return (
    <div class="two">
      <Status of={problem === null ? look : 'warn'} word={problem === null ? word : 'Not usable'} />
      {says !== null && <span class="small muted">{says}</span>}
    </div>
  );
}

interface UsedProps {
  readonly of: number | null;
  readonly total: number | null;
  readonly show: (amount: number) => string;
  readonly label: string;
}

function Used({ of, total, show, label }: UsedProps): JSX.Element {
  return (
    <div class="progress">
      <span class="nowrap">
        {show(of ?? 0)} <span class="muted">{total === null ? 'of an unknown amount' : `of ${show(total)}`}</span>
      </span>
      {total !== null && <Meter value={of ?? 0} max={total} label={label} />}
    </div>
  );
}

function itemsOf({ name, state, availability, containers }: NodeView, onChange: () => void): MenuItem[] {
  const drain = (): void =>
    ask({
      title: `Drain “${name}”?`,
      text: 'No container is placed or started there any more. Those that run go on, and nothing is moved.',
      action: 'Drain',
      run: async () => {
        await berth.admin.drainNode(name);
        say(`“${name}” is drained.`);
        onChange();
      },
    });
  const activate = async (): Promise<void> => {
    try {
      await berth.admin.activateNode(name);
      say(`Containers are placed on “${name}” again.`);
    } catch (error) {
      sayFault(error);
    }
    onChange();
  };
  const forget = (): void =>
    ask({
      title: `Give “${name}” up for good?`,
      text:
        `The data of its ${count(containers)} ${containers === 1 ? 'container' : 'containers'} is lost: ` +
        'each is made anew, empty, on another node when it is started. Wait instead if the machine may come back.',
      action: 'Give up',
      run: async () => {
        await berth.admin.forgetNode(name);
        onChange();
      },
    });
  return [
    availability === 'active' ? { name: 'Drain', run: drain } : { name: 'Activate', run: () => void activate() },
    ...(state === 'unreachable' ? [{ name: 'Give up for good', isDangerous: true, run: forget }] : []),
  ];
}
