import { Readable } from 'node:stream';
import { jsonElements } from './streams';

describe.each([
  ['short', {}],
  ['long', { atOnce: 0 }],
])('a %s list in JSON', (_size, options) => {
  async function read(...chunks: string[]): Promise<unknown[]> {
    const elements: unknown[] = [];
    const stream = Readable.from(chunks.map((chunk) => Buffer.from(chunk)));
    for await (const element of jsonElements(stream, options)) elements.push(element);
    return elements;
  }

  const list = [
    { Id: 'a', Labels: { 'x]}"\\': 'é[{', '\\\\"},{"': '\\' } },
    { Id: 'b', Names: ['/n', null] },
    'c,"d',
    3,
    null,
    [],
    {},
  ];
  const bytes = Buffer.from(JSON.stringify(list));

  it.each([1, 2, 3, 7, 1000])('must be read element by element, cut anywhere: chunks of %i bytes', async (size) => {
    const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_each, index) =>
      bytes.subarray(index * size, (index + 1) * size),
    );
    const elements: unknown[] = [];
    for await (const element of jsonElements(Readable.from(chunks), options)) elements.push(element);
    expect(elements).toEqual(list);
  });

  it('must be empty only if Docker says so', async () => {
    expect(await read('[]')).toEqual([]);
    expect(await read(' [ ', ']\n')).toEqual([]);
  });

  it('may be null where that means that it is empty', async () => {
    const elements: unknown[] = [];
    const stream = Readable.from([Buffer.from('null')]);
    for await (const element of jsonElements(stream, { isNullEmpty: true })) elements.push(element);
    expect(elements).toEqual([]);
  });

  it.each([
    ['nothing', ['']],
    ['an object', ['{}']],
    ['an object with things in it', ['{"message":"no"}']],
    ['null', ['null']],
    ['half a list', ['[{"Id":"a"},{"Id"']],
    ['a list that is not closed', ['[{"Id":"a"}']],
    ['no JSON', ['<html>']],
    ['more behind it', ['[]', 'x']],
    ['another list behind it', ['[1,2]', ',[3,4]']],
    ['a list without its last element', ['[1,', ']']],
    ['a list without its first element', ['[', ',1]']],
    ['a list without one in the middle', ['[1,', ',2]']],
  ])('must be refused if it is %s', async (_what, chunks) => {
    await expect(read(...chunks)).rejects.toMatchObject({ code: 'docker_unavailable' });
  });

  it('must be refused if the connection breaks', async () => {
    const broken = new Readable({
      read() {
        this.push('[{"Id":"a"},');
        this.destroy(new Error('socket hang up'));
      },
    });
    const readAll = async () => {
      for await (const element of jsonElements(broken, options)) expect(element).toEqual({ Id: 'a' });
    };
    await expect(readAll()).rejects.toMatchObject({ code: 'docker_unavailable' });
  });
});

it('must be parsed chunk by chunk, with turns for other work, from when it is too long to be parsed at once', async () => {
  const chunks = Array.from({ length: 20 }, (_each, index) =>
    Buffer.from(`${index === 0 ? '[' : ','}"${'x'.repeat(99)}"`),
  );
  const stream = Readable.from([...chunks, Buffer.from(']')]);
  let turns = 0;
  const turn = (): void => {
    turns += 1;
    timer = setImmediate(turn);
  };
  let timer = setImmediate(turn);
  const seenIn = new Set<number>();
  for await (const _element of jsonElements(stream, { atOnce: 100 * (chunks.length - 1) })) seenIn.add(turns);
  clearImmediate(timer);
  expect(seenIn.size).toBe(chunks.length);
});
