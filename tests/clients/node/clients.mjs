// The openai package as it is on npm, held against a running OPG.
// OPG_URL and OPG_TOKEN say where and who; any failed assertion ends it with a stack.

import assert from "node:assert/strict";
import OpenAI from "openai";

const { OPG_URL, OPG_TOKEN } = process.env;
const make = (apiKey) => new OpenAI({ baseURL: `${OPG_URL}/v1`, apiKey, maxRetries: 0 });
const client = make(OPG_TOKEN);
const user = (content) => ({ role: "user", content });
const tools = [{
  type: "function",
  function: {
    name: "get_weather",
    description: "Get current weather",
    parameters: { type: "object", properties: { city: { type: "string" } } },
  },
}];

async function chat(model) {
  const answer = await client.chat.completions.create({ model, messages: [user("hello")] });
  assert.equal(answer.object, "chat.completion");
  assert.equal(answer.model, model);
  assert.equal(answer.choices[0].finish_reason, "stop");
  assert.ok(answer.choices[0].message.content);
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
  return answer.choices[0].message.content;
}

async function stream(model) {
  const whole = await chat(model);
  const request = { model, messages: [user("hello")], stream: true, stream_options: { include_usage: true } };
  let said = "", last;
  for await (const chunk of await client.chat.completions.create(request)) {
    said += chunk.choices[0]?.delta.content ?? "";
    last = chunk;
  }
  assert.equal(said, whole);
  assert.ok(last.usage.total_tokens > 0 && last.choices.length === 0);
  // The helper throws where a role or a finish reason is missing.
  const helped = await client.chat.completions.stream({ model, messages: [user("hello")] }).finalChatCompletion();
  assert.equal(helped.choices[0].message.content, whole);
}

async function clientTools(model) {
  const messages = [user('call get_weather {"city": "Oslo"}')];
  const { choices: [choice] } = await client.chat.completions.create({ model, messages, tools });
  assert.equal(choice.finish_reason, "tool_calls");
  const call = choice.message.tool_calls[0];
  assert.deepEqual([call.type, call.function.name, call.function.arguments], ["function", "get_weather", '{"city": "Oslo"}']);
  const { choices: [streamed] } = await client.chat.completions.stream({ model, messages, tools }).finalChatCompletion();
  assert.equal(streamed.message.tool_calls[0].function.arguments, call.function.arguments);
  messages.push(choice.message, { role: "tool", tool_call_id: call.id, content: "rain" });
  const { choices: [told] } = await client.chat.completions.create({ model, messages, tools });
  assert.equal(told.finish_reason, "stop");
  assert.match(told.message.content, /rain/);

  const runner = client.chat.completions.runTools({
    model,
    messages: [user('call get_weather {"city": "Oslo"}')],
    tools: [{ type: "function", function: { ...tools[0].function, parse: JSON.parse, function: ({ city }) => `sun in ${city}` } }],
  });
  assert.match(await runner.finalContent(), /sun in Oslo/);
}

async function serverTools(model) {
  const messages = [user('call word-count {"text": "a b"}')];
  const { choices: [choice] } = await client.chat.completions.create({ model, messages });
  assert.equal(choice.finish_reason, "stop");
  assert.match(choice.message.content, /"words":2/);
  assert.ok(!choice.message.tool_calls, "a tool of the app stays inside");
}

async function models() {
  const ids = [];
  for await (const model of await client.models.list()) ids.push(model.id);
  assert.ok(ids.includes("demo/assistant") && ids.includes("openai/scripted"), ids.join());
  assert.equal((await client.models.retrieve("openai/scripted")).owned_by, "openai");
}

async function errors() {
  const ask = (more, by = client) =>
    by.chat.completions.create({ model: "demo/assistant", messages: [user("x")], ...more });
  await assert.rejects(ask({}, make("ocs_acme_wrong")), OpenAI.AuthenticationError);
  await assert.rejects(ask({ model: "demo/nothing" }), (error) =>
    error instanceof OpenAI.NotFoundError && error.code === "model_not_found" && error.param === "model");
  await assert.rejects(client.models.retrieve("openai/nothing"), OpenAI.NotFoundError);
  await assert.rejects(ask({ temperature: 9 }), (error) =>
    error instanceof OpenAI.BadRequestError && error.param === "temperature");
  await assert.rejects(ask({ model: "openai/limited" }), (error) =>
    error instanceof OpenAI.RateLimitError && error.headers.get("retry-after") === "7" && Boolean(error.requestID));
  await assert.rejects(async () => {
    for await (const _ of await ask({ model: "openai/broken", stream: true }));
  }, (error) => error instanceof OpenAI.APIError && Boolean(error.code));
}

for (const model of ["demo/assistant", "openai/scripted"]) {
  for (const check of [chat, stream, clientTools, serverTools]) await check(model);
}
await models();
await errors();
console.log("all is well");
