import { computed } from '@preact/signals';
import { accessWords } from '../words/access';
import { me } from './live';

/** Why the user may not see inside containers; null if they may. */
export const whyNotInside = computed(() => {
  if (me.value?.limits.exec === false) return accessWords.notOnTier;
  return me.value?.scopes.includes('exec') ? null : accessWords.notInScopes;
});

/** Whether the user may see inside containers; without that there are no statistics either. */
export const maySeeInside = computed(() => whyNotInside.value === null);
