// The same promises that the real engine keeps, where they are not about Docker or a real kernel.
import './simulated';
import './docker-engine.e2e-spec';
import './docker-exec.e2e-spec';
import './docker-process.e2e-spec';
