# SPDX-License-Identifier: MIT
"""Each provider's dialect over real HTTP: requests, streams, ends, errors, refusals."""
import json
import os
import socket

import dialects
import harness
from harness import NEUTRAL, OPENER as O

PATHS = {"openai-responses": "/responses", "anthropic": "/messages", "ollama": "/api/chat"}
# the members of each request, and those of prefill mode
CHAT = {"model", "stream", "messages", "stream_options"}
SERVED = CHAT | {"max_tokens", "chat_template_kwargs"}
MEMBERS = {
    "openai-chat": CHAT | {"max_completion_tokens"},
    "openai-responses": {"model", "stream", "store", "instructions", "input",
                         "max_output_tokens"},
    "anthropic": {"model", "max_tokens", "stream", "system", "messages"},
    "mistral": {"model", "stream", "messages", "max_tokens"},
    "deepseek": CHAT | {"max_tokens", "thinking"},
    "vllm": SERVED, "sglang": SERVED,
    "llama-server": SERVED | {"cache_prompt", "sse_ping_interval"},
    "ollama": {"model", "stream", "think", "keep_alive", "options", "messages"},
    "openrouter": CHAT | {"max_completion_tokens", "reasoning"},
}
PREFILL = {
    "anthropic": set(), "mistral": set(), "deepseek": set(), "llama-server": set(),
    "vllm": {"continue_final_message", "add_generation_prompt", "echo"},
    "sglang": {"continue_final_message"}, "ollama": set(), "openrouter": set(),
}
PREFIXED = ("mistral", "deepseek")  # the open turn says that it is one
DEADLINES = {name: int(ms * harness.SLOW) for name, ms in {
    "first_byte_ms": 800, "first_text_ms": 1200, "idle_ms": 800}.items()}


def of_each(test, *names):
    """A test for each dialect of one method that takes its name."""
    for name in names or dialects.NAMES:
        yield f"_{test.__name__[5:]}_{name.replace('-', '_')}", \
            lambda self, name=name: test(self, name)


