# SPDX-License-Identifier: MIT
"""Around the hand-off: what the cloud is asked, how answers end, when a redo is obeyed, notices.
What comes of each thing that a cloud may say is in test_matrix."""
import json
import os
import socket

import harness
from harness import NEUTRAL, OPENER as O
from outcomes import FAILED, PHRASE


class Endings(harness.Case):
    """Answers whose last words the daemon has to find itself."""

    def setUp(self):
        self.upstream = self.cloud()
        self.server = self.daemon(NEUTRAL, cloud=self.upstream)
        self.user = self.client(self.server)

    def test_an_empty_continuation_is_no_answer(self):
        for name in ("empty", "tag-only"):
            answer = self.user.ask(f"play:{name}")
            self.assertEqual(answer.done["reason"], "local")
            self.assertEqual(answer.text, FAILED)
            self.assertEqual([e["code"] for e in answer.of("notice")], ["offline"])
        status = self.server.status()
        self.assertEqual(status["counters"]["empty_continuation"], 2)
        self.assertEqual(status["counters"]["local"], 2)
        self.assertEqual([status["cloud"][0][name] for name in
                          ("health", "failures", "last_failure")], ["down", 2, "empty"])

    def test_an_empty_continuation_of_a_whole_sentence_is_an_answer(self):
        whole = "Let me look at that."
        server = self.daemon({"opener": {**NEUTRAL["opener"], "neutral": whole}},
                             cloud=self.upstream)
        answer = self.client(server).ask("play:tag-only")
        self.assertEqual((answer.done["reason"], answer.text), ("complete", whole))
        self.assertEqual(server.status()["cloud"][0]["health"], "ok")

    def test_a_close_that_stands_alone(self):
        """Without an opener, and with a cloud that responds or does not."""
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            url = "http://127.0.0.1:%d/v1" % sock.getsockname()[1]
        for cloud, close in (({}, "I can't answer that right now."),
                             ({"url": url}, "I'll need a connection for that.")):
            server = self.daemon({"cloud": {**harness.Daemon.endpoint(self.upstream), **cloud}},
                                 model=None)
            answer = self.client(server).ask("play:http-401")
            self.assertEqual((answer.done["reason"], answer.text), ("local", close))

    def test_a_refusal_after_a_colon(self):
        opener = "Here is how things stand:"
        server = self.daemon({"opener": {**NEUTRAL["opener"], "neutral": opener}},
                             cloud=self.upstream)
        answer = self.client(server).ask("play:refused")
        self.assertEqual(answer.text, opener + " I would rather not help with that.")

    def test_a_refusal_with_text_is_a_fix(self):
        answer = self.user.ask("play:refused")
        self.assertEqual((answer.done["reason"], answer.done["verdict"]), ("refused", "fix"))
        self.assertTrue(answer.text.startswith(O))
        self.assertTrue(answer.text.endswith("I would rather not help with that."), answer.text)

    def test_a_silent_refusal_gets_the_configured_close(self):
        answer = self.user.ask("play:refused-silent")
        self.assertEqual(answer.done["reason"], "refused")
        self.assertTrue(answer.text.startswith(O) and len(answer.text) > len(O), answer.text)

    def test_usage_is_told(self):
        self.assertEqual(self.user.ask("play:ok").done["usage"],
                         {"input_tokens": 11, "output_tokens": 7})
        self.assertIsNone(self.user.ask("play:usage-none").done["usage"])

    def test_length_close(self):
        server = self.daemon({**NEUTRAL, "corrections": {"length_close": "\u2026"}},
                             cloud=self.upstream)
        answer = self.client(server).ask("play:length")
        self.assertTrue(answer.text.endswith("in the mid\u2026"), answer.text)


class Request(harness.Case):
    """What the cloud is asked."""

    def test_frame(self):
        upstream = self.cloud("ok")
        user = self.client(self.daemon(NEUTRAL, cloud=upstream))
        user.ask("Is it \"far\"? <|im_end|>", context=["It is late", "Battery: 40%"])
        request = upstream.requests[-1]
        self.assertEqual(request.frame["request"], "Is it \"far\"? <|im_end|>")
        self.assertEqual(request.frame["opener"], O)
        self.assertIs(request.frame["retractable"], True)
        self.assertEqual(request.frame["facts"], ["It is late", "Battery: 40%"])
        self.assertIn("[[fix]]", request.system)
        self.assertEqual(request.method, "POST")
        self.assertTrue(request.json["stream"])

    def test_redo_is_offered_only_where_it_can_be_had(self):
        upstream = self.cloud("ok")
        user = self.client(self.daemon(NEUTRAL, cloud=upstream))
        for members, expected in (({"medium": "speech"}, False),
                                  ({"medium": "speech", "retractable": True}, True),
                                  ({"medium": "display", "retractable": False}, False)):
            user.ask("q", **members)
            self.assertIs(upstream.requests[-1].frame["retractable"], expected, members)

    def test_the_cloud_is_asked_without_an_opener_where_there_is_no_model(self):
        upstream = self.cloud("answer A whole answer of its own.")
        answer = self.client(self.daemon(cloud=upstream, model=None)).ask("what is it")
        self.assertEqual(answer.text, "A whole answer of its own.")
        self.assertEqual(answer.done["source"], "cloud")
        self.assertIsNone(answer.done["timing"]["opener"])
        self.assertNotIn("[[", upstream.requests[-1].system)

    def test_a_tag_that_nobody_asked_for_is_not_shown(self):
        upstream = self.cloud("answer [[ok]] A whole answer.")
        user = self.client(self.daemon(cloud=upstream, model=None))
        answer = user.ask("what is it")
        self.assertEqual((answer.text, answer.done["verdict"]), ("A whole answer.", None))
        upstream.play("answer [[note]] this is text.")
        self.assertEqual(user.ask("what is it").text, "[[note]] this is text.")

    def test_history_reaches_the_cloud_in_order(self):
        upstream = self.cloud("ok")
        user = self.client(self.daemon(NEUTRAL, cloud=upstream))
        user.ask("and now", history=[{"role": "user", "content": "first"},
                                     {"role": "assistant", "content": "second"}])
        self.assertEqual([tuple(t) for t in upstream.requests[-1].history],
                         [("user", "first"), ("assistant", "second")])


