import type { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { JSONParser } from '@streamparser/json';
import { EngineError } from './engine-error';

/**
 * The elements of a JSON array, read while it arrives. Ten thousand containers are 12 MB; parsed at once, they would stop
 * everything else in this process for a tenth of a second.
 *
 * @throws EngineError `docker_unavailable` for anything but one whole array, as an answer that cannot be read is no answer
 */
export async function* jsonElements(stream: Readable): AsyncGenerator {
  let elements: unknown[] = [];
  let whole: unknown;
  // Without `keepStack` an element is let go of once it was given out; the array itself comes last.
  const parser = new JSONParser({ paths: ['$', '$.*'], keepStack: false });
  parser.onValue = ({ value, stack }) => {
    if (stack.length > 0) elements.push(value);
    else whole = value;
  };
  try {
    for await (const chunk of stream) {
      parser.write(chunk as Buffer);
      yield* elements;
      elements = [];
      // Node.js hands over up to 32 chunks in one turn of the event loop, 2 MB: others get their turn in between.
      await nextTurn();
    }
  } catch (error) {
    throw new EngineError('docker_unavailable', "Docker's answer cannot be read", { cause: error });
  }
  if (!Array.isArray(whole)) throw new EngineError('docker_unavailable', "Docker's answer is not a whole list");
}
