import { Reconciler } from '../../../src/containers/reconcile/reconciler';
import type { Berth } from './berth';

/** Disables sweeps until the returned function is called. */
export async function holdSweeps({ app }: Berth): Promise<() => void> {
  const reconciler = app.get(Reconciler);
  const sweep = jest.spyOn(reconciler, 'sweep').mockResolvedValue();
  // Waits for a running sweep.
  await reconciler.sweepNow();
  return () => sweep.mockRestore();
}
