import { setImmediate as turn } from 'node:timers/promises';
import { OutputTurns } from './attachment';

const FRAME = 32 * 1024;

/** Sends `frames`, and notes its name for each. */
function flood(turns: OutputTurns, { name, frames, sent }: { name: string; frames: number; sent: string[] }): void {
  let left = frames;
  const sender = {
    sendFrame: (): number => {
      left -= 1;
      sent.push(name);
      if (left > 0) turns.add(sender);
      return FRAME;
    },
  };
  turns.add(sender);
}

describe('the turns of those who send output', () => {
  it('must be bounded each, and shared by all, one frame after the other', async () => {
    const turns = new OutputTurns();
    const sent: string[] = [];
    flood(turns, { name: 'a', frames: 100, sent });
    flood(turns, { name: 'b', frames: 100, sent });
    flood(turns, { name: 'c', frames: 2, sent });
    expect(sent).toEqual([]);
    const ofEach: number[] = [];
    while (sent.length < 202) {
      const before = sent.length;
      await turn();
      ofEach.push(sent.length - before);
    }
    expect(sent.slice(0, 8)).toEqual(['a', 'b', 'c', 'a', 'b', 'c', 'a', 'b']);
    expect(Math.max(...ofEach)).toBe(8);
    expect(sent.filter((name) => name === 'a')).toHaveLength(100);
  });

  it('must not be given to who has gone', async () => {
    const turns = new OutputTurns();
    const sendFrame = jest.fn(() => 0);
    const sender = { sendFrame };
    turns.add(sender);
    expect(turns.has(sender)).toBe(true);
    turns.delete(sender);
    await turn();
    await turn();
    expect(sendFrame).not.toHaveBeenCalled();
  });
});
