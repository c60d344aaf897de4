import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import type { ListedContainerView } from '@berth/client';
import { berth } from '../data/berth';
import { shortImage } from '../data/format';
import { events } from '../data/live';
import { Link } from '../router';
import { Ago, Empty, Listing, PageHead, Shown, useLoaded, WorkButton } from '../ui/parts';
import { DiskSize } from '../ui/resources';
import { say } from '../ui/toasts';

/** No more than one page: who looks for an older one asks the API. */
async function listDeleted(): Promise<ListedContainerView[]> {
  const { items } = await berth.containers.list({ status: 'deleted', limit: 100 }).page();
  return items as ListedContainerView[];
}

/** What was deleted and can still be brought back. */
export function Deleted(): JSX.Element {
  const loaded = useLoaded(listDeleted);
  const newest = events.value.find(({ type }) => type === 'container_deleted' || type === 'container_restored')?.seq;
  useEffect(() => {
    if (newest !== undefined) void loaded.reload();
  }, [newest]);
  const restore = async ({ db_id, name }: ListedContainerView): Promise<void> => {
    await berth.containers.restore(db_id);
    say(`“${name}” is back, stopped.`);
    await loaded.reload();
  };
  return (
    <>
      <PageHead title="Deleted" aside={<span class="muted">Kept for a while, with their data</span>} />
      <Shown of={loaded}>
        {(deleted) => (
          <Listing
            items={deleted}
            caption="Deleted containers, the newest first"
            columns={['Name', 'Image', 'Disk size', 'Deleted', 'Removed for good']}
            hasActions
            empty={
              <Empty title="Nothing here">
                <p>Containers that you delete can be restored from here until their data is removed for good.</p>
                <Link class="button" href="/">
                  To your containers
                </Link>
              </Empty>
            }
          >
            {(container) => (
              <tr key={container.db_id}>
                <td>
                  <strong>{container.name}</strong>
                </td>
                <td class="muted">{shortImage(container.image)}</td>
                <td class="muted nowrap" data-name="disk size">
                  <DiskSize mb={container.resources.disk_mb} />
                </td>
                <td class="muted nowrap" data-name="deleted">
                  <Ago time={container.deleted_at ?? container.updated_at} />
                </td>
                <td class="muted nowrap" data-name="for good">
                  {container.purge_at ? <Ago time={container.purge_at} /> : 'never'}
                </td>
                <td class="actions-cell">
                  <div class="actions">
                    <WorkButton
                      class="button slim"
                      aria-label={`Restore ${container.name}`}
                      run={() => restore(container)}
                    >
                      Restore
                    </WorkButton>
                  </div>
                </td>
              </tr>
            )}
          </Listing>
        )}
      </Shown>
    </>
  );
}
