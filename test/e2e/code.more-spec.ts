import { Sandbox } from '@e2b/code-interpreter';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TokenService } from '../../src/auth';
import { PreviewServer } from '../../src/previews';
import { buildCodeImage } from '../support/docker/every-day-image';
import { RealDocker } from '../support/docker/real-docker';
import { eventually } from '../support/eventually';
import { Berth, type NewUser } from '../support/servers/berth';

jest.setTimeout(15 * 60_000);

const IMAGE = 'berth/code:test';

const PLOT = `
plt.bar(['a', 'b'], [1, 2])
plt.show()
pd.DataFrame({'a': [1, 2, 3]})`;

const BOX_OPTIONS = ['patch_artist=True', 'orientation="horizontal", showmeans=True, meanline=True'];
const PLANE = { title: null, x_label: null, y_label: null, x_unit: null, y_unit: null };

/** Code that draws a figure, and what its chart has. */
const CHARTS: readonly (readonly [type: string, code: string, chart: object])[] = [
  [
    'line',
    `plt.plot([datetime.date(2024, 1, 1), datetime.date(2024, 1, 3)], [1, float("nan")], label='a')
plt.plot([datetime.date(2024, 1, 2)], [2])
plt.axhline(2)
plt.title('T'); plt.xlabel('Time (s)'); plt.ylabel('Level [dB]'); plt.yscale('symlog')`,
    {
      title: 'T',
      x_label: 'Time (s)',
      x_unit: 's',
      y_label: 'Level [dB]',
      y_unit: 'dB',
      x_scale: 'datetime',
      y_scale: 'symlog',
      x_ticks: expect.arrayContaining(['2024-01-01T00:00:00+00:00']),
      x_tick_labels: expect.arrayContaining([expect.any(String)]),
      elements: [
        {
          label: 'a',
          points: [
            ['2024-01-01T00:00:00+00:00', 1],
            ['2024-01-03T00:00:00+00:00', null],
          ],
        },
        { label: 'Line 1', points: [['2024-01-02T00:00:00+00:00', 2]] },
      ],
    },
  ],
  [
    'scatter',
    `plt.scatter(['a', 'b'], [3, 4], label='d', c=[1, 2]); plt.colorbar()`,
    {
      ...PLANE,
      x_scale: 'categorical',
      x_ticks: ['a', 'b'],
      x_tick_labels: ['a', 'b'],
      y_scale: 'linear',
      elements: [
        {
          label: 'd',
          points: [
            ['a', 3],
            ['b', 4],
          ],
        },
      ],
    },
  ],
  [
    'bar',
    `plt.bar([0.8, 1.8], [1, 2], 0.4, label='m', yerr=[.1, .2]); plt.bar([1.2, 2.2], [3, 4], 0.4)
plt.xticks([1, 2], ['k', 'l']); plt.axhline(2)`,
    {
      ...PLANE,
      elements: [
        { label: 'k', group: 'm', value: 1 },
        { label: 'l', group: 'm', value: 2 },
        { label: 'k', group: 'Group 1', value: 3 },
        { label: 'l', group: 'Group 1', value: 4 },
      ],
    },
  ],
  [
    'bar',
    `plt.barh([2020, 2021], [1, 2], label='m'); plt.xlabel('Mass (kg)'); plt.ylabel('Year')`,
    {
      x_label: 'Year',
      x_unit: null,
      y_label: 'Mass (kg)',
      y_unit: 'kg',
      elements: [
        { label: '2020', group: 'm', value: 1 },
        { label: '2021', group: 'm', value: 2 },
      ],
    },
  ],
  [
    'pie',
    `plt.pie([90, 10], labels=['x', 'y'], autopct='%1.1f%%', startangle=90)`,
    {
      elements: [
        { label: 'x', angle: 324, radius: 1 },
        { label: 'y', angle: 36, radius: 1 },
      ],
    },
  ],
  ...BOX_OPTIONS.map(
    (options) =>
      [
        'box_and_whisker',
        `plt.boxplot([[95, 89, 76, 91, 84, 87], [75, 82, 88, 79, 86]], tick_labels=['a', 'b'], ${options})`,
        {
          ...PLANE,
          elements: [
            { label: 'a', min: 84, first_quartile: 84.75, median: 88, third_quartile: 90.5, max: 95, outliers: [76] },
            { label: 'b', min: 75, first_quartile: 79, median: 82, third_quartile: 86, max: 88, outliers: [] },
          ],
        },
      ] as const,
  ),
  [
    'superchart',
    `_, (a, b, c) = plt.subplots(1, 3)
a.plot([1, 2]); a.set_title('A'); b.pie([1]); plt.suptitle('All')`,
    {
      title: 'All',
      elements: [
        expect.objectContaining({ type: 'line', title: 'A' }),
        { type: 'pie', title: null, elements: [{ label: '', angle: 360, radius: 1 }] },
      ],
    },
  ],
  ['unknown', `plt.imshow([[1, 2]]); plt.plot([0, 1]); plt.title('T')`, { title: 'T', elements: [] }],
  ['unknown', `plt.plot([1, 2]).pop().get_xydata = None`, { title: null, elements: [] }],
];

