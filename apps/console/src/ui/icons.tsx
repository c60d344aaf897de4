import type { ComponentChildren, JSX } from 'preact';

export function Icon({ children }: { readonly children: ComponentChildren }): JSX.Element {
  return (
    <svg
      width="16"
      height="16"
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      stroke-width="1.5"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      {children}
    </svg>
  );
}

export const CrossIcon = (): JSX.Element => (
  <Icon>
    <path d="M4 4l8 8M12 4l-8 8" />
  </Icon>
);

export const DotsIcon = (): JSX.Element => (
  <Icon>
    <path d="M3.5 8h.01M8 8h.01M12.5 8h.01" stroke-width="2.2" />
  </Icon>
);

export const FolderIcon = (): JSX.Element => (
  <Icon>
    <path d="M2 4.5a1 1 0 0 1 1-1h3l1.5 1.8H13a1 1 0 0 1 1 1V12a1 1 0 0 1-1 1H3a1 1 0 0 1-1-1z" />
  </Icon>
);

export const FileIcon = (): JSX.Element => (
  <Icon>
    <path d="M4 2.5h5L12.5 6v7a.5.5 0 0 1-.5.5H4a.5.5 0 0 1-.5-.5V3a.5.5 0 0 1 .5-.5zM9 2.5V6h3.5" />
  </Icon>
);

export const LinkIcon = (): JSX.Element => (
  <Icon>
    <path d="M6.5 9.5l3-3M7 4.8l1.3-1.3a3 3 0 0 1 4.2 4.2L11.2 9M9 11.2l-1.3 1.3a3 3 0 0 1-4.2-4.2L4.8 7" />
  </Icon>
);

export const PlusIcon = (): JSX.Element => (
  <Icon>
    <path d="M8 3v10M3 8h10" />
  </Icon>
);

export const PromptIcon = (): JSX.Element => (
  <Icon>
    <path d="M3 4.5l3.5 3.5L3 11.5M8.5 11.5H13" />
  </Icon>
);

export const GlobeIcon = (): JSX.Element => (
  <Icon>
    <circle cx="8" cy="8" r="5.5" />
    <path d="M2.5 8h11M8 2.5c2 1.6 2.6 3.4 2.6 5.5S10 11.9 8 13.5C6 11.9 5.4 10.1 5.4 8S6 4.1 8 2.5z" />
  </Icon>
);

export const ArrowIcon = ({ isUp }: { readonly isUp: boolean }): JSX.Element => (
  <Icon>
    <path d={isUp ? 'M8 13V3M4 7l4-4 4 4' : 'M8 3v10M4 9l4 4 4-4'} />
  </Icon>
);

export const SearchIcon = (): JSX.Element => (
  <Icon>
    <path d="M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.3 10.3L14 14" />
  </Icon>
);

export const ThemeIcon = (): JSX.Element => (
  <Icon>
    <circle cx="8" cy="8" r="5.5" />
    <path d="M8 2.5a5.5 5.5 0 0 1 0 11z" fill="currentColor" />
  </Icon>
);

export const Mark = (): JSX.Element => (
  <svg viewBox="0 0 32 32" aria-hidden="true">
    <rect width="32" height="32" rx="7" fill="#0b5c8a" />
    <path d="M8 9v10a8 8 0 0 0 16 0V9" fill="none" stroke="#fff" stroke-width="3" stroke-linecap="round" />
    <rect x="12.5" y="8" width="7" height="9" rx="1.6" fill="#7fd0ff" />
  </svg>
);
