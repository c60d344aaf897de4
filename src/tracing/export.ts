/** The exporter: costly, so it is loaded only if traces are exported. */
import { context, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';

/** Maximum time of a collector for a batch, in milliseconds; for the last batch, when the process ends, too. */
const PATIENCE_MS = 3_000;

/**
 * Sends all spans of this process to a collector, in batches. At most 2,048 wait; further ones are dropped.
 *
 * @returns a function that ends this: it sends the remaining spans, as far as the collector takes them
 */
export function exportSpans(endpoint: string, instance: string): () => Promise<void> {
  const exporter = new OTLPTraceExporter({
    url: `${endpoint.replace(/\/+$/, '')}/v1/traces`,
    timeoutMillis: PATIENCE_MS,
  });
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes({ 'service.name': 'berth', 'service.instance.id': instance }),
    spanProcessors: [new BatchSpanProcessor(exporter, { exportTimeoutMillis: PATIENCE_MS })],
  });
  const contexts = new AsyncLocalStorageContextManager().enable();
  context.setGlobalContextManager(contexts);
  trace.setGlobalTracerProvider(provider);
  return async () => {
    trace.disable();
    context.disable();
    await provider.shutdown().catch(() => undefined);
  };
}
