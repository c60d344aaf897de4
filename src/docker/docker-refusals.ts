import { EngineError } from './engine-error';
import { refusalOf } from './docker-errors';

/** Whether the daemon answered with exactly this status. */
export function hasStatus(error: unknown, status: number): boolean {
  return refusalOf(error)?.status === status;
}

/** Whether the object is gone, or another caller is removing it at this moment: for a removal both are success. */
export function isGoneOrGoing(error: unknown): boolean {
  const refusal = refusalOf(error);
  return refusal?.status === 404 || (refusal?.status === 409 && /already in progress/i.test(refusal.message));
}

/** Waits for a removal; gone already is success. */
export async function ignoringGone(call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!isGoneOrGoing(error)) throw error;
  }
}

/** Waits for a call whose refusal changes nothing; that no answer came is still thrown. */
export async function ignoringRefusal(call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (refusalOf(error) === null) throw error;
  }
}

/** @returns whether an inspection found its object */
export async function exists(inspection: Promise<unknown>): Promise<boolean> {
  try {
    const answer = await inspection;
    // docker-modem hands on bytes where it expected JSON and found none.
    if (Buffer.isBuffer(answer)) throw new EngineError('docker_unavailable', "Docker's answer cannot be read");
    return true;
  } catch (error) {
    if (hasStatus(error, 404)) return false;
    throw error;
  }
}

/** Docker 26.1 says 404 of a start whose network is gone, as of a container that is gone. */
export function isNetworkMissing(error: unknown): boolean {
  const refusal = refusalOf(error);
  return refusal?.status === 404 && /network .*not found/i.test(refusal.message);
}

/** Docker 26.1 says 403 of a container that is in the network already. */
export function isConnected(error: unknown): boolean {
  const refusal = refusalOf(error);
  return refusal?.status === 403 && /already exists in network/i.test(refusal.message);
}

/** Docker 26.1 says 500 of a container that is not paused. */
export function isNotPaused(error: unknown): boolean {
  return /is not paused/i.test(refusalOf(error)?.message ?? '');
}
