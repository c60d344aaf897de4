import type { TemplateView } from '@berth/client';
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { berth } from '../data/berth';
import { cpus, megabytes, shortImage } from '../data/format';
import { address, navigate } from '../router';
import { ask } from '../ui/dialog';
import { PlusIcon } from '../ui/icons';
import { Menu } from '../ui/menu';
import { Ago, Empty, Listing, PageHead, Shown, useLoaded } from '../ui/parts';
import { TemplateDialog } from './template-dialog';

/** What a dialog is open for: the template that is replaced, or a new one, perhaps of a given snapshot. */
type Open = { readonly replaced: TemplateView } | { readonly snapshot: string | null };

/** The templates that containers can be created from, for administrators. */
export function AdminTemplates(): JSX.Element {
  const loaded = useLoaded(() => berth.admin.templates());
  const given = address.value.query.get('snapshot');
  const [open, setOpen] = useState<Open | null>(given === null ? null : { snapshot: given });
  const close = (): void => {
    setOpen(null);
    // A reload of the page does not open the dialog again.
    if (given !== null) navigate('/admin/templates', { replace: true });
  };
  const make = (): void => setOpen({ snapshot: null });
  return (
    <>
      <PageHead title="Templates" aside={<span class="muted">Starting points for containers</span>}>
        <button type="button" class="button primary" onClick={make}>
          <PlusIcon /> New template
        </button>
      </PageHead>
      <Shown of={loaded}>
        {(templates) => (
          <Listing
            items={templates}
            caption="Templates, by name"
            columns={['Name', 'Source', 'Defaults', 'Tiers', 'Changed']}
            hasActions
            empty={
              <Empty title="No templates yet">
                <p>
                  A template is an image, or the files of one of your snapshots, with default sizes, role, network and
                  start command. Users create containers from it by its name.
                </p>
                <button type="button" class="button" onClick={make}>
                  <PlusIcon /> Create the first template
                </button>
              </Empty>
            }
          >
            {(template) => (
              <Row
                key={template.name}
                template={template}
                onReplace={() => setOpen({ replaced: template })}
                onChange={() => void loaded.reload()}
              />
            )}
          </Listing>
        )}
      </Shown>
      {open && <TemplateDialog {...open} onClose={close} onSaved={() => void loaded.reload()} />}
    </>
  );
}

interface RowProps {
  readonly template: TemplateView;
  readonly onReplace: () => void;
  readonly onChange: () => void;
}

function Row({ template, onReplace, onChange }: RowProps): JSX.Element {
  const { name, version, description, image, snapshot, data, tiers, updated_at } = template;
  const remove = (): void =>
    ask({
      title: `Delete template “${name}”?`,
      text: 'No more containers can be created from it. Existing ones stay as they are.',
      action: 'Delete',
      run: async () => {
        await berth.admin.deleteTemplate(name);
        onChange();
      },
    });
  return (
    <tr>
      <td>
        <div class="two">
          <span class="chips">
            <strong class="wrap-anywhere">{name}</strong>
            <span class="chip">{version}</span>
          </span>
          {description !== null && <span class="small muted wrap-anywhere">{description}</span>}
        </div>
      </td>
      <td class="muted wrap-anywhere" data-name="from">
        {snapshot === null
          ? shortImage(image)
          : `a snapshot of ${shortImage(image)}, ${data ? 'with' : 'without'} data`}
      </td>
      <td class="muted" data-name="defaults">
        {defaultsOf(template)}
      </td>
      <td class="muted" data-name="tiers">
        {tiers === null ? 'all' : tiers.join(', ')}
      </td>
      <td class="muted nowrap" data-name="changed">
        <Ago time={updated_at} />
      </td>
      <td class="actions-cell">
        <div class="actions">
          <button type="button" class="button slim" aria-label={`Replace ${name}`} onClick={onReplace}>
            Replace
          </button>
          <Menu label={`More for ${name}`} items={[{ name: 'Delete', isDangerous: true, run: remove }]} />
        </div>
      </td>
    </tr>
  );
}

/** What a template sets for creations that give nothing else. */
function defaultsOf({ memory_mb, cpu_shares, disk_mb, role, network, start }: TemplateView): string {
  const parts = [
    memory_mb === null ? null : megabytes(memory_mb),
    cpu_shares === null ? null : cpus(cpu_shares),
    disk_mb === null ? null : `${megabytes(disk_mb)} disk`,
    role === null ? null : `role ${role}`,
    network === null ? null : `network ${typeof network === 'string' ? network : 'by list'}`,
    start === null ? null : `starts ${start.command[0] ?? ''}`,
  ].filter((part) => part !== null);
  return parts.length === 0 ? 'those of the tier' : parts.join(' · ');
}
