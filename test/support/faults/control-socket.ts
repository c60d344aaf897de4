import { request } from 'node:http';

/** Asks the script that started the tests' services for an action. Resolves when it is done. */
export async function askForAction(socketPath: string, path: string): Promise<void> {
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
