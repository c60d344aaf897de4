/**
 * @param {readonly number[]} values @param {number} share 0.5 is the median @returns {number} the nearest-rank quantile
 */
export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(sorted.length * share) - 1))];
}

/** @param {readonly number[]} values */
export function median(values) {
  return quantile(values, 0.5);
}

/**
 * What Berth takes more than its limit, of pairs that were measured one after the other: the median of the means of any
 * two differences (Hodges and Lehmann). What drifts on the machine is in both of a pair and cancels out, and one value
 * that is far off moves it no more than in a median, which needs half as many pairs again to be as sure.
 *
 * @param {readonly [readonly number[], readonly number[]]} times Berth's, and the limit's
 * @returns {{ measured: number, limit: number, error: number }} the limit's median, and with the difference added;
 *   `error`: that of the ratio of the two, a standard error
 */
export function paired([ours, theirs]) {
  const differences = ours.map((time, at) => time - theirs[at]);
  const means = differences.flatMap((one, at) => differences.slice(at).map((other) => (one + other) / 2));
  const limit = median(theirs);
  // The middle half of what is distributed normally is 1.35 standard deviations wide.
  const deviation = (quantile(differences, 0.75) - quantile(differences, 0.25)) / 1.35;
  return { measured: limit + median(means), limit, error: deviation / Math.sqrt(differences.length) / limit };
}

/** @param {() => Promise<unknown>} work @returns {Promise<number>} how long it took, in milliseconds */
export async function timed(work) {
  const since = performance.now();
  await work();
  return performance.now() - since;
}

/** @param {readonly (readonly [number, number])[]} points @returns {number} of the line that fits them best */
export function slope(points) {
  const mean = (at) => points.reduce((sum, point) => sum + point[at], 0) / points.length;
  const [x, y] = [mean(0), mean(1)];
  const spread = points.reduce((sum, point) => sum + (point[0] - x) ** 2, 0);
  return points.reduce((sum, point) => sum + (point[0] - x) * (point[1] - y), 0) / spread;
}
