// Vercel's AI SDK as it is on npm, held against a running OPG in two dialects, by base URL and token alone.
// OPG_URL and OPG_TOKEN say where and who; any failed assertion ends it with a stack.

import assert from "node:assert/strict";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embedMany, generateText, isStepCount, streamText, tool } from "ai";
import { z } from "zod";

globalThis.AI_SDK_LOG_WARNINGS = false; // of each model it does not know
const { OPG_URL, OPG_TOKEN } = process.env;
const baseURL = `${OPG_URL}/v1`;
const make = (apiKey) => [createOpenAICompatible({ name: "opg", baseURL, apiKey }), createAnthropic({ baseURL, apiKey })];
const [openai, anthropic] = make(OPG_TOKEN);

function weather() {
  const asked = [];
  const execute = async ({ city }) => { asked.push(city); return `sun in ${city}`; };
  const get_weather = tool({ description: "Get current weather", inputSchema: z.object({ city: z.string() }), execute });
  return { asked, tools: { get_weather } };
}

const CALL = 'call get_weather {"city": "Oslo"}';

async function text(model) {
  const { text, usage, finishReason } = await generateText({ model, prompt: "hello" });
  assert.equal(finishReason, "stop");
  assert.ok(text && usage.inputTokens > 0 && usage.outputTokens > 0, JSON.stringify(usage));
  const streamed = streamText({ model, prompt: "hello" });
  let said = "";
  for await (const piece of streamed.textStream) said += piece;
  assert.equal(said, text);
  assert.equal(await streamed.finishReason, "stop");
}

// The whole loop: the model asks, the client runs its tool, the model is told.
async function loop(model) {
  const whole = weather();
  const stopWhen = isStepCount(3);
  const answer = await generateText({ model, prompt: CALL, tools: whole.tools, stopWhen });
  assert.deepEqual([whole.asked, answer.steps.length, answer.finishReason], [["Oslo"], 2, "stop"]);
  assert.match(answer.text, /sun in Oslo/);
  const live = weather();
  const streamed = streamText({ model, prompt: CALL, tools: live.tools, stopWhen });
  assert.match(await streamed.text, /sun in Oslo/);
  assert.deepEqual([live.asked, (await streamed.steps).length], [["Oslo"], 2]);
}

async function fails(work, status) {
  await assert.rejects(work, (error) => APICallError.isInstance(error) && error.statusCode === status);
}

for (const name of ["demo/assistant", "openai/scripted", "anthropic/scripted", "google/scripted"]) {
  for (const model of [openai(name), anthropic(name)]) {
    await text(model);
    await loop(model);
  }
}
for (const by of [openai, anthropic]) {
  await fails(generateText({ model: by("demo/nothing"), prompt: "x", maxRetries: 0 }), 404);
  await fails(generateText({ model: by("openai/limited"), prompt: "x", maxRetries: 0 }), 429);
}
for (const by of make("ocs_acme_wrong")) {
  await fails(generateText({ model: by("demo/assistant"), prompt: "x", maxRetries: 0 }), 401);
}
const vectors = await embedMany({ model: openai.embeddingModel("openai/scripted"), values: ["a", "bcd"] });
assert.deepEqual(vectors.embeddings, [[1, 0], [3, 1]]);
console.log("all is well");
