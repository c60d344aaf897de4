import type { ComponentType, JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { partWords } from '../words/parts';

/** What is shown by a script that is loaded when it is first needed. */
export function later<Props extends object>(load: () => Promise<ComponentType<Props>>): ComponentType<Props> {
  let loaded: ComponentType<Props> | undefined;
  return function Later(props: Props): JSX.Element {
    const [, redraw] = useState(0);
    const [hasFailed, setFailed] = useState(false);
    useEffect(() => {
      load().then(
        (component) => {
          loaded = component;
          redraw((before) => before + 1);
        },
        () => setFailed(true),
      );
    }, []);
    const Loaded = loaded;
    if (Loaded) return <Loaded {...props} />;
    if (!hasFailed)
      return (
        <p class="muted" role="status">
          {partWords.loading}
        </p>
      );
    // As after an update of the server: the page that is open asks for scripts that are no more.
    return (
      <p class="notice bad" role="alert">
        <span class="grow">{partWords.notLoaded}</span>
        <button type="button" class="button slim" onClick={() => location.reload()}>
          {partWords.loadAgain}
        </button>
      </p>
    );
  };
}
