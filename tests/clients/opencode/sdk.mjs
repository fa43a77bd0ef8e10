// @opencode-ai/sdk as it is on npm, held against a running OPG: what a program does with sessions.
// OPG_URL, OPG_APP and OPG_TOKEN say where and who; any failed assertion ends it with a stack.

import assert from "node:assert/strict";
import { createOpencodeClient } from "@opencode-ai/sdk";
import { createOpencodeClient as createNext } from "@opencode-ai/sdk/v2";

const { OPG_URL, OPG_APP, OPG_TOKEN } = process.env;
const baseUrl = `${OPG_URL}/t/${OPG_APP}/opencode`;
const headers = { Authorization: `Basic ${btoa(`anybody:${OPG_TOKEN}`)}` };
const client = createOpencodeClient({ baseUrl, headers });
const next = createNext({ baseUrl, headers });
const CALL = 'call word-count {"text": "one two three"}';

const data = async (asked) => {
  const { data, error, response } = await asked;
  assert.equal(error, undefined, JSON.stringify(error));
  assert.ok(response.ok, String(response.status));
  return data;
};

// What is told, for as long as this runs.
const told = [];
const listening = [];
const events = await client.event.subscribe();
(async () => {
  for await (const event of events.stream) {
    told.push(event);
    for (const heard of listening) heard();
  }
})();
async function until(wanted) {
  const late = setTimeout(() => {
    console.error("never told; what was:", JSON.stringify(told.map((event) => event.type)));
    process.exit(1);
  }, 30_000);
  for (;;) {
    const found = told.find(wanted);
    if (found) {
      clearTimeout(late);
      return found;
    }
    await new Promise((heard) => listening.push(heard));
  }
}
await until((event) => event.type === "server.connected");

// A session, a prompt, its answer.
const session = await data(client.session.create({ body: { title: "from the SDK" } }));
assert.match(session.id, /^ses_/);
assert.equal(session.title, "from the SDK");
const hello = await data(client.session.prompt({
  path: { id: session.id },
  body: { parts: [{ type: "text", text: "hello there" }] },
}));
assert.equal(hello.info.role, "assistant");
assert.equal(hello.info.finish, "stop");
assert.ok(hello.info.time.completed >= hello.info.time.created);
assert.ok(hello.info.tokens.output > 0, "it says what it used");
const spoken = hello.parts.find((part) => part.type === "text").text;
assert.match(spoken, /hello there/);
await until((event) => event.type === "session.idle" && event.properties.sessionID === session.id);
const deltas = told.filter((event) => event.type === "message.part.delta");
assert.equal(deltas.map((event) => event.properties.delta).join(""), spoken, "in pieces as well");

// A message under an id of the client's own.
const own = "msg_20182bf71001iswfursf1xrtOd";
await data(client.session.prompt({
  path: { id: session.id },
  body: { messageID: own, parts: [{ type: "text", text: "under my own id" }] },
}));
const kept = await data(client.session.message({ path: { id: session.id, messageID: own } }));
assert.equal(kept.info.id, own);
assert.equal(kept.parts[0].text, "under my own id");

// A tool that asks first, and is allowed.
const asking = await data(next.session.create({ permission: [{ permission: "word-count", pattern: "*", action: "ask" }] }));
await data(next.session.promptAsync({ sessionID: asking.id, parts: [{ type: "text", text: CALL }] }));
const asked = await until((event) => event.type === "permission.asked" && event.properties.sessionID === asking.id);
assert.equal(asked.properties.permission, "word-count");
assert.deepEqual(asked.properties.metadata, { text: "one two three" });
assert.equal((await data(next.permission.list()))[0].id, asked.properties.id);
assert.equal((await data(next.session.status()))[asking.id].type, "busy");
assert.equal(await data(next.permission.reply({ requestID: asked.properties.id, reply: "once" })), true);
await until((event) => event.type === "session.idle" && event.properties.sessionID === asking.id);
const replied = told.find((event) => event.type === "permission.replied" && event.properties.sessionID === asking.id);
assert.deepEqual([replied.properties.requestID, replied.properties.reply], [asked.properties.id, "once"]);
const states = told.filter((event) => event.type === "message.part.updated" && event.properties.part.type === "tool")
  .map((event) => event.properties.part.state.status);
assert.deepEqual(states, ["pending", "running", "completed"]);
const again = await next.permission.reply({ requestID: asked.properties.id, reply: "once" });
assert.equal(again.response.status, 404);
assert.equal(again.error._tag, "PermissionNotFoundError");
const history = await data(next.session.messages({ sessionID: asking.id }));
assert.deepEqual(history.map(({ info }) => info.role), ["user", "assistant", "assistant"]);
const call = history[1].parts.find((part) => part.type === "tool");
assert.deepEqual([call.tool, call.state.status, call.state.input], ["word-count", "completed", { text: "one two three" }]);
assert.deepEqual(history[1].parts.map((part) => part.type), ["step-start", "tool", "step-finish"]);

// And one that is rejected, by the older route.
await data(client.session.promptAsync({ path: { id: asking.id }, body: { parts: [{ type: "text", text: CALL }] } }));
const second = await until((event) => event.type === "permission.asked" && event.properties.id !== asked.properties.id);
await data(client.postSessionIdPermissionsPermissionId({
  path: { id: asking.id, permissionID: second.properties.id },
  body: { response: "reject" },
}));
const failed = await until((event) => event.type === "message.part.updated" && event.properties.part.state?.status === "error");
assert.match(failed.properties.part.state.error, /did not allow/);

