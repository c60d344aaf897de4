import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import type { ListedContainerView } from '@berth/client';
import { berth } from '../data/berth';
import { megabytes, shortImage } from '../words/format';
import { events } from '../data/live';
import { Link } from '../router';
import { Ago, Empty, Listing, PageHead, Shown, useLoaded, WorkButton } from '../ui/parts';
import { say } from '../ui/toasts';
import { commonWords } from '../words/common';
import { deletedWords } from '../words/deleted';

/** No more than one page: who looks for an older one asks the API. */
async function listDeleted(): Promise<ListedContainerView[]> {
  const { items } = await berth.containers.list({ status: 'deleted', limit: 100 }).page();
  return items as ListedContainerView[];
}

/** What was deleted and can still be brought back. */
export function Deleted(): JSX.Element {
  const { columns, cells, none } = deletedWords;
  const loaded = useLoaded(listDeleted);
  const newest = events.value.find(({ type }) => type === 'container_deleted' || type === 'container_restored')?.seq;
  useEffect(() => {
    if (newest !== undefined) void loaded.reload();
  }, [newest]);
  const restore = async ({ db_id, name }: ListedContainerView): Promise<void> => {
    await berth.containers.restore(db_id);
    say(deletedWords.restored(name));
    await loaded.reload();
  };
  return (
    <>
      <PageHead title={deletedWords.title} aside={<span class="muted">{deletedWords.hint}</span>} />
      <Shown of={loaded}>
        {(deleted) => (
          <Listing
            items={deleted}
            caption={deletedWords.caption}
            columns={[columns.name, columns.image, columns.disk, columns.deleted, columns.removed]}
            hasActions
            empty={
              <Empty title={none.title}>
                <p>{none.hint}</p>
                <Link class="button" href="/">
                  {none.toContainers}
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
                <td class="muted nowrap" data-name={cells.disk}>
                  {megabytes(container.resources.disk_mb)}
                </td>
                <td class="muted nowrap" data-name={cells.deleted}>
                  <Ago time={container.deleted_at ?? container.updated_at} />
                </td>
                <td class="muted nowrap" data-name={cells.removed}>
                  {container.purge_at ? <Ago time={container.purge_at} /> : commonWords.never}
                </td>
                <td class="actions-cell">
                  <div class="actions">
                    <WorkButton
                      class="button slim"
                      aria-label={deletedWords.restoreOf(container.name)}
                      run={() => restore(container)}
                    >
                      {deletedWords.restore}
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
