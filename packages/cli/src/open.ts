import { spawn } from 'node:child_process';
import type { Command } from 'commander';
import { note, say, sayJson } from './output.ts';
import { findId, openSession, type Session } from './session.ts';

export function addOpenCommand(program: Command): void {
  program
    .command('open [container]')
    .description('Open the web console, or a container in it')
    .option('-p, --print', 'Only print the URL')
    .action(async (name: string | undefined, { print }: { print?: boolean }, command: Command) =>
      open(await openSession(command), name, print === true),
    );
}

/** The address has no token: the console asks for one, or has the session of an earlier visit. */
async function open(session: Session, name: string | undefined, isPrinted: boolean): Promise<void> {
  const url = await addressOf(session, name);
  if (session.isJson) sayJson({ url });
  else if (isPrinted || !(await isOpened(url))) say(url);
  else note(`opened ${url}`);
}

async function addressOf(session: Session, name: string | undefined): Promise<string> {
  const server = session.berth.url.replace(/\/+$/, '');
  if (name === undefined) return `${server}/`;
  const container = await session.berth.containers.get(await findId(session, name), { signal: session.signal });
  return `${server}/containers/${encodeURIComponent(container.db_id)}`;
}

/** How long a program that opens browsers may take to fail. One that still runs then has succeeded. */
const FAILS_WITHIN_MS = 1_500;

/** @returns false if there is no browser, or it could not be started */
function isOpened(url: string): Promise<boolean> {
  const opener = openerOf(url);
  if (!opener) return Promise.resolve(false);
  const [program, ...args] = opener;
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: 'ignore', detached: true });
    const timer = setTimeout(() => resolve(true), FAILS_WITHIN_MS);
    child.once('error', () => resolve(false));
    child.once('exit', (code) => resolve(code === 0));
    child.once('close', () => clearTimeout(timer));
    // The browser may outlive this process.
    child.unref();
  });
}

/** The program that opens a URL and its arguments, none of which a shell reads; null without a screen. */
function openerOf(url: string): readonly [program: string, ...args: string[]] | null {
  const { BROWSER, DISPLAY, WAYLAND_DISPLAY, WSL_DISTRO_NAME } = process.env;
  if (BROWSER !== undefined && BROWSER !== '') return [BROWSER, url];
  if (process.platform === 'darwin') return ['open', url];
  if (process.platform === 'win32') return ['rundll32', 'url.dll,FileProtocolHandler', url];
  if (WSL_DISTRO_NAME !== undefined) return ['wslview', url];
  return (DISPLAY ?? WAYLAND_DISPLAY) === undefined ? null : ['xdg-open', url];
}
