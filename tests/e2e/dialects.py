# SPDX-License-Identifier: MIT
"""The stream shapes of each provider's API: one answer in, the bytes that provider would send out.

Every function returns str; the player turns it into UTF-8 and cuts it into chunks. The shapes are
the documented ones, the texts our own.
"""
import json


def _dump(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Chat:
    """OpenAI Chat Completions, and what others made after it."""

    content_type = "text/event-stream; charset=utf-8"
    reasoning = "reasoning_content"
    stops = {"stop": "stop", "length": "length", "refused": "content_filter"}
    opening = ""

    def __init__(self):
        self.tokens = (11, 7)

    def _chunk(self, delta, finish=None, **more):
        return "data: " + _dump({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "stand-in",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}) + "\n\n"

    def start(self):
        return self.opening + self._chunk({"role": "assistant", "content": None})

    def text(self, text):
        return self._chunk({"content": text})

    def think(self, text):
        return self._chunk({"content": None, self.reasoning: text})

    def refusal(self, text):
        return self._chunk({"refusal": text})

    def finish(self, reason):
        out = self._chunk({}, self.stops[reason])
        if self.tokens:
            out += "data: " + _dump({
                "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1,
                "model": "stand-in", "choices": [],
                "usage": {"prompt_tokens": self.tokens[0], "completion_tokens": self.tokens[1],
                          "total_tokens": sum(self.tokens)}}) + "\n\n"
        return out

    def end(self):
        return "data: [DONE]\n\n"

    def error(self, kind, message):
        return "data: " + self.error_body(kind, message) + "\n\n"

    def error_body(self, kind, message):
        return _dump({"error": {"message": message, "type": kind, "param": None, "code": kind}})

    def ping(self):
        return ": keep-alive\n\n"

    def odd(self):
        return 'event: strange\ndata:{"odd":1}\n\n'


class OpenRouter(Chat):
    reasoning = "reasoning"
    opening = ": OPENROUTER PROCESSING\n\n"


class Mistral(Chat):
    def think(self, text):
        part = {"type": "thinking", "thinking": [{"type": "text", "text": text}]}
        return self._chunk({"content": [part]})

    def start(self):
        return self._chunk({"role": "assistant", "content": ""})


class LlamaServer(Chat):
    def ping(self):
        return ":\n\n"


class Responses:
    """OpenAI Responses: named events around items and their parts, one terminal event, no [DONE]."""

    content_type = "text/event-stream; charset=utf-8"
    # kind of a part: (its type, the member with its text, the middle of its events' names)
    parts = {"text": ("output_text", "text", "output_text"),
             "refusal": ("refusal", "refusal", "refusal"),
             "think": ("summary_text", "text", "reasoning_summary_text")}

    def __init__(self):
        self.tokens = (11, 7)
        self.n = 0
        self.output = []   # items, finished ones and the open one
        self.kind = None   # of the open part

    def _event(self, kind, **members):
        self.n += 1
        return f"event: {kind}\ndata: " + _dump(
            {"type": kind, "sequence_number": self.n, **members}) + "\n\n"

    def _response(self, status, **more):
        usage = None
        if self.tokens and status != "in_progress":
            usage = {"input_tokens": self.tokens[0], "input_tokens_details": {"cached_tokens": 0},
                     "output_tokens": self.tokens[1],
                     "output_tokens_details": {"reasoning_tokens": 0},
                     "total_tokens": sum(self.tokens)}
        return {"id": "resp_1", "object": "response", "created_at": 1, "status": status,
                "error": None, "incomplete_details": None, "model": "stand-in",
                "output": self.output, "usage": usage, **more}

    def start(self):
        return (self._event("response.created", response=self._response("in_progress"))
                + self._event("response.in_progress", response=self._response("in_progress")))

    def _where(self):
        item = self.output[-1]
        index = "summary_index" if self.kind == "think" else "content_index"
        list_of = item["summary" if self.kind == "think" else "content"]
        return {"item_id": item["id"], "output_index": len(self.output) - 1,
                index: len(list_of) - 1}, list_of[-1]

    def _open(self, kind):
        """Opens a part of this kind, in an item of its own, where none is open."""
        if self.kind == kind:
            return ""
        out = self._close()
        self.kind = kind
        item = {"id": f"item_{len(self.output)}", "type": "reasoning", "summary": []}
        if kind != "think":
            item = {"id": f"item_{len(self.output)}", "type": "message", "role": "assistant",
                    "status": "in_progress", "content": []}
        self.output.append(item)
        out += self._event("response.output_item.added", output_index=len(self.output) - 1,
                           item=item)
        part = {"type": self.parts[kind][0], self.parts[kind][1]: ""}
        if kind == "text":
            part["annotations"] = []
        item["summary" if kind == "think" else "content"].append(part)
        name = "reasoning_summary_part" if kind == "think" else "content_part"
        return out + self._event(f"response.{name}.added", **self._where()[0], part=part)

    def _close(self):
        if not self.kind:
            return ""
        where, part = self._where()
        _, member, middle = self.parts[self.kind]
        name = "reasoning_summary_part" if self.kind == "think" else "content_part"
        out = (self._event(f"response.{middle}.done", **where, **{member: part[member]})
               + self._event(f"response.{name}.done", **where, part=part))
        if self.kind != "think":
            self.output[-1]["status"] = "completed"
        self.kind = None
        return out + self._event("response.output_item.done", output_index=len(self.output) - 1,
                                 item=self.output[-1])

    def _delta(self, kind, text):
        out = self._open(kind)
        where, part = self._where()
        _, member, middle = self.parts[kind]
        part[member] += text
        return out + self._event(f"response.{middle}.delta", **where, delta=text)

    def text(self, text):
        return self._delta("text", text)

    def think(self, text):
        return self._delta("think", text)

    def refusal(self, text):
        return self._delta("refusal", text)

    def finish(self, reason):
        out = self._close()
        if reason == "stop":
            return out + self._event("response.completed", response=self._response("completed"))
        why = {"length": "max_output_tokens", "refused": "content_filter"}[reason]
        return out + self._event("response.incomplete", response=self._response(
            "incomplete", incomplete_details={"reason": why}))

    def end(self):
        return ""

    def error(self, kind, message):
        return self._event("error", code=kind, message=message, param=None)

    def error_body(self, kind, message):
        return _dump({"error": {"message": message, "type": kind, "param": None, "code": kind}})

    def ping(self):
        return ": ping\n\n"

    def odd(self):
        return self._event("response.strange", odd=1).replace("data: ", "data:")


class Anthropic:
    """Anthropic Messages: content blocks, a cumulative usage, message_stop."""

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self):
        self.tokens = (11, 7)
        self.index = -1
        self.kind = None

    def _event(self, kind, **members):
        return f"event: {kind}\ndata: " + _dump({"type": kind, **members}) + "\n\n"

    def _block(self, kind):
        """Closes the open content block and opens one of this kind, where they differ."""
        if self.kind == kind:
            return ""
        out = self._close()
        self.index += 1
        self.kind = kind
        if kind:
            empty = {"text": {"type": "text", "text": ""},
                     "thinking": {"type": "thinking", "thinking": "", "signature": ""}}[kind]
            out += self._event("content_block_start", index=self.index, content_block=empty)
        return out

    def _close(self):
        if not self.kind:
            return ""
        self.kind = None
        return self._event("content_block_stop", index=self.index)

    def start(self):
        return self._event("message_start", message={
            "id": "msg_1", "type": "message", "role": "assistant", "content": [],
            "model": "stand-in", "stop_reason": None, "stop_sequence": None,
            "usage": {"input_tokens": self.tokens[0] if self.tokens else 0, "output_tokens": 1}}
        ) + self.ping()

    def text(self, text):
        return self._block("text") + self._event(
            "content_block_delta", index=self.index, delta={"type": "text_delta", "text": text})

    def think(self, text):
        return self._block("thinking") + self._event(
            "content_block_delta", index=self.index,
            delta={"type": "thinking_delta", "thinking": text})

    def refusal(self, text):
        return self.text(text)

    def finish(self, reason):
        stop = {"stop": "end_turn", "length": "max_tokens", "refused": "refusal"}[reason]
        return self._close() + self._event(
            "message_delta", delta={"stop_reason": stop, "stop_sequence": None},
            usage={"output_tokens": self.tokens[1] if self.tokens else 0})

    def end(self):
        return self._event("message_stop")

    def error(self, kind, message):
        return self._event("error", error={"type": kind, "message": message})

    def error_body(self, kind, message):
        return _dump({"type": "error", "error": {"type": kind, "message": message}})

    def ping(self):
        return self._event("ping")

    def odd(self):
        return self._event("strange", odd=1).replace("data: ", "data:")


