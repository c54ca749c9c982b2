"""Drives the vendors' own SDKs through a gateway and prints what each client saw.

Environment: ANTHROPIC_BASE and OPENAI_BASE (base URLs as a user sets them), TOKEN (the credential). One
JSON object per exchange goes to standard output: case, provider, client, model, prompt, id, tokens, tools,
text. The prompt is null when the last turn was a tool's result.
An SDK's exception or a missing field ends the run with a traceback and a non-zero code.
"""

import json
import os
import sys

import anthropic
import openai

ANTHROPIC_BASE = os.environ["ANTHROPIC_BASE"]
OPENAI_BASE = os.environ["OPENAI_BASE"]
TOKEN = os.environ["TOKEN"]

TOOL_PROMPT = 'use-tool:get_weather {"city": "Turin"} use-tool:get_weather {"city": "Oslo"} cache:11/7'
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def say(case, input, output, cache_read, cache_write, reasoning, **seen):
    tokens = dict(
        input=input, output=output, cache_read=cache_read, cache_write=cache_write, reasoning=reasoning
    )
    print(json.dumps({"case": case, "client": "Unknown", "tokens": tokens, **seen}), flush=True)


def want(condition, what):
    if not condition:
        raise SystemExit(f"clients.py: {what}")


# Anthropic Messages


def message(case, prompt, msg):
    say(
        case,
        provider="anthropic",
        model=msg.model,
        prompt=prompt,
        id=msg.id,
        input=msg.usage.input_tokens,
        output=msg.usage.output_tokens,
        cache_read=msg.usage.cache_read_input_tokens,
        cache_write=msg.usage.cache_creation_input_tokens,
        reasoning=msg.usage.output_tokens_details.thinking_tokens,
        tools=[
            {"id": b.id, "name": b.name, "arguments": b.input}
            for b in msg.content
            if b.type == "tool_use"
        ],
        text="".join(b.text for b in msg.content if b.type == "text"),
    )


def messages():
    client = anthropic.Anthropic(base_url=ANTHROPIC_BASE, api_key=TOKEN)
    model = "claude-sonnet-5"
    tools = [{"name": "get_weather", "description": "Weather", "input_schema": SCHEMA}]

    def ask(prompt, **more):
        return dict(model=model, max_tokens=2000, messages=[{"role": "user", "content": prompt}], **more)

    thinking = {"type": "enabled", "budget_tokens": 1024}

    prompt = "messages blocking cache:5/3"
    message("messages blocking", prompt, client.messages.create(**ask(prompt)))

    prompt = "messages streaming, with a thought"
    with client.messages.stream(**ask(prompt, thinking=thinking)) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    want(text and final.content[0].type == "thinking", "no thought or no text in the stream")
    message("messages streaming", prompt, final)

    first = client.messages.create(**ask(TOOL_PROMPT, tools=tools))
    want(first.stop_reason == "tool_use", f"stop_reason is {first.stop_reason}")
    message("messages tools", TOOL_PROMPT, first)
    with client.messages.stream(**ask(TOOL_PROMPT, tools=tools)) as stream:
        final = stream.get_final_message()
    want(final.stop_reason == "tool_use", f"stop_reason is {final.stop_reason}")
    message("messages tools streaming", TOOL_PROMPT, final)

    history = ask(TOOL_PROMPT)["messages"] + [
        {"role": "assistant", "content": [b.model_dump() for b in first.content]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": b.id, "content": "12 degrees"}
                for b in first.content
                if b.type == "tool_use"
            ],
        },
    ]
    answer = client.messages.create(model=model, max_tokens=2000, messages=history, tools=tools)
    want("12 degrees" in answer.content[0].text, "the tool's result did not come back")
    message("messages tool result", None, answer)

    count = client.messages.count_tokens(**{k: v for k, v in ask("count me").items() if k != "max_tokens"})
    want(count.input_tokens > 0, "no token count")
    want(any(m.id for m in client.models.list()), "no models")


# OpenAI Chat Completions


def completion(case, prompt, id, model, usage, tools, text):
    cached = usage.prompt_tokens_details.cached_tokens
    written = usage.prompt_tokens_details.cache_write_tokens
    say(
        case,
        provider="openai",
        model=model,
        prompt=prompt,
        id=id,
        input=usage.prompt_tokens - cached - written,
        output=usage.completion_tokens,
        cache_read=cached,
        cache_write=written,
        reasoning=usage.completion_tokens_details.reasoning_tokens,
        tools=tools,
        text=text,
    )


