import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { berth } from '../data/berth';
import { nameOfPath, shownAs } from '../data/file-list';
import { bytes } from '../words/format';
import { commonWords } from '../words/common';
import { inWords } from '../words/errors';
import { fileWords } from '../words/files';

const { viewer: words } = fileWords;

interface FileViewerProps {
  readonly container: string;
  readonly path: string;
  readonly onEdit: () => void;
  readonly onDownload: () => void;
  readonly onClose: () => void;
}

interface Shown {
  readonly url: string;
  readonly size: number;
}

/** Shows an image or a PDF. Scripts in the file do not run: the page's Content-Security-Policy covers it. */
export function FileViewer({ container, path, onEdit, onDownload, onClose }: FileViewerProps): JSX.Element {
  const name = nameOfPath(path);
  const [shown, setShown] = useState<Shown | null>(null);
  const [fault, setFault] = useState<string | null>(null);
  const [dimensions, setDimensions] = useState<string | null>(null);
  const closing = useRef<HTMLButtonElement>(null);
  const { type, mostBytes } = shownAs(name) ?? { type: '', mostBytes: 0 };
  const isPdf = type === 'application/pdf';
  const isSvg = type === 'image/svg+xml';

  useEffect(() => {
    closing.current?.focus();
    const leaving = new AbortController();
    let url: string | null = null;
    const load = async (): Promise<void> => {
      if (isPdf && !navigator.pdfViewerEnabled) throw new Error(words.noPdfs);
      const file = await berth.files.read(container, path, { signal: leaving.signal });
      if ((file.size ?? 0) > mostBytes) {
        await file.stream.cancel();
        throw new Error(words.tooLarge(bytes(mostBytes)));
      }
      const content = await file.bytes();
      if (leaving.signal.aborted) return;
      // Opened in a tab of its own, an SVG of a `blob:` URL would be a page of this origin; `data:` is of none.
      url = isSvg ? await dataUrl(content, type) : URL.createObjectURL(new Blob([content], { type }));
      setShown({ url, size: content.length });
    };
    load().catch((error: unknown) => {
      if (!leaving.signal.aborted) setFault(inWords(error));
    });
    return () => {
      leaving.abort();
      if (url !== null) URL.revokeObjectURL(url);
    };
  }, []);

  return (
    <section class="panel viewer" aria-label={words.label(name)}>
      <div class="panel-head files-head">
        <h2 class="ellipsis">
          <span class="mono">{path}</span>
          {shown && (
            <span class="muted">
              {' '}
              · {bytes(shown.size)}
              {dimensions !== null && ` · ${dimensions}`}
            </span>
          )}
        </h2>
        <div class="actions">
          <button ref={closing} type="button" class="button slim" onClick={onClose}>
            {commonWords.close}
          </button>
          {isSvg && (
            <button type="button" class="button slim" onClick={onEdit}>
              {fileWords.editAsText}
            </button>
          )}
          <button type="button" class="button slim" onClick={onDownload}>
            {fileWords.download}
          </button>
        </div>
      </div>
      {fault !== null ? (
        <p class="panel-body muted" role="alert">
          {fault}
        </p>
      ) : shown === null ? (
        <p class="panel-body muted" role="status">
          {fileWords.loading}
        </p>
      ) : isPdf ? (
        <iframe class="viewer-frame" title={name} src={shown.url} />
      ) : (
        <div class="viewer-image">
          <img
            src={shown.url}
            alt={name}
            onLoad={({ currentTarget: { naturalWidth, naturalHeight } }) => {
              // An SVG need not have a size of its own.
              if (!isSvg) setDimensions(`${String(naturalWidth)} × ${String(naturalHeight)}`);
            }}
            onError={() => setFault(words.cannotShow)}
          />
        </div>
      )}
    </section>
  );
}

function dataUrl(content: Uint8Array<ArrayBuffer>, type: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as string);
    reader.onerror = () => reject(reader.error ?? new Error(words.cannotRead));
    reader.readAsDataURL(new Blob([content], { type }));
  });
}
