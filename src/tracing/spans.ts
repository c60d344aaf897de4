import { type Attributes, context, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';

/**
 * Spans of OpenTelemetry. If nothing exports them, the API creates none and these functions do next to nothing.
 * Attributes are names and ids, never users' data.
 */
const tracer = () => trace.getTracer('berth');

/** Runs `work` in a span within the caller's. @throws what `work` throws; the span is then marked as failed */
export function inSpan<T>(name: string, attributes: Attributes, work: () => Promise<T>): Promise<T> {
  return tracer().startActiveSpan(name, { attributes }, async (span) => {
    try {
      return await work();
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR, message: error instanceof Error ? error.name : 'Error' });
      throw error;
    } finally {
      span.end();
    }
  });
}

/** Creates the span of a call that has just ended, within the caller's. @param outcome `ok`, or why not */
export function noteCall(name: string, { seconds, outcome }: { seconds: number; outcome: string }): void {
  const startTime = Date.now() - seconds * 1000;
  const span = tracer().startSpan(name, { kind: SpanKind.CLIENT, startTime, attributes: { outcome } });
  if (outcome !== 'ok') span.setStatus({ code: SpanStatusCode.ERROR, message: outcome });
  span.end();
}

/** Begins the span of a request. `next`, and everything that it starts, runs within it. */
export function beginRequest(attributes: Attributes, next: () => void): Span {
  const span = tracer().startSpan('HTTP', { kind: SpanKind.SERVER, attributes });
  context.with(trace.setSpan(context.active(), span), next);
  return span;
}
