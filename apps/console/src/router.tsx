import { computed, signal } from '@preact/signals';
import type { ComponentChildren, JSX } from 'preact';

/** Where the reader is; the fragment is the page's own, such as a container's tab. */
export const address = signal(here());
export const path = computed(() => address.value.path);

function here(): { path: string; query: URLSearchParams; fragment: string } {
  return {
    path: location.pathname,
    query: new URLSearchParams(location.search),
    fragment: location.hash.slice(1),
  };
}

const follow = (): void => void (address.value = here());
addEventListener('popstate', follow);
addEventListener('hashchange', follow);

/** Goes to another page of the console. @param replace without an entry of its own in the history */
export function navigate(to: string, { replace = false } = {}): void {
  history[replace ? 'replaceState' : 'pushState'](null, '', to);
  const before = address.value.path;
  follow();
  if (before !== address.value.path) scrollTo(0, 0);
}

/** Changes the query of the shown page, without a further entry in the history. An empty value removes a name. */
export function replaceQuery(changes: Readonly<Record<string, string>>): void {
  const query = new URLSearchParams(address.value.query);
  for (const [name, value] of Object.entries(changes)) {
    if (value === '') query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  navigate(`${address.value.path}${text && `?${text}`}`, { replace: true });
}

interface LinkProps {
  readonly href: string;
  readonly class?: string;
  readonly 'aria-current'?: 'page' | undefined;
  readonly 'aria-label'?: string;
  /** Shown on hover, for links that are an icon. */
  readonly title?: string;
  readonly children?: ComponentChildren;
}

/** A link within the console: a real one, that opens in a new tab like any. */
export function Link({ href, children, ...rest }: LinkProps): JSX.Element {
  const onClick = (event: MouseEvent): void => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    navigate(href);
  };
  return (
    <a href={href} onClick={onClick} {...rest}>
      {children}
    </a>
  );
}
