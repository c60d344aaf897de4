import type { FileView } from '@berth/client';
import { useRef } from 'preact/hooks';
import { berth } from './berth';
import { downloadUrl, OWN_FILE } from './file-list';

/** A link is used for this long, of the minute that it is valid, in milliseconds: the drag takes time too. */
const USED_MS = 20_000;

interface DragProps {
  readonly draggable: true;
  readonly onPointerDown: (event: PointerEvent) => void;
  readonly onDragStart: (event: DragEvent) => void;
}

/**
 * Lets a file be dragged from the page to where Chromium saves files; other browsers know no such drags. What is
 * dragged has to be there at once, so the link is made when the mouse is pressed. A drag that is faster does not begin.
 */
export function useDragOut(container: string, { name, path }: Pick<FileView, 'name' | 'path'>): DragProps {
  const made = useRef<{ readonly url: string; readonly at: number } | null>(null);
  const isAsked = useRef(false);

  const linked = (): string | null =>
    made.current && performance.now() - made.current.at < USED_MS ? made.current.url : null;

  const ask = async (): Promise<void> => {
    isAsked.current = true;
    try {
      const { url } = await berth.files.link(container, path);
      made.current = { url, at: performance.now() };
    } catch {
      // Most presses are clicks, which need no link.
    } finally {
      isAsked.current = false;
    }
  };

  return {
    draggable: true,
    onPointerDown: ({ pointerType, button, shiftKey, ctrlKey, metaKey, target }) => {
      const isPress = pointerType === 'mouse' && button === 0 && !shiftKey && !ctrlKey && !metaKey;
      if (!isPress || (target as Element).closest('input') || isAsked.current || linked() !== null) return;
      void ask();
    },
    onDragStart: (event) => {
      const url = linked();
      if (url === null || !event.dataTransfer) {
        event.preventDefault();
        return;
      }
      event.dataTransfer.effectAllowed = 'copy';
      event.dataTransfer.setData('DownloadURL', downloadUrl(name, new URL(url, location.origin).href));
      event.dataTransfer.setData(OWN_FILE, '');
    },
  };
}