class Ollama:
    """Ollama's own API: one JSON object a line, the last one with `done`."""

    content_type = "application/x-ndjson"

    def __init__(self):
        self.tokens = (11, 7)

    def _line(self, message, done=False, **more):
        return _dump({"model": "stand-in", "created_at": "2026-01-01T00:00:00Z",
                      "message": {"role": "assistant", **message}, "done": done, **more}) + "\n"

    def start(self):
        return ""

    def text(self, text):
        return self._line({"content": text})

    def think(self, text):
        return self._line({"content": "", "thinking": text})

    def refusal(self, text):
        return self.text(text)

    def finish(self, reason):
        more = {"done_reason": {"stop": "stop", "length": "length", "refused": "stop"}[reason],
                "total_duration": 1000000}
        if self.tokens:
            more.update(prompt_eval_count=self.tokens[0], eval_count=self.tokens[1])
        return self._line({"content": ""}, True, **more)

    def end(self):
        return ""

    def error(self, kind, message):
        return _dump({"error": message}) + "\n"

    def error_body(self, kind, message):
        return _dump({"error": message})

    def ping(self):
        return "\n"

    def odd(self):
        return '{"odd":1}\n'


NAMES = {
    "openai-chat": Chat, "openai-responses": Responses, "anthropic": Anthropic, "mistral": Mistral,
    "deepseek": Chat, "vllm": Chat, "sglang": Chat, "llama-server": LlamaServer, "ollama": Ollama,
    "openrouter": OpenRouter,
}