class Retractable(harness.Case):
    """Redo is obeyed if and only if nothing was heard and the client can take words back."""

    def setUp(self):
        self.upstream = self.cloud("wait 100\nanswer [[redo]] Anew.")
        self.server = self.daemon(NEUTRAL, cloud=self.upstream)
        self.user = self.client(self.server)

    def test_display_that_cannot_retract(self):
        answer = self.user.ask("q", retractable=False)
        self.assertEqual((answer.done["verdict"], answer.text), ("fix", O + PHRASE + "Anew."))

    def test_speech_that_can(self):
        answer = self.user.ask("q", medium="speech", retractable=True)
        self.assertEqual((answer.done["verdict"], answer.text), ("redo", "Anew."))

    def test_played_forbids_it(self):
        self.upstream.play("open\nwait 700\nanswer [[redo]] Anew.")
        answer = self.user.start("q", medium="speech", retractable=True)
        self.user.read_until(lambda: answer.has("opened"))
        self.user.send({"op": "played", "id": answer.id, "words": 2})
        self.user.finish(answer)
        self.assertEqual((answer.done["verdict"], answer.text), ("fix", O + PHRASE + "Anew."))
        self.assertEqual(self.server.status()["counters"]["redo_downgraded"], 1)

    def test_played_nothing_allows_it(self):
        self.upstream.play("open\nwait 300\nanswer [[redo]] Anew.")
        answer = self.user.start("q", medium="speech", retractable=True)
        self.user.read_until(lambda: answer.has("opened"))
        self.user.send({"op": "played", "id": answer.id, "words": 0})
        self.user.finish(answer)
        self.assertEqual((answer.done["verdict"], answer.text), ("redo", "Anew."))

    def test_a_correction_that_is_not_allowed_becomes_the_next(self):
        for allow, verdict, text in (("pivot,fix", "pivot", None), ("fix", "fix", None)):
            server = self.daemon({**NEUTRAL, "corrections": {"allow": allow}},
                                 cloud=self.upstream)
            answer = self.client(server).ask("q")
            self.assertEqual(answer.done["verdict"], verdict, allow)
            self.assertTrue(answer.text.startswith(O) and answer.text.endswith("Anew."),
                            answer.text)


@harness.unittest.skipUnless(os.getuid() == 0, "NOT TESTED: other users' questions need root")
class Tags(harness.Case):
    """A model that forgets its tag is asked without one; one user alone cannot bring that about."""

    def ask(self, uid, question):
        """Asks as that user, in a process of its own; returns the end of the answer."""
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
                done = harness.Client(self.server.socket).ask(question).done
                os.write(write, json.dumps(done).encode())
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read, encoding="utf-8") as file:
            done = file.read()
        os.waitpid(child, 0)
        return json.loads(done)

    def test_three_users_that_miss_it(self):
        upstream = self.cloud("tag-missing")
        self.server = self.daemon({**NEUTRAL, "daemon": {"socket_mode": "0666",
                                                         "allow_uids": "0 60001 60002 60003"}},
                                  cloud=upstream)
        os.chmod(self.server.dir, 0o755)
        for _ in range(12):
            self.assertIsNone(self.ask(60001, "q")["verdict"])
        self.assertEqual(self.server.status()["cloud"][0]["learned"]["tag"], "ok")
        self.assertIn("[[", upstream.requests[-1].system)
        for uid in (60002, 60003):
            self.ask(uid, "q")
        self.assertEqual(self.server.status()["cloud"][0]["learned"]["tag"], "bad")
        done = self.ask(60001, "q")
        self.assertNotIn("[[", upstream.requests[-1].system)
        self.assertEqual((done["reason"], done["verdict"]), ("complete", None))
        self.assertEqual(done["text"], O + " a plain continuation without any tag.")


class Notices(harness.Case):
    def test_thinking(self):
        upstream = self.cloud("open\nwait 600\nanswer [[ok]] a thing.")
        server = self.daemon({**NEUTRAL, "deadlines": {"thinking_ms": 100}}, cloud=upstream)
        answer = self.client(server).ask("q")
        self.assertEqual([e["code"] for e in answer.of("notice")], ["thinking"])

    def test_stalled(self):
        upstream = self.cloud("say [[ok]] a thing\nwait 700\nsay \" of beauty.\"\nfinish stop\nend")
        server = self.daemon({**NEUTRAL, "deadlines": {"stalled_ms": 100}}, cloud=upstream)
        answer = self.client(server).ask("q")
        self.assertEqual([e["code"] for e in answer.of("notice")], ["stalled"])
        self.assertEqual(answer.text, O + " a thing of beauty.")

    def test_offline_without_a_cloud(self):
        answer = self.client(self.daemon(NEUTRAL)).ask("q")
        self.assertEqual((answer.done["reason"], answer.done["source"], answer.done["verdict"]),
                         ("local", "local", None))
        self.assertTrue(answer.text.startswith(O))


if __name__ == "__main__":
    harness.main()
