// A second opinion: OPG's three kinds of providers before @copilotkit/aimock, a mock of them that nobody here wrote.
// OPG_URL and OPG_BARE_TOKEN say where and who; any failed assertion ends it with a stack.

import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import { LLMock } from "@copilotkit/aimock";
import OpenAI from "openai";

const { OPG_URL, OPG_BARE_TOKEN: apiKey } = process.env;
const KEY = "sk-for-aimock-0123456789";
const user = (content) => ({ role: "user", content });
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const about = { name: "get_weather", description: "Get current weather" };

const mock = new LLMock({ port: 0, strict: true });
mock.on({ userMessage: "weather", hasToolResult: false }, { toolCalls: [{ name: "get_weather", arguments: { city: "Oslo" } }] });
mock.on({ userMessage: "weather", toolResultContains: "rain in Oslo" }, { content: "Take an umbrella: it rains in Oslo." });
mock.on({ userMessage: "hello" }, { content: "Hello from somebody else." });
await mock.start();

const at = (baseUrl, kind) => ({ apiKey: KEY, baseUrl, kind });
const providers = {
  chat: at(`${mock.url}/v1/`, "openai-compatible"),
  responses: at(`${mock.url}/v1/`, "openai-responses"),
  anthropic: at(`${mock.url}/v1/`, "anthropic"),
  google: at(`${mock.url}/v1beta/`, "google"),
};
const configured = await fetch(`${OPG_URL}/v1/tenant`, {
  method: "PUT",
  headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/json" },
  body: JSON.stringify({ providers }),
});
assert.equal(configured.status, 200, await configured.text());

const openai = new OpenAI({ baseURL: `${OPG_URL}/v1`, apiKey, maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: OPG_URL, apiKey, maxRetries: 0 });
const FINAL = "Take an umbrella: it rains in Oslo.";

async function chat(model, whole) {
  const ask = async (messages, more = {}) => {
    const request = { model, messages, ...more };
    const done = whole ? openai.chat.completions.create(request) : openai.chat.completions.stream(request).finalChatCompletion();
    return (await done).choices[0];
  };
  assert.equal((await ask([user("hello")])).message.content, "Hello from somebody else.");
  const tools = [{ type: "function", function: { ...about, parameters } }];
  const messages = [user("weather?")];
  const asked = await ask(messages, { tools });
  assert.equal(asked.finish_reason, "tool_calls");
  const [call] = asked.message.tool_calls;
  assert.deepEqual([call.function.name, JSON.parse(call.function.arguments)], ["get_weather", { city: "Oslo" }]);
  messages.push(asked.message, { role: "tool", tool_call_id: call.id, content: "rain in Oslo" });
  assert.equal((await ask(messages, { tools })).message.content, FINAL);
}

async function messages(model, whole) {
  const ask = (messages, more = {}) => {
    const request = { model, max_tokens: 100, messages, ...more };
    return whole ? anthropic.messages.create(request) : anthropic.messages.stream(request).finalMessage();
  };
  // Its responses think, and what they thought goes before.
  const text = (answer) => answer.content.find((block) => block.type === "text").text;
  assert.equal(text(await ask([user("hello")])), "Hello from somebody else.");
  const tools = [{ ...about, input_schema: parameters }];
  const conversation = [user("weather?")];
  const asked = await ask(conversation, { tools });
  const call = asked.content.find((block) => block.type === "tool_use");
  assert.deepEqual([asked.stop_reason, call.name, call.input], ["tool_use", "get_weather", { city: "Oslo" }]);
  conversation.push({ role: "assistant", content: asked.content });
  conversation.push(user([{ type: "tool_result", tool_use_id: call.id, content: "rain in Oslo" }]));
  assert.equal(text(await ask(conversation, { tools })), FINAL);
}

async function responses(model, whole) {
  const ask = (input, more = {}) => {
    const request = { model, input, ...more };
    return whole ? openai.responses.create(request) : openai.responses.stream(request).finalResponse();
  };
  const text = (answer) => answer.output.find((item) => item.type === "message").content[0].text;
  assert.equal(text(await ask("hello")), "Hello from somebody else.");
  const tools = [{ type: "function", ...about, parameters, strict: false }];
  const input = [user("weather?")];
  const asked = await ask(input, { tools });
  const call = asked.output.find((item) => item.type === "function_call");
  assert.deepEqual([call.name, JSON.parse(call.arguments)], ["get_weather", { city: "Oslo" }]);
  input.push(...asked.output, { type: "function_call_output", call_id: call.call_id, output: "rain in Oslo" });
  assert.equal(text(await ask(input, { tools })), FINAL);
}

for (const provider of Object.keys(providers)) {
  for (const dialect of [chat, messages, responses]) {
    for (const whole of [true, false]) await dialect(`${provider}/mocked`, whole);
  }
}
const paths = new Set(mock.getRequests().map((entry) => entry.path.split("?")[0]));
for (const path of ["/v1/chat/completions", "/v1/responses", "/v1/messages"]) assert.ok(paths.has(path), [...paths].join());
assert.ok([...paths].some((path) => path.startsWith("/v1beta/models/mocked:")), [...paths].join());
await mock.stop();
console.log("all is well");
