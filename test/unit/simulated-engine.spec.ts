// The same promises that the real engine keeps, where they are not about Docker or a real kernel.
import '../support/simulated';
import '../e2e/docker-engine.e2e-spec';
import '../e2e/docker-exec.e2e-spec';
import '../e2e/docker-process.e2e-spec';
