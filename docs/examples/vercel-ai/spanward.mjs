// A model call's fetch → the same fetch, after Spanward has said yes.
//
//     const openai = createOpenAI({ fetch: spanwardFetch() });
//
// The plain HTTP contract: POST /v1/decisions before the call, POST /v1/holds/{id}/settle or /void after it.
// It works wherever an SDK takes a `fetch` of yours, and needs only the API package of OpenTelemetry.

import { trace } from "@opentelemetry/api";

// By these a provider says that it generated nothing, so the hold's money is given back.
const NOT_CHARGED = new Set([400, 401, 403, 404, 413, 422, 429]);

/** The gate. `key` is an agent's key; `failMode` says what no answer means: `closed` no, `open` yes. */
export function spanwardFetch({
  endpoint = process.env.SPANWARD_ENDPOINT ?? "http://127.0.0.1:4320",
  key = process.env.SPANWARD_API_KEY,
  failMode = process.env.SPANWARD_FAIL_MODE ?? "closed",
  provider = "openai",
  send = globalThis.fetch,
} = {}) {
  const post = (path, body) =>
    fetch(endpoint + path, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(5_000),
    });

  // Nobody waits for a booking; one that is lost is made good by the call's span, or by the hold's expiry.
  const finish = (hold, verb, body = {}) => {
    if (hold) post(`/v1/holds/${hold.id}/${verb}`, body).catch(() => {});
  };

  return async (url, init = {}) => {
    const call = modelCall(init.body);
    if (!call) return send(url, init);

    let decision;
    try {
      // The key of an idempotent question is new for each attempt: a retry of the SDK is a call of its own.
      const question = { action: "llm.call", provider, ...call, idempotency_key: crypto.randomUUID() };
      const answer = await post("/v1/decisions", question);
      decision = await answer.json();
      if (!answer.ok) throw new Error(`${decision.message} ${decision.fix}`);
    } catch (error) {
      if (failMode === "open") return send(url, init);
      return refused(`Spanward could not be asked: ${error.message}`, "unavailable");
    }
    if (decision.verdict !== "allow") {
      const [why] = decision.reasons;
      return refused(`${why.message} ${why.fix} (decision ${decision.decision_id})`, why.rule);
    }

    // The AI SDK makes its span of the call the active one, so Spanward settles exactly this hold by it.
    trace.getActiveSpan()?.setAttribute("spanward.decision.id", decision.decision_id);
    const response = await send(url, init);
    if (NOT_CHARGED.has(response.status)) finish(decision.hold, "void");
    return response.ok ? watched(response, (usage) => finish(decision.hold, "settle", usage)) : response;
  };
}

/** What is about to be asked of a model; nothing for any other request. A token is never less than one byte. */
function modelCall(body) {
  if (typeof body !== "string") return undefined;
  const asked = JSON.parse(body);
  if (!asked.model) return undefined;
  return {
    model: asked.model,
    input_tokens: new TextEncoder().encode(body).length,
    max_output_tokens: asked.max_output_tokens ?? asked.max_completion_tokens ?? asked.max_tokens ?? null,
  };
}

/** An error response in the provider's shape: no SDK retries a 403, and its message is what the user reads. */
function refused(message, code) {
  const error = { message: `Spanward refused this call: ${message}`, type: "spanward_refused", param: null, code };
  return Response.json({ error }, { status: 403, headers: { "x-should-retry": "false" } });
}

/** The same answer; `settle` hears its usage once it has passed by whole. A stream that breaks off tells nothing. */
function watched(response, settle) {
  const streamed = response.headers.get("content-type")?.startsWith("text/event-stream");
  const decoder = new TextDecoder();
  let text = "";
  let usage;
  const read = (json) => {
    const event = JSON.parse(json);
    usage = event.usage ?? event.response?.usage ?? usage;
  };
  const passing = new TransformStream({
    transform(chunk, controller) {
      controller.enqueue(chunk);
      text += decoder.decode(chunk, { stream: true });
      if (!streamed) return;
      const lines = text.split("\n");
      text = lines.pop();
      for (const line of lines) if (line.startsWith("data: {") && line.includes('"usage"')) read(line.slice(6));
    },
    flush() {
      if (!streamed) read(text);
      if (!usage) return;
      settle({
        input_tokens: usage.prompt_tokens ?? usage.input_tokens,
        output_tokens: usage.completion_tokens ?? usage.output_tokens ?? 0,
      });
    },
  });
  return new Response(response.body.pipeThrough(passing), response);
}
