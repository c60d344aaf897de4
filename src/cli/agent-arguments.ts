import { parseArgs } from 'node:util';
import { isTokenFormat } from '../auth/token.entity';

export const AGENT_USAGE = `Usage: npm run agent -- [--url URL] [--token TOKEN]

Connects this machine to a Berth server as an agent, reports its load and memory, and stays connected.

  --url URL        address of the server, such as https://berth.example (or BERTH_URL)
  --token TOKEN    agent token from POST /api/agents (or BERTH_AGENT_TOKEN, which keeps it out of the process list)

LOG_LEVEL sets the log level (default: info).
Exits with 77 if the token is permanently refused, and with 78 if another program connects with the same token.
`;

interface AgentArguments {
  /** Scheme, host and port. */
  readonly url: string;
  readonly token: string;
}

/** @returns the arguments, or all their faults */
export function parseAgentArguments(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): AgentArguments | { faults: string[] } {
  const option = { type: 'string' } as const;
  const { values, tokens } = parseArgs({
    args: [...args],
    options: { url: option, token: option },
    strict: false,
    tokens: true,
  });
  const faults = tokens.flatMap((given): string[] => {
    if (given.kind === 'positional') return [`unexpected argument: ${given.value}`];
    return given.kind === 'option' && !(given.name in KNOWN) ? [`unknown option: ${given.rawName}`] : [];
  });
  const value = (name: keyof typeof KNOWN): string => {
    const given = values[name] ?? environment[KNOWN[name]];
    return typeof given === 'string' ? given : '';
  };
  const url = originOf(value('url'));
  const token = value('token');
  if (value('url') === '') faults.push('--url or BERTH_URL is missing');
  else if (url === null) faults.push('--url must be http:// or https:// with a host, and no path');
  if (token === '') faults.push('--token or BERTH_AGENT_TOKEN is missing');
  else if (!isTokenFormat(token)) faults.push('--token must be berth_ and 64 hex, as POST /api/agents gave it');
  return faults.length > 0 || url === null ? { faults } : { url, token };
}

const KNOWN = { url: 'BERTH_URL', token: 'BERTH_AGENT_TOKEN' } as const;

function originOf(text: string): string | null {
  if (!URL.canParse(text)) return null;
  const { protocol, origin, pathname, search, hash, username } = new URL(text);
  const bare = pathname === '/' && `${search}${hash}${username}` === '';
  return bare && (protocol === 'http:' || protocol === 'https:') ? origin : null;
}
