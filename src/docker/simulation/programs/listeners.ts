import { type Program, usage } from './program';

/** `nc -l -p 8080`: nothing comes, but the port is open, as what waits until a program is ready asks. */
const nc: Program = async (process, args) => {
  const port = Number(args.findLast((arg) => /^\d+$/.test(arg)));
  if (!args.some((arg) => /^-[a-z]*l/.test(arg)) || !(port > 0 && port < 65_536)) {
    return usage(process, 'nc: there is no network in a simulated container');
  }
  const { ports } = process.table;
  if (ports.has(port)) return usage(process, 'nc: Address already in use');
  ports.add(port);
  try {
    await process.sleep(Number.POSITIVE_INFINITY);
    return 0;
  } finally {
    ports.delete(port);
  }
};

export const LISTENERS: Readonly<Record<string, Program>> = { nc };
