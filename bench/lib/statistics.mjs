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
