"""The anthropic package as it is on PyPI, held against a running OPG by base URL and token alone.

OPG_URL and OPG_TOKEN say where and who, OPG_BARE_TOKEN an app without tools; any failed assertion ends it with a traceback.
"""

import os

import anthropic

client = anthropic.Anthropic(base_url=os.environ["OPG_URL"], api_key=os.environ["OPG_TOKEN"], max_retries=0)
WEATHER = {
    "name": "get_weather",
    "description": "Get current weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def user(content):
    return {"role": "user", "content": content}


def message(model):
    answer = client.messages.create(model=model, max_tokens=100, messages=[user("hello")], system="be kind")
    assert (answer.type, answer.role, answer.stop_reason) == ("message", "assistant", "end_turn"), answer
    assert answer.content[0].type == "text" and answer.content[0].text, answer
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0, answer
    with client.messages.stream(model=model, max_tokens=100, messages=[user("hello")], system="be kind") as stream:
        said = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert said == final.content[0].text == answer.content[0].text, (said, answer)
    assert final.usage.output_tokens == answer.usage.output_tokens, (final, answer)


def client_tools(model):
    messages = [user('call get_weather {"city": "Oslo"}')]
    with client.messages.stream(model=model, max_tokens=100, messages=messages, tools=[WEATHER]) as stream:
        streamed = stream.get_final_message()
    answer = client.messages.create(model=model, max_tokens=100, messages=messages, tools=[WEATHER])
    assert answer.stop_reason == streamed.stop_reason == "tool_use", (answer, streamed)
    call = next(block for block in answer.content if block.type == "tool_use")
    assert (call.name, call.input) == ("get_weather", {"city": "Oslo"}), answer
    assert next(block for block in streamed.content if block.type == "tool_use").input == call.input
    messages += [
        {"role": "assistant", "content": answer.content},
        user([{"type": "tool_result", "tool_use_id": call.id, "content": "rain"}]),
    ]
    told = client.messages.create(model=model, max_tokens=100, messages=messages, tools=[WEATHER])
    assert told.stop_reason == "end_turn" and "rain" in told.content[0].text, told


def server_tools(model):
    messages = [user('call word-count {"text": "a b"}')]
    answer = client.messages.create(model=model, max_tokens=100, messages=messages)
    assert answer.stop_reason == "end_turn" and [block.type for block in answer.content] == ["text"], answer
    assert '"words":2' in answer.content[0].text, answer


def thinking():
    bare = client.with_options(api_key=os.environ["OPG_BARE_TOKEN"])
    messages = [user("think")]
    thought = {"type": "enabled", "budget_tokens": 1024}
    with bare.messages.stream(model="anthropic/thinker", max_tokens=2000, messages=messages, thinking=thought) as stream:
        answer = stream.get_final_message()
    kinds = [block.type for block in answer.content]
    assert kinds == ["thinking", "redacted_thinking", "text"], answer
    assert (answer.content[0].thinking, answer.content[0].signature) == ("hm, yes", "seal-1"), answer
    messages += [{"role": "assistant", "content": answer.content}, user("and?")]
    bare.messages.create(model="anthropic/thinker", max_tokens=2000, messages=messages, thinking=thought)


def raises(kind, work):
    try:
        work()
    except kind as error:
        return error
    raise AssertionError(f"expected {kind.__name__}")


def errors():
    def ask(model="demo/assistant", by=client, **more):
        return by.messages.create(model=model, max_tokens=10, messages=[user("x")], **more)

    stranger = anthropic.Anthropic(base_url=client.base_url, api_key="ocs_acme_wrong", max_retries=0)
    raises(anthropic.AuthenticationError, lambda: ask(by=stranger))
    raises(anthropic.NotFoundError, lambda: ask("demo/nothing"))
    raises(anthropic.BadRequestError, lambda: ask(extra_body={"temperature": 9}))
    limited = raises(anthropic.RateLimitError, lambda: ask("openai/limited"))
    assert limited.response.headers["retry-after"] == "7", limited
    broken = raises(anthropic.APIStatusError, lambda: list(ask("openai/broken", stream=True)))
    assert broken.body["error"]["type"] == "api_error" and "provider" in broken.body["error"]["message"], broken.body


for name in ["demo/assistant", "openai/scripted", "anthropic/scripted", "google/scripted"]:
    for check in [message, client_tools, server_tools]:
        check(name)
thinking()
counted = client.messages.count_tokens(model="anthropic/scripted", messages=[user("hello")])
assert counted.input_tokens == 42, counted
ids = [model.id for model in client.models.list()]
assert "demo/assistant" in ids and "anthropic/scripted" in ids, ids
errors()
print("all is well")
