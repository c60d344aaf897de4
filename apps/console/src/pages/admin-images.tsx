import type { ImagePullView, ImageView } from '@berth/client';
import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { berth } from '../data/berth';
import { Empty, Listing, Meter, PageHead, Shown, Status, useLoaded, WorkButton } from '../ui/parts';
import { say } from '../ui/toasts';

/** The images of the catalogue, for administrators: whether they are available, and newer versions. */
export function Images(): JSX.Element {
  const loaded = useLoaded(async () => (await berth.account.images()).filter(({ template }) => template === null));
  return (
    <>
      <PageHead title="Images" aside={<span class="muted">Images that containers are created from</span>} />
      <Shown of={loaded}>
        {(images) => (
          <Listing
            items={images}
            caption="Images of the catalogue"
            columns={['Image', 'Status', 'Pulled']}
            hasActions
            empty={<Empty title="The catalogue is empty" />}
          >
            {(image) => <Row key={image.name} image={image} onPulled={() => void loaded.reload()} />}
          </Listing>
        )}
      </Shown>
    </>
  );
}

const POLICIES: Readonly<Record<ImageView['pull'], string>> = {
  missing: 'when missing',
  daily: 'once a day',
  always: 'at each creation of a container',
  never: 'never: built on the machine',
};

const RESULTS: Readonly<Record<ImagePullView['state'], (name: string) => string>> = {
  updated: (name) => `“${name}” has a new version. Existing containers keep theirs until they are recreated.`,
  unchanged: (name) => `“${name}” is up to date.`,
  pulling: (name) => `“${name}” is still being pulled.`,
};

function Row({ image, onPulled }: { readonly image: ImageView; readonly onPulled: () => void }): JSX.Element {
  const { name, reference, description, available, pull } = image;
  const [progress, setProgress] = useState<number | null>(null);
  const isLeft = useRef(false);
  useEffect(() => () => void (isLeft.current = true), []);

  const pullNow = async (): Promise<void> => {
    setProgress(0);
    try {
      // Answered after 20 s at the latest; the same request joins the pull that goes on.
      for (;;) {
        const answer = await berth.admin.pullImage(name);
        if (isLeft.current) return;
        setProgress(answer.progress);
        if (answer.state === 'pulling') continue;
        say(RESULTS[answer.state](name));
        onPulled();
        return;
      }
    } finally {
      setProgress(null);
    }
  };

  return (
    <tr>
      <td>
        <div class="two">
          <span class="chips">
            <strong>{name}</strong>
            {image.default && <span class="chip">offered first</span>}
          </span>
          <span class="muted">{description}</span>
          <span class="small faint mono wrap-anywhere">{reference}</span>
        </div>
      </td>
      <td>
        {progress === null ? (
          <Here of={available} missing={pull === 'never' ? 'Not built' : 'Not pulled'} />
        ) : (
          <div class="progress">
            <Status of="creating" word={progress > 0 ? `Pulling, ${String(progress)} %` : 'Pulling'} />
            <Meter value={progress} max={100.01} label={`Pull of ${name}`} />
          </div>
        )}
      </td>
      <td class="muted nowrap" data-name="pulled">
        {POLICIES[pull]}
      </td>
      <td class="actions-cell">
        <div class="actions">
          {pull !== 'never' && (
            <WorkButton class="button slim" aria-label={`Pull now: ${name}`} run={pullNow}>
              Pull now
            </WorkButton>
          )}
        </div>
      </td>
    </tr>
  );
}

function Here({ of, missing }: { readonly of: boolean | null; readonly missing: string }): JSX.Element {
  if (of === null) return <span class="muted">Unknown</span>;
  return of ? <Status of="ok" word="Available" /> : <Status of="stopped" word={missing} />;
}
