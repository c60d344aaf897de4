import { useEffect, useState, useSyncExternalStore } from 'react';

const NOTHING = { state: 'connecting', error: null, seq: 0, containers: new Map(), agents: new Map() };

/**
 * All containers of the client's user, always as they are.
 * @param {import('@berth/client').Berth} berth the same one at each call
 * @returns {import('@berth/client').WatchSnapshot}
 */
export function useContainers(berth) {
  const [watch, setWatch] = useState(null);
  useEffect(() => {
    const begun = berth.watch();
    setWatch(begun);
    return () => begun.close();
  }, [berth]);
  return useSyncExternalStore(watch?.subscribe ?? never, watch?.getSnapshot ?? nothing);
}

const never = () => () => undefined;
const nothing = () => NOTHING;
