import { refusedWith } from './exec-calls';

/** Docker's messages under gVisor (20240729), as they were seen. */
const prefix = 'OCI runtime exec failed: executing processes for container: ';
const NO_PROGRAM = `${prefix}executing command "nope -v" in sandbox: error finding executable "nope" in PATH [/bin]: no such file or directory: unknown`;
const DIRECTORY = `${prefix}executing command "/etc" in sandbox: failed to load /etc: permission denied: unknown`;
const FULL = `${prefix}executing command "true" in sandbox: try again: unknown`;
const NO_LOG =
  'OCI runtime exec failed: unable to retrieve OCI runtime error (open /run/log.json: no such file or directory): runsc did not terminate successfully: exit status 1: unknown';
const NO_WORD = 'OCI runtime exec failed: runsc did not terminate successfully: exit status 1: unknown';

describe('the refusal of a command', () => {
  it.each<[string, string, readonly string[], string]>([
    ['its program is missing', NO_PROGRAM, ['nope', '-v'], 'command_not_started'],
    ['its program is a directory', DIRECTORY, ['/etc'], 'command_not_started'],
    ['the name of its program cannot be compared', DIRECTORY, ['"rm"', '-f'], 'command_not_started'],
    ['the container is just ending', `${NO_WORD} connection refused`, ['true'], 'container_not_running'],
    ['the container has ended', 'cannot exec in a stopped container', ['true'], 'container_not_running'],
    ['the sandbox has no room for a process', FULL, ['true'], 'sandbox_full'],
    ['Docker fails in another way', 'something else', ['true'], 'docker_error'],
  ])('must be told by its reason where %s', (_what, words, command, code) => {
    expect(refusedWith(words, command)).toMatchObject({ code, message: `exec: ${words}` });
  });

  it.each<[string, string, readonly string[]]>([
    ['is about an earlier command that found no room', FULL, ['cat']],
    ['is about an earlier command', DIRECTORY, ['rm', '/bin/apt-get']],
    ['is about an earlier command whose name begins alike', NO_PROGRAM, ['no', '-v']],
    ['has no reason', NO_WORD, ['true']],
    ['has no reason, as there is no log', NO_LOG, ['true']],
  ])('must not say that the command did not start where the message %s', (_what, words, command) => {
    expect(refusedWith(words, command)).toMatchObject({ code: 'container_not_responding' });
  });
});
