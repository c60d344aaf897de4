import type { TemplateView } from '@berth/client';
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { berth } from '../data/berth';
import { cpus, megabytes, shortImage } from '../words/format';
import { address, navigate } from '../router';
import { ask } from '../ui/dialog';
import { PlusIcon } from '../ui/icons';
import { Menu } from '../ui/menu';
import { Ago, Empty, Listing, PageHead, Shown, useLoaded } from '../ui/parts';
import { adminTemplateWords } from '../words/admin-templates';
import { commonWords } from '../words/common';
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
  const { columns, empty } = adminTemplateWords;
  return (
    <>
      <PageHead title={adminTemplateWords.title} aside={<span class="muted">{adminTemplateWords.about}</span>}>
        <button type="button" class="button primary" onClick={make}>
          <PlusIcon /> {adminTemplateWords.create}
        </button>
      </PageHead>
      <Shown of={loaded}>
        {(templates) => (
          <Listing
            items={templates}
            caption={adminTemplateWords.caption}
            columns={[commonWords.name, columns.source, columns.defaults, columns.tiers, columns.changed]}
            hasActions
            empty={
              <Empty title={empty.title}>
                <p>{empty.text}</p>
                <button type="button" class="button" onClick={make}>
                  <PlusIcon /> {empty.create}
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
      title: adminTemplateWords.deleteQuestion(name),
      text: adminTemplateWords.deleteEffect,
      action: commonWords.delete,
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
      <td class="muted wrap-anywhere" data-name={adminTemplateWords.cells.source}>
        {snapshot === null
          ? shortImage(image)
          : adminTemplateWords.snapshotOf({ image: shortImage(image), hasData: data })}
      </td>
      <td class="muted" data-name={adminTemplateWords.cells.defaults}>
        {defaultsOf(template)}
      </td>
      <td class="muted" data-name={adminTemplateWords.cells.tiers}>
        {tiers === null ? adminTemplateWords.allTiers : tiers.join(', ')}
      </td>
      <td class="muted nowrap" data-name={adminTemplateWords.cells.changed}>
        <Ago time={updated_at} />
      </td>
      <td class="actions-cell">
        <div class="actions">
          <button
            type="button"
            class="button slim"
            aria-label={adminTemplateWords.replaceOne(name)}
            onClick={onReplace}
          >
            {adminTemplateWords.replace}
          </button>
          <Menu
            label={adminTemplateWords.moreFor(name)}
            items={[{ name: commonWords.delete, isDangerous: true, run: remove }]}
          />
        </div>
      </td>
    </tr>
  );
}

/** What a template sets for creations that give nothing else. */
function defaultsOf({ memory_mb, cpu_shares, disk_mb, role, network, start }: TemplateView): string {
  const words = adminTemplateWords.defaults;
  const parts = [
    memory_mb === null ? null : megabytes(memory_mb),
    cpu_shares === null ? null : cpus(cpu_shares),
    disk_mb === null ? null : words.disk(megabytes(disk_mb)),
    role === null ? null : words.role(role),
    network === null ? null : typeof network === 'string' ? words.network(network) : words.networkByList,
    start === null ? null : words.start(start.command[0] ?? ''),
  ].filter((part) => part !== null);
  return parts.length === 0 ? words.none : parts.join(' · ');
}
