import { type Attributes, context, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';

/**
 * Spans of OpenTelemetry. Where nothing exports them, the API makes none and these functions do next to nothing.
 * Attributes are names and ids, never what users wrote.
 */
const tracer = () => trace.getTracer('berth');

/** Runs `work` in a span, within that of whoever calls. @throws what `work` throws; the span has failed then */
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

/** A span of a call that has just ended, within that of whoever made it. @param outcome `ok`, or why not */
export function noteCall(name: string, { seconds, outcome }: { seconds: number; outcome: string }): void {
  const startTime = Date.now() - seconds * 1000;
  const span = tracer().startSpan(name, { kind: SpanKind.CLIENT, startTime, attributes: { outcome } });
  if (outcome !== 'ok') span.setStatus({ code: SpanStatusCode.ERROR, message: outcome });
  span.end();
}

/** Begins the span of a request, in which `next` and all that follows from it runs. */
export function beginRequest(attributes: Attributes, next: () => void): Span {
  const span = tracer().startSpan('HTTP', { kind: SpanKind.SERVER, attributes });
  context.with(trace.setSpan(context.active(), span), next);
  return span;
}
