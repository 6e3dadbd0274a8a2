// An agent on the Vercel AI SDK, governed: one answer whole, one streamed.
//
//     npm install && SPANWARD_API_KEY=spw_agent_… OPENAI_API_KEY=… npm start

import { createOpenAI } from "@ai-sdk/openai";
import { generateText, streamText } from "ai";
import { spanwardFetch } from "./spanward.mjs";

const openai = createOpenAI({ fetch: spanwardFetch() });
const telemetry = { experimental_telemetry: { isEnabled: true } };
const question = { prompt: "Why is the sky blue?", maxOutputTokens: 300, ...telemetry };

try {
  console.log((await generateText({ model: openai("gpt-5-mini"), ...question })).text);
  const { fullStream } = streamText({ model: openai.chat("gpt-5-mini"), ...question, onError: () => {} });
  for await (const part of fullStream) {
    if (part.type === "error") throw part.error;
    if (part.type === "text-delta") process.stdout.write(part.text);
  }
  console.log();
} catch (error) {
  // The message names the budget, its window and its reset.
  console.error(error.message);
  process.exitCode = 1;
}