def for_path(path):
    """The shape an endpoint's path asks for: /NAME/... names it outright (for the chat family)."""
    first = path.strip("/").split("/", 1)[0]
    if first in NAMES:
        return NAMES[first]()
    if path.endswith("/responses"):
        return Responses()
    if path.endswith("/messages"):
        return Anthropic()
    if path.endswith("/api/chat"):
        return Ollama()
    return Chat()


def parse_request(path, body):
    """What the daemon asked, whatever the dialect: (system text, history, frame). The frame is the
    JSON of the last user turn: `request`, `opener`, `retractable`, `facts`; of a plain turn,
    `request`, `opener` and whether it stood in an open assistant turn (`prefill`)."""
    if not isinstance(body, dict):
        return "", [], {}
    turns = body.get("input" if path.endswith("/responses") else "messages") or []
    system = body.get("instructions") or body.get("system") or ""
    plain = []
    for turn in turns:
        content = turn.get("content")
        if isinstance(content, list):
            content = "".join(part.get("text", "") for part in content)
        if turn.get("role") in ("system", "developer"):
            system = content
        else:
            plain.append((turn.get("role"), content or ""))
    if isinstance(system, list):
        system = "".join(part.get("text", "") for part in system)
    last = plain.pop() if plain else ("user", "")
    prefill = ""
    if last[0] == "assistant":
        prefill, last = last[1], plain.pop() if plain else ("user", "")
    try:
        frame = json.loads(last[1])
    except ValueError:
        frame = None
    if not isinstance(frame, dict):
        frame = {"request": last[1], "opener": prefill, "prefill": bool(prefill)}
    return system, plain, frame