def chat_blocking(case, prompt, done):
    calls = done.choices[0].message.tool_calls or []
    tools = [
        {"id": c.id, "name": c.function.name, "arguments": json.loads(c.function.arguments)} for c in calls
    ]
    text = done.choices[0].message.content or ""
    completion(case, prompt, done.id, done.model, done.usage, tools, text)


def chat_streaming(case, prompt, stream):
    id = model = usage = None
    text, calls = "", {}
    for chunk in stream:
        id, model, usage = chunk.id, chunk.model, chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            for call in choice.delta.tool_calls or []:
                known = calls.setdefault(call.index, {"id": call.id, "name": call.function.name, "arguments": ""})
                known["arguments"] += call.function.arguments or ""
    tools = [{**c, "arguments": json.loads(c["arguments"])} for _, c in sorted(calls.items())]
    want(usage is not None, "the stream told no usage though it was asked for")
    completion(case, prompt, id, model, usage, tools, text)


def chat():
    client = openai.OpenAI(base_url=OPENAI_BASE, api_key=TOKEN)
    model = "gpt-5.1"
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]

    def ask(prompt, **more):
        return client.chat.completions.create(model=model, messages=[{"role": "user", "content": prompt}], **more)

    usage = {"include_usage": True}

    prompt = "chat blocking cache:5"
    chat_blocking("chat blocking", prompt, ask(prompt))
    prompt = "chat streaming"
    chat_streaming("chat streaming", prompt, ask(prompt, stream=True, stream_options=usage, reasoning_effort="low"))
    first = ask(TOOL_PROMPT, tools=tools)
    chat_blocking("chat tools", TOOL_PROMPT, first)
    stream = ask(TOOL_PROMPT, tools=tools, stream=True, stream_options=usage)
    chat_streaming("chat tools streaming", TOOL_PROMPT, stream)

    called = first.choices[0].message
    history = [
        {"role": "user", "content": TOOL_PROMPT},
        called.model_dump(exclude_none=True),
        *({"role": "tool", "tool_call_id": c.id, "content": "12 degrees"} for c in called.tool_calls),
    ]
    answer = client.chat.completions.create(model=model, messages=history, tools=tools)
    want("12 degrees" in answer.choices[0].message.content, "the tool's result did not come back")
    chat_blocking("chat tool result", None, answer)
    want(any(m.id for m in client.models.list()), "no models")


# OpenAI Responses


def response(case, prompt, done):
    want(done.status == "completed", f"status is {done.status}")
    cached = done.usage.input_tokens_details.cached_tokens
    written = done.usage.input_tokens_details.cache_write_tokens
    say(
        case,
        provider="openai",
        model=done.model,
        prompt=prompt,
        id=done.id,
        input=done.usage.input_tokens - cached - written,
        output=done.usage.output_tokens,
        cache_read=cached,
        cache_write=written,
        reasoning=done.usage.output_tokens_details.reasoning_tokens,
        tools=[
            {"id": i.call_id, "name": i.name, "arguments": json.loads(i.arguments)}
            for i in done.output
            if i.type == "function_call"
        ],
        text=done.output_text,
    )


def responses():
    client = openai.OpenAI(base_url=OPENAI_BASE, api_key=TOKEN)
    model = "gpt-5.1"
    tools = [{"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": False}]

    def stream(case, prompt, **more):
        with client.responses.stream(model=model, input=prompt, **more) as events:
            kinds = [event.type for event in events]
            final = events.get_final_response()
        want(kinds[0] == "response.created" and kinds[-1] == "response.completed", f"events are {kinds}")
        response(case, prompt, final)

    prompt = "responses blocking cache:5"
    response("responses blocking", prompt, client.responses.create(model=model, input=prompt))
    stream(
        "responses streaming",
        "responses streaming, with a thought",
        reasoning={"effort": "low", "summary": "auto"},
    )
    first = client.responses.create(model=model, input=TOOL_PROMPT, tools=tools)
    response("responses tools", TOOL_PROMPT, first)
    stream("responses tools streaming", TOOL_PROMPT, tools=tools)

    history = [{"role": "user", "content": TOOL_PROMPT}]
    history += [i.model_dump(exclude_none=True) for i in first.output]
    history += [
        {"type": "function_call_output", "call_id": i.call_id, "output": "12 degrees"}
        for i in first.output
        if i.type == "function_call"
    ]
    answer = client.responses.create(model=model, input=history, tools=tools)
    want("12 degrees" in answer.output_text, "the tool's result did not come back")
    response("responses tool result", None, answer)


if __name__ == "__main__":
    messages()
    chat()
    responses()
    sys.stdout.flush()
