import type { ImageView } from '@berth/client';
import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { berth } from '../data/berth';
import { Empty, Listing, Meter, PageHead, Shown, Status, useLoaded, WorkButton } from '../ui/parts';
import { say } from '../ui/toasts';
import { imageWords } from '../words/admin-images';
import { commonWords } from '../words/common';

/** The images of the catalogue, for administrators: whether they are available, and newer versions. */
export function Images(): JSX.Element {
  const loaded = useLoaded(async () => (await berth.account.images()).filter(({ template }) => template === null));
  return (
    <>
      <PageHead title={imageWords.title} aside={<span class="muted">{imageWords.about}</span>} />
      <Shown of={loaded}>
        {(images) => (
          <Listing
            items={images}
            caption={imageWords.caption}
            columns={[commonWords.image, commonWords.status, imageWords.columns.pulled]}
            hasActions
            empty={<Empty title={imageWords.empty} />}
          >
            {(image) => <Row key={image.name} image={image} onPulled={() => void loaded.reload()} />}
          </Listing>
        )}
      </Shown>
    </>
  );
}

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
        say(imageWords.results[answer.state](name));
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
            {image.default && <span class="chip">{imageWords.default}</span>}
          </span>
          <span class="muted">{description}</span>
          <span class="small faint mono wrap-anywhere">{reference}</span>
        </div>
      </td>
      <td>
        {progress === null ? (
          <Here of={available} missing={pull === 'never' ? imageWords.notBuilt : imageWords.notPulled} />
        ) : (
          <div class="progress">
            <Status of="creating" word={progress > 0 ? imageWords.pullingPercent(progress) : imageWords.pulling} />
            <Meter value={progress} max={100.01} label={imageWords.pullOf(name)} />
          </div>
        )}
      </td>
      <td class="muted nowrap" data-name={imageWords.cells.pulled}>
        {imageWords.policies[pull]}
      </td>
      <td class="actions-cell">
        <div class="actions">
          {pull !== 'never' && (
            <WorkButton class="button slim" aria-label={imageWords.pullOneNow(name)} run={pullNow}>
              {imageWords.pullNow}
            </WorkButton>
          )}
        </div>
      </td>
    </tr>
  );
}

function Here({ of, missing }: { readonly of: boolean | null; readonly missing: string }): JSX.Element {
  if (of === null) return <span class="muted">{imageWords.unknown}</span>;
  return of ? <Status of="ok" word={imageWords.available} /> : <Status of="stopped" word={missing} />;
}
