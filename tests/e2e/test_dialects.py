# SPDX-License-Identifier: MIT
"""Each provider's dialect over real HTTP: requests, streams, ends, errors, refusals."""
import json
import os

import dialects
import harness
from harness import NEUTRAL, OPENER as O

# what every dialect must make of the same scenarios: (reasons, verdict or None for any, text)
COMMON = {
    "ok": (("complete",), "ok", O + " a matter of patience, and of very little else."),
    "one-byte": (("complete",), "fix", O + ", I mean, caf\u00e9 \u65e5\u672c \U0001f600 done."),
    "redo": (("complete",), "redo", "Here is the whole answer, from its beginning."),
    "think": (("complete",), "ok", O + " the visible part."),
    "length": (("truncated",), "ok", O + " a long story that has to stop in the mid"),
    "usage-none": (("complete",), "ok", O + " without any count."),
    "cut-text": (("truncated",), "ok", O + " a beginning that is"),
    "no-finish": (("truncated",), "ok", O + " a text that just ends"),
    "error-late": (("truncated",), "ok", O + " a beginning that"),
    "error-first": (("local",), None, None),
    "http-401": (("local",), None, None),
    "http-529": (("local",), None, None),
}
PATHS = {"openai-responses": "/responses", "anthropic": "/messages", "ollama": "/api/chat"}


class Streams(harness.Case):
    """One daemon a dialect, every scenario of COMMON."""

    def run_dialect(self, name):
        cloud = self.cloud()
        for scenario, (reasons, verdict, text) in COMMON.items():
            daemon = self.daemon(NEUTRAL, cloud=cloud, dialect=name)
            answer = self.client(daemon).ask(f"play:{scenario}")
            self.assertIn(answer.done["reason"], reasons, scenario)
            self.assertNotIn("SECRET", str(answer.events))
            if text is not None:
                self.assertEqual(answer.text, text, scenario)
                self.assertEqual(answer.done["verdict"], verdict, scenario)
            if scenario == "ok":
                self.assertEqual(answer.done["usage"], {"input_tokens": 11, "output_tokens": 7})
            daemon.stop()

    def run_request(self, name):
        cloud = self.cloud("ok")
        daemon = self.daemon(NEUTRAL, cloud=cloud, dialect=name, start=False)
        key = os.path.join(daemon.dir, "key")
        with open(os.open(key, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
            file.write("sk-test")
        daemon.sections["cloud"].update(key_file=key, extra_headers="X-Extra: yes")
        daemon.write_config()
        daemon.start()
        self.client(daemon).ask("what is it", context=["It rains"], history=[
            {"role": "user", "content": "before"}, {"role": "assistant", "content": "after"}])
        request = cloud.requests[-1]
        self.assertTrue(request.path.endswith(PATHS.get(name, "/chat/completions")), request.path)
        self.assertEqual(request.headers["x-extra"], "yes")
        if name == "anthropic":
            self.assertEqual(request.headers["x-api-key"], "sk-test")
            self.assertEqual(request.headers["anthropic-version"], "2023-06-01")
        else:
            self.assertEqual(request.headers["authorization"], "Bearer sk-test")
        body = request.json
        self.assertEqual(body["model"], "stand-in")
        self.assertIs(body["stream"], True)
        self.assertIn("[[redo]]", request.system)
        self.assertEqual([tuple(t) for t in request.history],
                         [("user", "before"), ("assistant", "after")])
        self.assertEqual(request.frame["opener"], O)
        limits = {"openai-chat": "max_completion_tokens", "openai-responses": "max_output_tokens"}
        if name == "openai-responses":
            self.assertIs(body["store"], False)
        if name != "ollama":
            self.assertEqual(body[limits.get(name, "max_tokens")], 400)


for _name in dialects.NAMES:
    setattr(Streams, "test_stream_" + _name.replace("-", "_"),
            lambda self, name=_name: self.run_dialect(name))
    setattr(Streams, "test_request_" + _name.replace("-", "_"),
            lambda self, name=_name: self.run_request(name))


class Prefill(harness.Case):
    REFUSAL = ("status 400\nfail invalid_request_error This model does not support assistant "
               "message prefill. The conversation must end with a user message.")

    def daemon_for(self, cloud, dialect="anthropic"):
        daemon = self.daemon(NEUTRAL, cloud=cloud, dialect=dialect, start=False)
        daemon.sections["cloud"]["mode"] = "prefill"
        daemon.write_config()
        daemon.start()
        return daemon

    def test_the_opener_is_an_open_turn(self):
        for dialect in ("anthropic", "mistral", "deepseek", "vllm", "sglang", "llama-server",
                        "ollama", "openrouter"):
            cloud = self.cloud("answer a plain continuation.")
            answer = self.client(self.daemon_for(cloud, dialect)).ask("what is it")
            frame = cloud.requests[-1].frame
            self.assertEqual((frame["request"], frame["opener"], frame.get("prefill")),
                             ("what is it", O, True), dialect)
            self.assertEqual(answer.text, O + " a plain continuation.", dialect)
            self.assertIsNone(answer.done["verdict"])

    def test_an_echo_is_stripped(self):
        cloud = self.cloud("answer {opener} a plain continuation.")
        answer = self.client(self.daemon_for(cloud, "mistral")).ask("what is it")
        self.assertEqual(answer.text, O + " a plain continuation.")

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


if __name__ == "__main__":
    harness.main()