describe('the image that runs code', () => {
  const folder = mkdtempSync(join(tmpdir(), 'code-'));
  let berth: Berth;
  let user: NewUser;
  let sandbox: Sandbox;
  let path: string;

  beforeAll(async () => {
    await buildCodeImage(IMAGE);
    const images = join(folder, 'images.json');
    const image = { name: 'code', reference: IMAGE, description: 'Test', default: true, pull: 'never' };
    writeFileSync(images, JSON.stringify({ images: [image] }));
    const environment = { IMAGES_FILE: images, PREVIEW_PORT: '0' };
    berth = await Berth.start({ subject: 'code', environment });
    user = await berth.user('enterprise');
    const issued = { userId: user.id, name: 'e2b', scopes: ['read', 'write', 'exec'] as const, expiresAt: null };
    const apiKey = (await berth.app.get(TokenService).issue({ ...issued, format: 'e2b' })).text;
    const [apiUrl, sandboxUrl] = [`${berth.url}/e2b`, `${berth.url}/e2b`];
    // Without a template: that of the SDK is this image.
    sandbox = await Sandbox.create({ apiKey, apiUrl, sandboxUrl, envs: { FOO: 'bar' }, timeoutMs: 900_000 });
    path = `/api/containers/${sandbox.sandboxId}/run-code`;
  });
  afterAll(async () => {
    await berth.stop();
    await new RealDocker().docker.getImage(IMAGE).remove({ force: true });
    rmSync(folder, { recursive: true });
  });

  const run = (body: object) => user.api.call('POST', path, body);

  describe("with E2B's SDK", () => {
    it('runs Python, keeps its variables, and passes output on as it comes', async () => {
      const seen: string[] = [];
      const note = ({ line }: { line: string }): void => void seen.push(line);
      const first = await sandbox.runCode('import sys\nx = 1\nprint("out")\nprint("err", file=sys.stderr)', {
        onStdout: note,
        onStderr: note,
      });
      expect([first.logs, seen.sort()]).toEqual([{ stdout: ['out\n'], stderr: ['err\n'] }, ['err\n', 'out\n']]);
      const second = await sandbox.runCode('x += 1; x');
      expect([second.text, second.executionCount]).toEqual(['2', Number(first.executionCount) + 1]);
      const { error } = await sandbox.runCode('missing');
      expect(error).toMatchObject({ name: 'NameError', value: "name 'missing' is not defined" });
    });

    it('shows pictures and the data of tables, with libraries that are there at once', async () => {
      const { results, error } = await sandbox.runCode(PLOT, { timeoutMs: 120_000 });
      expect(error).toBeUndefined();
      expect(
        Buffer.from(results[0]?.png ?? '', 'base64')
          .subarray(1, 4)
          .toString(),
      ).toBe('PNG');
      expect(results[1]).toMatchObject({ isMainResult: true, data: { a: [1, 2, 3] } });
      expect(results[1]?.html).toContain('<table');
      const numbers = await sandbox.runCode('import scipy.stats; float(np.mean([1, 3]))');
      expect(numbers.text).toBe('2.0');
    });

    it('shows a picture that code saves to a file, once', async () => {
      const saved = await sandbox.runCode(
        "from PIL import Image; import io\nred = Image.new('RGB', (2, 2), 'red')\nred.save(io.BytesIO(), 'PNG')\nred.save('a.png')",
      );
      expect(saved.results.map(({ png }) => typeof png)).toEqual(['string']);
      const figure = await sandbox.runCode("plt.plot([1]); plt.savefig('b.png'); plt.show()");
      expect(figure.results).toHaveLength(1);
    });

    it.each(CHARTS)('has the data of a figure that is a chart of the type %s', async (type, code, chart) => {
      const { results, error } = await sandbox.runCode(`${code}\nplt.show()`, { timeoutMs: 60_000 });
      expect(error).toBeUndefined();
      expect(results).toHaveLength(1);
      expect(results[0]).toMatchObject({ png: expect.any(String), chart: { ...chart, type } });
    });

    it('bounds the data of a figure, which is a picture in any case', async () => {
      const many = await sandbox.runCode('plt.plot(np.arange(100_000)); plt.plot([1, 2]); plt.show()');
      const lines = many.results[0]?.chart?.elements as { points: [number, number][] }[];
      expect(lines.map(({ points }) => points.length)).toEqual([5_000, 2]);
      expect(lines[0]?.points[4_999]).toEqual([99_980, 99_980]);
      const broken = 'figure = plt.figure(); figure.add_subplot().plot([1]); figure.get_suptitle = None; plt.show()';
      const long = "for _ in range(500): plt.plot([1], label='\u00e9' * 2_000)\nplt.show()";
      for (const code of ['plt.figure(); plt.show()', broken, long]) {
        const { results, error } = await sandbox.runCode(code, { timeoutMs: 120_000 });
        expect(error).toBeUndefined();
        expect(results).toHaveLength(1);
        expect(results[0]?.chart).toBeUndefined();
      }
    });

    it("has the sandbox's variables, and those of a run for that run alone", async () => {
      const get = 'import os; os.environ.get("FOO"), os.environ.get("OWN")';
      expect((await sandbox.runCode(get, { envs: { FOO: 'own', OWN: 'x' } })).text).toBe("('own', 'x')");
      expect((await sandbox.runCode(get)).text).toBe("('bar', None)");
      const js = { language: 'js' };
      expect((await sandbox.runCode('process.env.FOO', { ...js, envs: { FOO: 'own' } })).text).toBe('own');
      expect((await sandbox.runCode('process.env.FOO', js)).text).toBe('bar');
      const { logs } = await sandbox.runCode('echo $FOO; pwd', { language: 'bash' });
      expect(logs.stdout.join('')).toBe('bar\n/home/user\n');
    });

    it('runs JavaScript with await, imports and variables that stay', async () => {
      const js = { language: 'javascript' };
      await sandbox.runCode("import { basename } from 'node:path'\nconst name = basename('/a/b')", js);
      expect((await sandbox.runCode('await Promise.resolve(name)', js)).text).toBe('b');
      const shown = await sandbox.runCode('console.log("out"); console.error("err"); ({ a: [1] })', js);
      expect([shown.logs, shown.text]).toEqual([{ stdout: ['out\n'], stderr: ['err\n'] }, '{ a: [ 1 ] }']);
      const { error } = await sandbox.runCode('null.x', js);
      expect(error?.name).toBe('TypeError');
      const waiting = await run({ code: 'await new Promise(() => {})', language: 'javascript', timeout_ms: 500 });
      expect(waiting.body).toMatchObject({ interrupted: 'timeout', restarted: false, running: false });
      expect((await sandbox.runCode('name', js)).text).toBe('b');
      const busy = await run({ code: 'for (;;) {}', language: 'javascript', timeout_ms: 500 });
      expect(busy.body).toMatchObject({ interrupted: 'timeout', restarted: true, running: false });
    });

    it('keeps contexts apart, lists, restarts and removes them', async () => {
      await sandbox.runCode('own = 1');
      const context = await sandbox.createCodeContext({ cwd: '/tmp' });
      expect(context).toMatchObject({ language: 'python', cwd: '/tmp' });
      const languages = (await sandbox.listCodeContexts()).map(({ language }) => language);
      expect(languages).toEqual(['python', 'javascript', 'bash', 'python']);
      expect((await sandbox.runCode('own', { context })).error?.name).toBe('NameError');
      expect((await sandbox.runCode('import os; y = 1; os.getcwd()', { context })).text).toBe('/tmp');
      await sandbox.restartCodeContext(context);
      expect((await sandbox.runCode('y', { context })).error?.name).toBe('NameError');
      await sandbox.removeCodeContext(context);
      expect(await sandbox.listCodeContexts()).toHaveLength(3);
      await expect(sandbox.runCode('1', { context })).rejects.toThrow(/no context/);
      await expect(sandbox.runCode('1', { language: 'ruby' })).rejects.toThrow(/no ruby: it runs python/);
    });

    it('interrupts code whose client has left, and the next code runs', async () => {
      await expect(sandbox.runCode('import time; time.sleep(300)', { timeoutMs: 1_000 })).rejects.toThrow(/timed out/);
      expect((await sandbox.runCode('own + 1', { timeoutMs: 20_000 })).text).toBe('2');
    });

    it('is reached below the preview domain too, and refuses requests without a secret', async () => {
      const target = { containerId: sandbox.sandboxId, port: 49_999 };
      const { port, host } = new URL(berth.app.get(PreviewServer).originOf(target) ?? '');
      const ask = (headers: Record<string, string>): Promise<Response> =>
        fetch(`http://127.0.0.1:${port}/contexts`, { headers: { host, ...headers } });
      const other = { 'e2b-traffic-access-token': '0'.repeat(64) };
      const below = { 'e2b-sandbox-id': sandbox.sandboxId, 'e2b-sandbox-port': '49999' };
      expect((await ask(other)).status).not.toBe(200);
      for (const headers of [below, { ...below, ...other }]) {
        expect((await fetch(`${berth.url}/e2b/contexts`, { headers })).status).toBe(401);
      }
    });
  });

  describe("by Berth's API", () => {
    it('restarts a kernel that does not heed an interrupt, and says so', async () => {
      const stubborn = 'import time\nwhile True:\n  try: time.sleep(60)\n  except BaseException: pass';
      const { body } = await run({ code: stubborn, timeout_ms: 1_000, context: 'stubborn' });
      expect(body).toMatchObject({ interrupted: 'timeout', restarted: true, exception: { name: 'KernelRestarted' } });
      expect((await run({ code: '1 + 1', context: 'stubborn' })).body).toMatchObject({
        results: [{ main: true, formats: { text: '2' } }],
        restarted: false,
      });
    });

    it('reports the death of a kernel with its last words', async () => {
      const { body } = await run({ code: 'import os; os.write(2, b"last words"); os.abort()', context: 'dying' });
      expect(body).toMatchObject({ restarted: true, exception: { name: 'KernelDied' } });
      expect((body['exception'] as { value: string }).value).toMatch(/SIGABRT/);
      expect((await run({ code: 'process.exit(3)', language: 'javascript' })).body).toMatchObject({
        exception: { name: 'KernelDied', value: expect.stringContaining('exit code 3') },
      });
      expect((await run({ code: '2', context: 'dying' })).body).toMatchObject({
        results: [{ formats: { text: '2' } }],
      });
    });

    it('keeps the output of detached code, which is read from an offset', async () => {
      const code = 'import time\nfor i in range(5):\n  print(i, flush=True)\n  time.sleep(0.2)';
      const { body: begun } = await run({ code, detached: true });
      expect(begun['running']).toBe(true);
      const { body } = await user.api.call('GET', `${path}/${String(begun['execution'])}`);
      expect(body).toMatchObject({ running: false, interrupted: null, stdout: '0\n1\n2\n3\n4\n' });
      const rest = await user.api.call(
        'GET',
        `${path}/${String(begun['execution'])}?after=${String(Number(body['next']) - 1)}`,
      );
      expect(rest.body).toMatchObject({ running: false, stdout: '', next: body['next'] });
    });

    it('begins anew with restart, and serves again after a restart of the container', async () => {
      await run({ code: 'own = 1', context: 'anew' });
      const { body } = await run({ code: 'own', context: 'anew', restart: true });
      expect(body).toMatchObject({ exception: { name: 'NameError' } });
      await user.api.stop(sandbox.sandboxId);
      await user.api.start(sandbox.sandboxId);
      expect((await run({ code: '1 + 1' })).body).toMatchObject({ results: [{ formats: { text: '2' } }] });
    });

    it('is served again after its server has been killed', async () => {
      const kill = { command: ['pkill', '-9', '-f', 'code/server.py'] };
      await user.api.call('POST', `/api/containers/${sandbox.sandboxId}/exec`, kill);
      await eventually(async () =>
        expect((await run({ code: '1 + 2' })).body).toMatchObject({ results: [{ formats: { text: '3' } }] }),
      );
    });
  });
});
