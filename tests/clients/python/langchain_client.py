"""The langchain-openai package as it is on PyPI, held against a running OPG by base URL and token alone.

OPG_URL and OPG_TOKEN say where and who; any failed assertion ends it with a traceback.
"""

import os

import openai
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

AT = {"base_url": os.environ["OPG_URL"] + "/v1", "api_key": os.environ["OPG_TOKEN"], "max_retries": 0}


@tool
def get_weather(city: str) -> str:
    """Get current weather"""
    return f"sun in {city}"


def text(chat):
    answer = chat.invoke("hello")
    assert answer.content and answer.usage_metadata["total_tokens"] > 0, answer
    pieces = list(chat.stream("hello"))
    whole = pieces[0]
    for piece in pieces[1:]:
        whole += piece
    assert whole.text == answer.text, (whole, answer)


def loop(chat):
    """The model asks, the client runs its tool, the model is told; streamed and not."""
    able = chat.bind_tools([get_weather])
    conversation = [HumanMessage('call get_weather {"city": "Oslo"}')]
    asked = able.invoke(conversation)
    streamed = None
    for piece in able.stream(conversation):
        streamed = piece if streamed is None else streamed + piece
    calls = [(call["name"], call["args"]) for call in asked.tool_calls]
    assert calls == [("get_weather", {"city": "Oslo"})], asked
    assert [(call["name"], call["args"]) for call in streamed.tool_calls] == calls, streamed
    told = get_weather.invoke(asked.tool_calls[0])
    assert isinstance(told, ToolMessage), told
    answer = able.invoke([*conversation, asked, told])
    assert "sun in Oslo" in answer.text and not answer.tool_calls, answer


def fails(kind, model, **more):
    try:
        ChatOpenAI(**{**AT, **more}, model=model).invoke("x")
    except kind:
        return
    raise AssertionError(f"expected {kind.__name__}")


for name in ["demo/assistant", "openai/scripted", "responses/scripted", "anthropic/scripted", "google/scripted"]:
    for responses in [False, True]:
        chat = ChatOpenAI(**AT, model=name, use_responses_api=responses, stream_usage=not responses)
        for check in [text, loop]:
            check(chat)
fails(openai.AuthenticationError, "demo/assistant", api_key="ocs_acme_wrong")
fails(openai.NotFoundError, "demo/nothing")
fails(openai.RateLimitError, "openai/limited")
# The texts as they are: what it would send otherwise are OpenAI's own tokens.
vectors = OpenAIEmbeddings(**AT, model="openai/scripted", check_embedding_ctx_length=False).embed_documents(["a", "bcd"])
assert vectors == [[1.0, 0.0], [3.0, 1.0]], vectors
print("all is well")
