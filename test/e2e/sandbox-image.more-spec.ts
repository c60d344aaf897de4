import { EngineSandbox } from '../support/docker/engine-sandbox';
import { buildEveryDayImage } from '../support/docker/every-day-image';

jest.setTimeout(15 * 60_000);

const IMAGE = 'berth/sandbox:every-day';

/** Beside the exit code, what a tool says shows that it works under gVisor. */
const TOOLS: [string, RegExp][] = [
  ['bash --version', /GNU bash/],
  ['curl --version', /^curl /],
  ['wget --version', /GNU Wget/],
  ['git init -q /tmp/repo && git -C /tmp/repo status', /No commits yet/],
  ['nano --version', /GNU nano/],
  ['vi --version', /VIM/],
  ['vim --version', /VIM/],
  ['less --version', /^less /],
  ['python3 -c "import ssl, json, sqlite3; print(sum(range(5)))"', /^10$/m],
  ['python3 -m venv /tmp/venv && /tmp/venv/bin/pip --version', /^pip .*\/tmp\/venv/],
  ['pip --version', /^pip /],
  ['printf "all:\\n\\techo made\\n" > /tmp/Makefile && make -sC /tmp', /^made$/m],
  ['echo \'{"a":[1,2]}\' | jq -c .a', /^\[1,2\]$/m],
  ['tmux -V && tmux new-session -d sleep 60 && tmux ls', /^tmux .*\n0: /],
  ['echo text | xz | xz -d', /^text$/m],
  ['unzip -v', /UnZip/],
  ['ssh -V 2>&1', /OpenSSH/],
  ['rsync --version', /^rsync /],
  ['ps -e', /berth-supervisor|sh/],
  ['ls /etc/ssl/certs/ca-certificates.crt', /ca-certificates/],
  ['apt-get --version', /^apt /],
  // A container that was started in advance has its name only later, in the environment of terminals.
  ['uname -n; cat /etc/hostname', /^named\nnamed$/m],
  ['bash -ic \'echo "${PS1@P}"\'', /root@named:.*# /],
  ['BERTH_NAME=later bash -ic \'echo "${PS1@P}"\'', /root@later:.*# /],
];

describe('the default image', () => {
  const sandbox = new EngineSandbox();
  const engine = sandbox.engine();
  let dockerId: string;

  beforeAll(async () => {
    await engine.host.prepare(sandbox.instance);
    await buildEveryDayImage(IMAGE);
    dockerId = await sandbox.running(engine, sandbox.spec({ image: IMAGE, hostname: 'named', memoryMb: 512 }));
  });

  afterAll(async () => {
    await sandbox.cleanUp();
    await sandbox.real.docker.getImage(IMAGE).remove({ force: true });
  });

  it.each(TOOLS)('must have the tools of every day: %s', async (command, says) => {
    expect(await sandbox.exec(dockerId, ['bash', '-c', command])).toMatch(says);
  });
});
