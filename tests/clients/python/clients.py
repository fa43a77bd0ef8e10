"""The openai package as it is on PyPI, held against a running OPG.

OPG_URL and OPG_TOKEN say where and who; any failed assertion ends it with a traceback.
"""

import os

import openai

client = openai.OpenAI(base_url=os.environ["OPG_URL"] + "/v1", api_key=os.environ["OPG_TOKEN"], max_retries=0)
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get current weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def user(text):
    return {"role": "user", "content": text}


def chat(model):
    answer = client.chat.completions.create(model=model, messages=[user("hello")])
    assert answer.object == "chat.completion" and answer.model == model, answer
    choice = answer.choices[0]
    assert choice.finish_reason == "stop" and choice.message.content and not choice.message.tool_calls, answer
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens, answer


def stream(model):
    whole = client.chat.completions.create(model=model, messages=[user("hello")]).choices[0].message.content
    chunks = list(
        client.chat.completions.create(
            model=model, messages=[user("hello")], stream=True, stream_options={"include_usage": True}
        )
    )
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == whole, (said, whole)
    assert chunks[0].choices[0].delta.role == "assistant", chunks[0]
    assert chunks[-1].usage.total_tokens > 0 and not chunks[-1].choices, chunks[-1]
    with client.chat.completions.stream(model=model, messages=[user("hello")]) as events:
        for _ in events:
            pass
        assert events.get_final_completion().choices[0].message.content == whole


def client_tools(model):
    messages = [user('call get_weather {"city": "Oslo"}')]
    with client.chat.completions.stream(model=model, messages=messages, tools=[WEATHER]) as events:
        for _ in events:
            pass
        streamed = events.get_final_completion().choices[0]
    answer = client.chat.completions.create(model=model, messages=messages, tools=[WEATHER])
    choice = answer.choices[0]
    assert choice.finish_reason == streamed.finish_reason == "tool_calls", (choice, streamed)
    call = choice.message.tool_calls[0]
    assert (call.type, call.function.name, call.function.arguments) == ("function", "get_weather", '{"city": "Oslo"}')
    assert streamed.message.tool_calls[0].function.arguments == call.function.arguments
    messages += [choice.message, {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    told = client.chat.completions.create(model=model, messages=messages, tools=[WEATHER]).choices[0]
    assert told.finish_reason == "stop" and "rain" in told.message.content, told


def server_tools(model):
    messages = [user('call word-count {"text": "a b"}')]
    choice = client.chat.completions.create(model=model, messages=messages).choices[0]
    assert choice.finish_reason == "stop" and '"words":2' in choice.message.content, choice
    assert not choice.message.tool_calls, "a tool of the app stays inside"


def models():
    ids = [model.id for model in client.models.list()]
    assert "demo/assistant" in ids and "openai/scripted" in ids, ids
    assert client.models.retrieve("openai/scripted").owned_by == "openai"


def raises(kind, work):
    try:
        work()
    except kind as error:
        return error
    raise AssertionError(f"expected {kind.__name__}")


def errors():
    def ask(model="demo/assistant", by=client, **more):
        return by.chat.completions.create(model=model, messages=[user("x")], **more)

    stranger = openai.OpenAI(base_url=client.base_url, api_key="ocs_acme_wrong", max_retries=0)
    raises(openai.AuthenticationError, lambda: ask(by=stranger))
    missing = raises(openai.NotFoundError, lambda: ask("demo/nothing"))
    assert missing.code == "model_not_found" and missing.param == "model", missing
    raises(openai.NotFoundError, lambda: client.models.retrieve("openai/nothing"))
    bad = raises(openai.BadRequestError, lambda: ask(temperature=9))
    assert bad.param == "temperature" and bad.type == "invalid_request_error", bad
    limited = raises(openai.RateLimitError, lambda: ask("openai/limited"))
    assert limited.response.headers["retry-after"] == "7" and limited.request_id, limited
    broken = raises(openai.APIError, lambda: list(ask("openai/broken", stream=True)))
    assert broken.code and "provider" in broken.message, broken


for name in ["demo/assistant", "openai/scripted"]:
    for check in [chat, stream, client_tools, server_tools]:
        check(name)
models()
errors()
print("all is well")
