import { randomInt } from 'node:crypto';

const QUALITIES = [
  'amber',
  'brisk',
  'calm',
  'clear',
  'deep',
  'early',
  'fair',
  'keen',
  'lucid',
  'mild',
  'north',
  'quiet',
];
const THINGS = ['anchor', 'bay', 'beacon', 'buoy', 'cove', 'dock', 'harbor', 'keel', 'mast', 'pier', 'quay', 'tide'];

/** A name for a container whose user gave none, such as `quiet-harbor-4821`. */
export function generateName(): string {
  return `${pick(QUALITIES)}-${pick(THINGS)}-${String(randomInt(1000, 10_000))}`;
}

function pick(words: readonly string[]): string {
  return words[randomInt(words.length)] ?? 'berth';
}
