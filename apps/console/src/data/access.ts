import { computed } from '@preact/signals';
import { me } from './live';

/** Why the user may not see inside containers; null if they may. */
export const whyNotInside = computed(() => {
  if (me.value?.limits.exec === false) return 'Your tier does not allow access to the inside of containers';
  return me.value?.scopes.includes('exec') ? null : 'Your token lacks the scope “exec”, which this needs';
});

/** Whether the user may see inside containers; without that there are no statistics either. */
export const maySeeInside = computed(() => whyNotInside.value === null);
