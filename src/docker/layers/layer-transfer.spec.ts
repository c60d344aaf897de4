import { setTimeout as sleep } from 'node:timers/promises';
import type { Readable, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { type LayerWork, transferLayer } from './layer-transfer';

const REFERENCE = 'berth/layer:c-g1';
const IMAGE = 'sha256:1';

/** A machine with images, which records what it is asked for. */
class Machine {
  readonly asked: string[] = [];
  /** Ids by names. */
  readonly names = new Map<string, string>();
  running = 0;

  constructor(
    images: readonly string[],
    private readonly work: 'done' | 'fails' | 'waits' = 'done',
  ) {
    for (const id of images) this.names.set(`name of ${id}`, id);
  }

  get engine(): Parameters<typeof transferLayer>[0] {
    const find = (name: string): Promise<{ id: string } | null> => {
      const id = this.names.get(name) ?? [...this.names.values()].find((each) => each === name);
      return Promise.resolve(id === undefined ? null : { id });
    };
    const remove = ({ reference }: { reference: string }): Promise<string> => {
      this.asked.push('remove');
      return Promise.resolve(this.names.delete(reference) ? 'removed' : 'gone');
    };
    const tag = ({ reference, id }: { reference: string; id: string }): Promise<void> => {
      this.asked.push('tag');
      this.names.set(reference, id);
      return Promise.resolve();
    };
    const send = (layer: LayerWork, output: Writable): Promise<void> =>
      this.working('send', layer, () => Promise.resolve(void output.end(this.names.get(layer.reference))));
    const receive = (layer: LayerWork, input: Readable): Promise<void> =>
      this.working('receive', layer, async () => void this.names.set(layer.reference, await text(input)));
    return { images: { find, tag, remove }, layers: { send, receive } } as Parameters<typeof transferLayer>[0];
  }

  private async working(what: string, { signal }: LayerWork, done: () => Promise<void>): Promise<void> {
    this.asked.push(what);
    if (this.work === 'fails') throw new Error('refused');
    if (this.work === 'done') return done();
    this.running += 1;
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    await sleep(20);
    this.running -= 1;
    throw signal.reason;
  }
}

const copy = { imageId: IMAGE, reference: REFERENCE };

describe('a copy of an image to another machine', () => {
  it('must have the name from the beginning, which the source loses', async () => {
    const [source, target] = [new Machine([IMAGE]), new Machine([])];
    expect(await transferLayer(source.engine, target.engine, copy)).toEqual({ bytes: IMAGE.length });
    expect(target.names).toEqual(new Map([[REFERENCE, IMAGE]]));
    expect(source.names).toEqual(new Map([[`name of ${IMAGE}`, IMAGE]]));
  });

  it('must only be named if the machine has it', async () => {
    const [source, target] = [new Machine([IMAGE]), new Machine([IMAGE])];
    expect(await transferLayer(source.engine, target.engine, copy)).toEqual({ bytes: 0 });
    expect([source.asked, target.asked]).toEqual([[], ['tag']]);
  });

  it.each(['source', 'target'] as const)('must be over on both sides when the %s has failed', async (failing) => {
    const source = new Machine([IMAGE], failing === 'source' ? 'fails' : 'waits');
    const target = new Machine([], failing === 'target' ? 'fails' : 'waits');
    await expect(transferLayer(source.engine, target.engine, copy)).rejects.toThrow('refused');
    expect([source.running, target.running]).toEqual([0, 0]);
    expect(source.names.has(REFERENCE)).toBe(false);
  });

  it('must fail if it is another image', async () => {
    const [source, target] = [new Machine([IMAGE]), new Machine([])];
    const { engine } = target;
    const receive = (layer: LayerWork, input: Readable): Promise<void> =>
      engine.layers.receive(layer, input).then(() => void target.names.set(REFERENCE, 'sha256:2'));
    const broken = { ...engine, layers: { ...engine.layers, receive } };
    await expect(transferLayer(source.engine, broken, copy)).rejects.toMatchObject({ code: 'copy_failed' });
  });
});
