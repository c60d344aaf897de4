/**
 * The keys of a cluster: an authority of its own, a server's certificate for each node's Docker, and the client's,
 * which is Berth's. The client's key gives root on every node.
 */
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensurePackages } from '../apt.mjs';
import { run } from '../command.mjs';
import { removeFolder } from '../project.mjs';

const DAYS = '3650';
const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/**
 * Makes what is missing.
 * @param {string} folder for `ca.pem`, the client's `cert.pem` and `key.pem`, and `NODE.pem` and `NODE-key.pem`
 * @param {{ name: string, addresses: string[] }[]} nodes
 */
export async function makeCertificates(folder, nodes) {
  await ensurePackages({ openssl: 'openssl' });
  if (!existsSync(join(folder, 'ca.pem'))) await makeAuthority(folder);
  const leaves = nodes.map(({ name, addresses }) => {
    const names = [...addresses.map((address) => `IP:${address}`), `DNS:${name}`].join();
    return { name, use: 'serverAuth', names };
  });
  leaves.push({ name: 'client', use: 'clientAuth', names: 'DNS:berth' });
  for (const leaf of leaves) if (!existsSync(join(folder, certificateOf(leaf.name)))) await makeLeaf(folder, leaf);
}

/** Docker's own clients have these names in a folder of certificates. */
export const keyOf = (name) => (name === 'client' ? 'key.pem' : `${name}-key.pem`);
export const certificateOf = (name) => (name === 'client' ? 'cert.pem' : `${name}.pem`);

/** Under another name until it is whole. */
async function makeAuthority(folder) {
  const unfinished = `${folder}.new`;
  removeFolder(unfinished);
  removeFolder(folder);
  mkdirSync(unfinished, { recursive: true, mode: 0o700 });
  const extensions = ['basicConstraints=critical,CA:true', 'keyUsage=critical,keyCertSign,cRLSign'];
  const options = [...NEW_KEY, '-keyout', 'ca-key.pem', '-days', DAYS, '-subj', '/CN=Berth nodes'];
  const added = extensions.flatMap((extension) => ['-addext', extension]);
  await run('openssl', ['req', '-x509', ...options, '-out', 'ca.pem', ...added], { cwd: unfinished });
  renameSync(unfinished, folder);
}

async function makeLeaf(folder, { name, use, names }) {
  const openssl = (...args) => run('openssl', args, { cwd: folder });
  await openssl('req', ...NEW_KEY, '-keyout', keyOf(name), '-out', `${name}.csr`, '-subj', `/CN=${name}`);
  const extensions = ['basicConstraints=CA:false', `extendedKeyUsage=${use}`, `subjectAltName=${names}`];
  writeFileSync(join(folder, `${name}.ext`), `${extensions.join('\n')}\n`);
  const signed = ['-CA', 'ca.pem', '-CAkey', 'ca-key.pem', '-CAcreateserial', '-days', DAYS];
  const unfinished = `${certificateOf(name)}.new`;
  await openssl('x509', '-req', '-in', `${name}.csr`, ...signed, '-extfile', `${name}.ext`, '-out', unfinished);
  // The last: with it, all is there.
  renameSync(join(folder, unfinished), join(folder, certificateOf(name)));
}
