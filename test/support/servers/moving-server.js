/**
 * Loaded into a server process before all else (`NODE_OPTIONS=--require`): real Docker is taken for one that keeps disk
 * quotas, so data is moved, and Docker is not asked for what it cannot do.
 */
const { join } = require('node:path');
const { SandboxHost } = require(join(process.cwd(), 'dist/src/docker/host/sandbox-host.js'));

const { get } = Object.getOwnPropertyDescriptor(SandboxHost.prototype, 'capabilities');
Object.defineProperty(SandboxHost.prototype, 'capabilities', {
  get() {
    return { ...get.call(this), volumeResize: 'move' };
  },
});
