// The @anthropic-ai/sdk package as it is on npm, held against a running OPG by base URL and token alone.
// OPG_URL and OPG_TOKEN say where and who, OPG_BARE_TOKEN an app without tools; any failed assertion ends it with a stack.

import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";

const { OPG_URL, OPG_TOKEN, OPG_BARE_TOKEN } = process.env;
const make = (apiKey) => new Anthropic({ baseURL: OPG_URL, apiKey, maxRetries: 0 });
const client = make(OPG_TOKEN);
const user = (content) => ({ role: "user", content });
const tools = [{
  name: "get_weather",
  description: "Get current weather",
  input_schema: { type: "object", properties: { city: { type: "string" } } },
}];
const max_tokens = 100;

async function message(model) {
  const answer = await client.messages.create({ model, max_tokens, messages: [user("hello")] });
  assert.deepEqual([answer.type, answer.role, answer.stop_reason], ["message", "assistant", "end_turn"]);
  assert.ok(answer.content[0].text && answer.usage.input_tokens > 0 && answer.usage.output_tokens > 0);
  const stream = client.messages.stream({ model, max_tokens, messages: [user("hello")] });
  let said = "";
  stream.on("text", (text) => { said += text; });
  const final = await stream.finalMessage();
  assert.equal(said, answer.content[0].text);
  assert.deepEqual(final.content[0].text, answer.content[0].text);
}

async function clientTools(model) {
  const messages = [user('call get_weather {"city": "Oslo"}')];
  const answer = await client.messages.create({ model, max_tokens, messages, tools });
  const streamed = await client.messages.stream({ model, max_tokens, messages, tools }).finalMessage();
  assert.equal(answer.stop_reason, "tool_use");
  assert.equal(streamed.stop_reason, "tool_use");
  const call = answer.content.find((block) => block.type === "tool_use");
  assert.deepEqual([call.name, call.input], ["get_weather", { city: "Oslo" }]);
  assert.deepEqual(streamed.content.find((block) => block.type === "tool_use").input, call.input);
  messages.push({ role: "assistant", content: answer.content });
  messages.push(user([{ type: "tool_result", tool_use_id: call.id, content: "rain" }]));
  const told = await client.messages.create({ model, max_tokens, messages, tools });
  assert.equal(told.stop_reason, "end_turn");
  assert.match(told.content[0].text, /rain/);
}

async function thinking() {
  const request = { model: "anthropic/thinker", max_tokens: 2000, thinking: { type: "enabled", budget_tokens: 1024 } };
  const messages = [user("think")];
  const bare = make(OPG_BARE_TOKEN);
  const answer = await bare.messages.stream({ ...request, messages }).finalMessage();
  assert.deepEqual(answer.content.map((block) => block.type), ["thinking", "redacted_thinking", "text"]);
  assert.deepEqual([answer.content[0].thinking, answer.content[0].signature], ["hm, yes", "seal-1"]);
  messages.push({ role: "assistant", content: answer.content }, user("and?"));
  await bare.messages.create({ ...request, messages });
}

async function errors() {
  const ask = (more, by = client) =>
    by.messages.create({ model: "demo/assistant", max_tokens, messages: [user("x")], ...more });
  await assert.rejects(ask({}, make("ocs_acme_wrong")), Anthropic.AuthenticationError);
  await assert.rejects(ask({ model: "demo/nothing" }), Anthropic.NotFoundError);
  await assert.rejects(ask({ temperature: 9 }), Anthropic.BadRequestError);
  await assert.rejects(ask({ model: "openai/limited" }), (error) =>
    error instanceof Anthropic.RateLimitError && error.headers.get("retry-after") === "7");
  await assert.rejects(async () => {
    for await (const _ of await ask({ model: "openai/broken", stream: true }));
  }, (error) => error instanceof Anthropic.APIError);
}

for (const model of ["demo/assistant", "openai/scripted", "anthropic/scripted", "google/scripted"]) {
  for (const check of [message, clientTools]) await check(model);
}
await thinking();
await errors();
console.log("all is well");
