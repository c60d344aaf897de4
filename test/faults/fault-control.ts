import { request } from 'node:http';

/**
 * `restart` ends a service in good order, `kill` does not, and starts it again. `empty` starts Docker again without
 * anything that it had, `refill` with all that it had before.
 */
export type Control = `/${'docker' | 'postgres' | 'redis'}/${'restart' | 'kill'}` | `/docker/${'empty' | 'refill'}`;

/**
 * Asks whoever brought the services (`scripts/lib/fault-services.mjs`) to do this to one. Resolves when it is there
 * again.
 */
export async function controlService(path: Control): Promise<void> {
  const socketPath = process.env['TEST_FAULTS_CONTROL'];
  if (socketPath === undefined) throw new Error('TEST_FAULTS_CONTROL is not set; `npm run test:faults` sets it');
  const [status, message] = await new Promise<[number | undefined, string]>((resolve, reject) => {
    const asking = request({ socketPath, path, method: 'POST', agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.once('end', () => resolve([response.statusCode, text])).once('error', reject);
    });
    asking.once('error', reject).end();
  });
  if (status !== 200) throw new Error(`${path} failed: ${message}`);
}
