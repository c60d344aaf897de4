import { Reconciler } from '../../../src/containers/reconcile/reconciler';
import type { Berth } from './berth';

/** Nobody compares rows with Docker by itself any more, until the function that it returns is called. */
export async function holdSweeps({ app }: Berth): Promise<() => void> {
  const reconciler = app.get(Reconciler);
  const sweep = jest.spyOn(reconciler, 'sweep').mockResolvedValue();
  // Behind one that goes on.
  await reconciler.sweepNow();
  return () => sweep.mockRestore();
}