// Going back, and on from there.
const reverted = await data(client.session.revert({ path: { id: session.id }, body: { messageID: own } }));
assert.equal(reverted.revert.messageID, own);
assert.equal((await data(client.session.messages({ path: { id: session.id } }))).length, 2);
const back = await data(client.session.unrevert({ path: { id: session.id } }));
assert.equal(back.revert, undefined);
assert.equal((await data(client.session.messages({ path: { id: session.id } }))).length, 4);
const forked = await data(client.session.fork({ path: { id: session.id }, body: { messageID: own } }));
assert.notEqual(forked.id, session.id);
const copied = await data(client.session.messages({ path: { id: forked.id } }));
assert.deepEqual(copied.map(({ info }) => info.role), ["user", "assistant"]);
assert.ok(copied[0].info.id < copied[1].info.id, "ids rise with the conversation");

// Files, each session's own.
const working = await data(client.session.create({ body: { title: "files" } }));
const directory = `/workspace/${working.id}`;
const writes = 'call workspace {"steps": [{"do": "write", "path": "src/notes.md", "text": "milk\\nand honey\\n"}]}';
const wrote = await data(client.session.prompt({ path: { id: working.id }, body: { parts: [{ type: "text", text: writes }] } }));
assert.equal(wrote.info.role, "assistant");
const listed = await data(client.file.list({ query: { directory, path: "." } }));
assert.deepEqual(listed.map(({ name, type }) => [name, type]), [["src", "directory"]]);
const notes = await data(client.file.read({ query: { directory, path: "src/notes.md" } }));
assert.deepEqual([notes.type, notes.content], ["text", "milk\nand honey\n"]);
assert.deepEqual(await data(client.file.status({ query: { directory } })), [{ path: "src/notes.md", added: 2, removed: 0, status: "added" }]);
const [hit] = await data(client.find.text({ query: { directory, pattern: "h.ney" } }));
assert.deepEqual([hit.path.text, hit.line_number, hit.absolute_offset, hit.submatches[0].match.text], ["src/notes.md", 2, 5, "honey"]);
assert.deepEqual(await data(client.find.files({ query: { directory, query: "notes" } })), ["src/notes.md"]);
assert.deepEqual(await data(client.file.list({ query: { path: "." } })), [], "of no session there are none");
const [change] = await data(client.session.diff({ path: { id: working.id } }));
assert.deepEqual([change.file, change.additions, change.deletions], ["src/notes.md", 2, 0]);
const branch = await data(client.session.fork({ path: { id: working.id } }));
const copy = await data(client.file.read({ query: { directory: `/workspace/${branch.id}`, path: "src/notes.md" } }));
assert.equal(copy.content, notes.content);

// Sharing, where the app does; and summing up.
const shared = await data(client.session.share({ path: { id: working.id } }));
const link = await fetch(shared.share.url);
assert.equal(link.status, 200);
assert.equal((await link.json()).title, "files");
await data(client.session.unshare({ path: { id: working.id } }));
assert.equal((await fetch(shared.share.url)).status, 404);
const body = { providerID: "openai", modelID: "scripted" };
assert.equal(await data(client.session.summarize({ path: { id: working.id }, body })), true);

// What takes long is stopped.
const slow = await data(client.session.create({ body: { } }));
const answer = client.session.prompt({
  path: { id: slow.id },
  body: { model: { providerID: "openai", modelID: "endless" }, parts: [{ type: "text", text: "go on" }] },
});
await until((event) => event.type === "message.part.delta" && event.properties.sessionID === slow.id);
assert.equal(await data(client.session.abort({ path: { id: slow.id } })), true);
assert.equal((await data(answer)).info.error.name, "MessageAbortedError");
const error = await until((event) => event.type === "session.error");
assert.equal(error.properties.error.name, "MessageAbortedError");
assert.equal(await data(client.session.abort({ path: { id: slow.id } })), true, "nothing runs any more");

// What there is.
const ids = (await data(client.session.list())).map(({ id }) => id);
for (const { id } of [session, asking, forked, working, branch, slow]) assert.ok(ids.includes(id));
assert.equal(ids[0], slow.id, "the last used is first");
const { providers, default: models } = await data(client.config.providers());
assert.ok(providers.find(({ id }) => id === "openai").models.scripted);
assert.equal(models.openai, "scripted");
assert.equal((await data(client.app.agents()))[0].name, "default");
assert.equal((await data(client.command.list()))[0].name, "count");
const counted = await data(client.session.command({ path: { id: session.id }, body: { command: "count", arguments: "to ten" } }));
assert.match(counted.parts.find((part) => part.type === "text").text, /Count to ten/);
assert.equal(await data(client.session.delete({ path: { id: forked.id } })), true);
await until((event) => event.type === "session.deleted" && event.properties.info.id === forked.id);
const gone = await client.session.get({ path: { id: forked.id } });
assert.deepEqual([gone.response.status, gone.error.name], [404, "NotFoundError"]);

// Who is nobody is told how to be somebody.
const nobody = await createOpencodeClient({ baseUrl }).session.list();
assert.equal(nobody.response.status, 401);
assert.match(nobody.response.headers.get("www-authenticate"), /^Basic /);
process.exit(0);
