"""The openai package's responses and embeddings, held against a running OPG.

OPG_URL and OPG_TOKEN say where and who; any failed assertion ends it with a traceback.
"""

import os

import openai

client = openai.OpenAI(base_url=os.environ["OPG_URL"] + "/v1", api_key=os.environ["OPG_TOKEN"], max_retries=0)
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Get current weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def response(model):
    answer = client.responses.create(model=model, input="hello", instructions="be kind")
    assert (answer.object, answer.status, answer.model) == ("response", "completed", model), answer
    assert answer.output_text and answer.usage.total_tokens > 0, answer
    with client.responses.stream(model=model, input="hello", instructions="be kind") as events:
        said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        final = events.get_final_response()
    assert said == final.output_text == answer.output_text, (said, answer)


def client_tools(model):
    conversation = [{"role": "user", "content": 'call get_weather {"city": "Oslo"}'}]
    with client.responses.stream(model=model, input=conversation, tools=[WEATHER]) as events:
        for _ in events:
            pass
        streamed = events.get_final_response()
    answer = client.responses.create(model=model, input=conversation, tools=[WEATHER])
    call = next(item for item in answer.output if item.type == "function_call")
    assert call.name == "get_weather" and '"Oslo"' in call.arguments, answer
    assert next(item for item in streamed.output if item.type == "function_call").arguments == call.arguments
    conversation += answer.output
    conversation.append({"type": "function_call_output", "call_id": call.call_id, "output": "rain"})
    told = client.responses.create(model=model, input=conversation, tools=[WEATHER])
    assert told.status == "completed" and "rain" in told.output_text, told


def server_tools(model):
    answer = client.responses.create(model=model, input='call word-count {"text": "a b"}')
    assert [item.type for item in answer.output] == ["message"] and '"words":2' in answer.output_text, answer


def raises(kind, work):
    try:
        work()
    except kind as error:
        return error
    raise AssertionError(f"expected {kind.__name__}")


def errors():
    def ask(model="demo/assistant", **more):
        return client.responses.create(model=model, input="x", **more)

    assert raises(openai.NotFoundError, lambda: ask("demo/nothing")).code == "model_not_found"
    stored = raises(openai.BadRequestError, lambda: ask(previous_response_id="resp_1"))
    assert stored.param == "previous_response_id", stored
    limited = raises(openai.RateLimitError, lambda: ask("openai/limited"))
    assert limited.response.headers["retry-after"] == "7", limited
    broken = raises(openai.APIError, lambda: list(ask("openai/broken", stream=True)))
    assert broken.code and "provider" in broken.message, broken


for name in ["demo/assistant", "openai/scripted", "responses/scripted", "anthropic/scripted", "google/scripted"]:
    for check in [response, client_tools, server_tools]:
        check(name)
errors()
# The package asks for base64 where nobody chose, and reads it.
vectors = client.embeddings.create(model="openai/scripted", input=["a", "bcd"])
assert [item.embedding for item in vectors.data] == [[1.0, 0.0], [3.0, 1.0]], vectors
print("all is well")
