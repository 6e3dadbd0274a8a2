// The agent's OpenTelemetry set-up, loaded first: node --import ./tracing.mjs agent.mjs
//
// Spans go where OTEL_EXPORTER_OTLP_ENDPOINT says, with the headers of OTEL_EXPORTER_OTLP_HEADERS.

import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { BatchSpanProcessor, NodeTracerProvider } from "@opentelemetry/sdk-trace-node";

const provider = new NodeTracerProvider({ spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())] });
provider.register();
process.once("beforeExit", () => provider.shutdown());
