import { signal } from '@preact/signals';

export type Theme = 'system' | 'light' | 'dark';

const KEY = 'berth.theme';
const THEMES: readonly Theme[] = ['system', 'light', 'dark'];

const kept = localStorage.getItem(KEY) as Theme | null;
export const theme = signal<Theme>(kept && THEMES.includes(kept) ? kept : 'system');
const systemIsDark = matchMedia('(prefers-color-scheme: dark)');
/** Which of the two is seen now; charts and terminals, which CSS does not reach, are drawn anew by it. */
export const isDark = signal(false);

/** Shows the page in the theme; CSS knows it by `color-scheme`. */
export function applyTheme(): void {
  const { value } = theme;
  document.documentElement.dataset['theme'] = value;
  isDark.value = value === 'dark' || (value === 'system' && systemIsDark.matches);
}

systemIsDark.addEventListener('change', applyTheme);

export function setTheme(next: Theme): void {
  localStorage.setItem(KEY, next);
  theme.value = next;
  applyTheme();
}
