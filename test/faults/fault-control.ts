import { request } from 'node:http';

/** Asks whoever brought the services (`scripts/lib/fault-services.mjs`) to end one and start it again. Resolves when it is there. */
export async function restartService(service: 'docker' | 'postgres' | 'redis', how: 'restart' | 'kill'): Promise<void> {
  const socketPath = process.env['TEST_FAULTS_CONTROL'];
  if (socketPath === undefined) throw new Error('TEST_FAULTS_CONTROL is not set; `npm run test:faults` sets it');
  const [status, message] = await new Promise<[number | undefined, string]>((resolve, reject) => {
    const asking = request({ socketPath, path: `/${service}/${how}`, method: 'POST', agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.once('end', () => resolve([response.statusCode, text])).once('error', reject);
    });
    asking.once('error', reject).end();
  });
  if (status !== 200) throw new Error(`${service} was not brought back: ${message}`);
}