class Requests(harness.Case):
    """What each provider is sent."""

    def each_request(self, name):
        cloud = self.cloud("ok")
        daemon = self.daemon(NEUTRAL, cloud=cloud, dialect=name, start=False)
        key = os.path.join(daemon.dir, "key")
        with open(os.open(key, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
            file.write("sk-test")
        daemon.sections["cloud"].update(key_file=key, extra_headers="X-Extra: yes",
                                        max_tokens="123")
        daemon.write_config()
        daemon.start()
        self.client(daemon).ask("what is it", context=["It rains"], history=[
            {"role": "user", "content": "before"}, {"role": "assistant", "content": "after"}])
        request = cloud.requests[-1]
        self.assertTrue(request.path.endswith(PATHS.get(name, "/chat/completions")), request.path)
        self.assertEqual(request.headers["x-extra"], "yes")
        self.assertEqual(request.headers["content-type"], "application/json")
        if name == "anthropic":
            self.assertEqual(request.headers["x-api-key"], "sk-test")
            self.assertEqual(request.headers["anthropic-version"], "2023-06-01")
            self.assertNotIn("authorization", request.headers)
        else:
            self.assertEqual(request.headers["authorization"], "Bearer sk-test")
        body = request.json
        self.assertEqual(set(body), MEMBERS[name])
        self.assertEqual(body["model"], "stand-in")
        self.assertIs(body["stream"], True)
        self.assertIn("[[redo]]", request.system)
        self.assertEqual([tuple(t) for t in request.history],
                         [("user", "before"), ("assistant", "after")])
        self.assertEqual(request.frame["opener"], O)
        self.assertEqual(request.frame["facts"], ["It rains"])
        limits = {k: v for k, v in {**body, **body.get("options", {})}.items()
                  if k.startswith("max_") or k == "num_predict"}
        self.assertEqual(list(limits.values()), [123])
        self.assertIs(body.get("store", False), False)

    def each_request_without_an_opener(self, name):
        upstream = self.cloud("answer A whole answer of its own.")
        answer = self.client(self.daemon(cloud=upstream, model=None, dialect=name)).ask("what is")
        self.assertEqual(answer.text, "A whole answer of its own.")
        self.assertEqual((answer.done["source"], answer.done["verdict"]), ("cloud", None))
        self.assertNotIn("[[", upstream.requests[-1].system)
        self.assertEqual(set(upstream.requests[-1].json), MEMBERS[name])


class Turns(harness.Case):
    """A turn that is broken off closes the upstream, and nothing follows its end."""

    def each_cancel_and_supersede(self, name):
        cloud = self.cloud("ok")
        daemon = self.daemon(NEUTRAL, cloud=cloud, dialect=name)
        user = self.client(daemon)
        for row, seen in (("stall-headers", None), ("stall-tag", None), ("endless", "delta")):
            answer = user.start(f"play:{row}")
            if seen:
                user.read_until(lambda: answer.has(seen))
            self.assertTrue(cloud.await_state(lambda c: any(
                row in r.question for r in c.requests), harness.WAIT))
            user.send({"op": "cancel", "id": answer.id})
            self.assertEqual(user.finish(answer).done["reason"], "cancelled")
        answer = user.start("play:endless again", session="s")
        user.read_until(lambda: answer.has("delta"))
        self.assertEqual(user.ask("play:ok", session="s").done["reason"], "complete")
        self.assertEqual(user.finish(answer).done["reason"], "superseded")
        self.assertTrue(cloud.await_state(
            lambda c: [r.ended for r in c.requests] == ["gone"] * 4 + ["served"], harness.WAIT))


class Unreachable(harness.Case):
    """Nobody there: the answer is ended on the device, in time."""

    def each_unreachable(self, name):
        silent, plain = self.cloud("ok"), self.cloud("ok")
        silent.on_accept = "stall"
        with socket.create_server(("127.0.0.1", 0)) as sock:
            closed = sock.getsockname()[1]
        bases = [f"http://127.0.0.1:{closed}", silent.url, "https://no-such-host.invalid",
                 plain.url.replace("http:", "https:")]
        daemons = [self.daemon({**NEUTRAL, "deadlines": DEADLINES,
                                "cloud": {"dialect": name, "url": base, "model": "m"}})
                   for base in bases]
        users = [self.client(daemon) for daemon in daemons]
        answers = [user.start("q") for user in users]
        for base, user, answer in zip(bases, users, answers):
            done = user.finish(answer).done
            self.assertEqual((done["reason"], done["source"]), ("local", "local"), base)
            self.assertIn("offline", [e["code"] for e in answer.of("notice")])
            self.assertTrue(answer.text.startswith(O + "\u2026 "), answer.text)


class Prefill(harness.Case):
    REFUSAL = ("status 400\nfail invalid_request_error This model does not support assistant "
               "message prefill. The conversation must end with a user message.")

    def daemon_for(self, cloud, dialect="anthropic"):
        daemon = self.daemon(NEUTRAL, cloud=cloud, dialect=dialect, start=False)
        daemon.sections["cloud"]["mode"] = "prefill"
        daemon.write_config()
        daemon.start()
        return daemon

    def each_open_turn(self, name):
        cloud = self.cloud("answer a plain continuation.")
        cloud.play("answer {opener} a plain continuation.", when="whole")
        cloud.play("answer \" {opener:2} a plain continuation.\"", when="part")
        daemon = self.daemon_for(cloud, name)
        user = self.client(daemon)
        for question, echo in (("what is it", "no"), ("the whole echo", "yes"),
                               ("a part of it", "no")):
            answer = user.ask(question)
            request = cloud.requests[-1]
            self.assertEqual((request.frame["request"], request.frame["opener"]), (question, O))
            self.assertIs(request.frame.get("prefill"), True)
            self.assertEqual(answer.text, O + " a plain continuation.", question)
            self.assertIsNone(answer.done["verdict"])
            self.assertEqual(set(request.json), MEMBERS[name] | PREFILL[name])
            self.assertNotIn("[[", request.system)
            last = request.json["messages"][-1]
            self.assertEqual(last, {"role": "assistant", "content": O, **(
                {"prefix": True} if name in PREFIXED else {})})
            self.assertEqual(daemon.status()["cloud"][0]["learned"],
                             {"prefill": "yes", "echo": echo, "tag": "unknown"})

    def each_refusal_of_it(self, name):
        cloud = self.cloud("ok")
        cloud.for_prefill = self.REFUSAL
        daemon = self.daemon_for(cloud, name)
        user = self.client(daemon)
        answer = user.ask("what is it")
        self.assertEqual((answer.done["reason"], answer.done["verdict"]), ("complete", "ok"))
        self.assertEqual([r.frame.get("prefill", False) for r in cloud.requests], [True, False])
        user.ask("and then")
        self.assertEqual(len(cloud.requests), 3)
        self.assertEqual(daemon.status()["cloud"][0]["learned"],
                         {"prefill": "no", "echo": "unknown", "tag": "ok"})

    def test_a_refusal_is_learned_and_remembered(self):
        cloud = self.cloud("ok")
        cloud.for_prefill = self.REFUSAL
        daemon = self.daemon_for(cloud)
        answer = self.client(daemon).ask("what is it")
        self.assertEqual(answer.done["reason"], "complete")
        self.assertEqual([r.frame.get("prefill", False) for r in cloud.requests], [True, False])
        self.client(daemon).ask("and then")
        self.assertEqual(len(cloud.requests), 3)
        path = os.path.join(daemon.state_dir, "capabilities.json")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        with open(path, encoding="utf-8") as file:
            json.load(file)
        daemon.signal(15)
        self.assertEqual(daemon.wait(), 0)
        daemon.start()
        self.client(daemon).ask("once more")
        self.assertEqual(len(cloud.requests), 4, "the refusal was forgotten")

    def test_a_corrupt_memory_is_ignored(self):
        cloud = self.cloud("ok")
        daemon = self.daemon(NEUTRAL, cloud=cloud, start=False)
        with open(os.path.join(daemon.state_dir, "capabilities.json"), "wb") as file:
            file.write(b'{"a": [\xff')
        daemon.start()
        self.assertEqual(self.client(daemon).ask("q").done["reason"], "complete")


class Endpoints(harness.Case):
    """Several clouds, tried in order."""

    def pair(self, first, second, **keys):
        one, two = self.cloud(first), self.cloud(second)
        return one, two, self.daemon({
            **NEUTRAL, "cloud.one": {**harness.Daemon.endpoint(one), **keys},
            "cloud.two": harness.Daemon.endpoint(two, "anthropic")})

    def test_the_first_that_answers(self):
        one, two, daemon = self.pair("ok", "answer [[ok]] never.")
        self.assertEqual(self.client(daemon).ask("q").text[len(O):],
                         " a matter of patience, and of very little else.")
        self.assertEqual((len(one.requests), len(two.requests)), (1, 0))

    def test_failover_before_the_first_byte(self):
        for fault in ("http-503", "http-401", "reset-before", "error-first"):
            one, two, daemon = self.pair(fault, "answer [[ok]] from the second.")
            answer = self.client(daemon).ask("q")
            self.assertEqual(answer.text, O + " from the second.", fault)
            self.assertEqual(len(two.requests), 1)

    def test_no_failover_after_text(self):
        _, two, daemon = self.pair("cut-text", "answer [[ok]] from the second.")
        self.assertEqual(self.client(daemon).ask("q").done["reason"], "truncated")
        self.assertEqual(two.requests, [])

    def test_a_broken_one_is_left_alone(self):
        one, _, daemon = self.pair("http-503", "answer [[ok]] from the second.")
        user = self.client(daemon)
        for number in range(12):
            self.assertEqual(user.ask(f"q{number}").done["reason"], "complete")
        self.assertLess(len(one.requests), 12)
        health = {e["name"]: e["health"] for e in daemon.status()["cloud"]}
        self.assertEqual(health["two"], "ok")
        self.assertIn(health["one"], ("down", "probing"))


for _case, _test, *_names in (
        (Requests, Requests.each_request), (Requests, Requests.each_request_without_an_opener),
        (Turns, Turns.each_cancel_and_supersede), (Unreachable, Unreachable.each_unreachable),
        (Prefill, Prefill.each_open_turn, *PREFILL),
        (Prefill, Prefill.each_refusal_of_it, *PREFILL)):
    for _name, _method in of_each(_test, *_names):
        setattr(_case, "test" + _name, _method)


if __name__ == "__main__":
    harness.main()
