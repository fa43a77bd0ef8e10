// The openai package's responses and embeddings, held against a running OPG.
// OPG_URL and OPG_TOKEN say where and who; any failed assertion ends it with a stack.

import assert from "node:assert/strict";
import OpenAI from "openai";

const { OPG_URL, OPG_TOKEN } = process.env;
const client = new OpenAI({ baseURL: `${OPG_URL}/v1`, apiKey: OPG_TOKEN, maxRetries: 0 });
const tools = [{
  type: "function",
  name: "get_weather",
  description: "Get current weather",
  parameters: { type: "object", properties: { city: { type: "string" } } },
}];

async function response(model) {
  const answer = await client.responses.create({ model, input: "hello" });
  assert.deepEqual([answer.object, answer.status, answer.model], ["response", "completed", model]);
  assert.ok(answer.output_text && answer.usage.total_tokens > 0);
  const final = await client.responses.stream({ model, input: "hello" }).finalResponse();
  assert.equal(final.output[0].content[0].text, answer.output_text);
}

async function clientTools(model) {
  const input = [{ role: "user", content: 'call get_weather {"city": "Oslo"}' }];
  const answer = await client.responses.create({ model, input, tools });
  const streamed = await client.responses.stream({ model, input, tools }).finalResponse();
  const call = answer.output.find((item) => item.type === "function_call");
  assert.equal(call.name, "get_weather");
  assert.deepEqual(JSON.parse(call.arguments), { city: "Oslo" });
  assert.equal(streamed.output.find((item) => item.type === "function_call").arguments, call.arguments);
  input.push(...answer.output, { type: "function_call_output", call_id: call.call_id, output: "rain" });
  const told = await client.responses.create({ model, input, tools });
  assert.match(told.output_text, /rain/);
}

async function errors() {
  const ask = (more) => client.responses.create({ model: "demo/assistant", input: "x", ...more });
  await assert.rejects(ask({ model: "demo/nothing" }), (error) =>
    error instanceof OpenAI.NotFoundError && error.code === "model_not_found");
  await assert.rejects(ask({ model: "openai/limited" }), (error) =>
    error instanceof OpenAI.RateLimitError && error.headers.get("retry-after") === "7");
  await assert.rejects(async () => {
    for await (const _ of await ask({ model: "openai/broken", stream: true }));
  }, (error) => error instanceof OpenAI.APIError && Boolean(error.code));
}

for (const model of ["demo/assistant", "openai/scripted", "responses/scripted", "anthropic/scripted", "google/scripted"]) {
  for (const check of [response, clientTools]) await check(model);
}
await errors();
const vectors = await client.embeddings.create({ model: "openai/scripted", input: ["a", "bcd"] });
assert.deepEqual(vectors.data.map((item) => item.embedding), [[1, 0], [3, 1]]);
console.log("all is well");
