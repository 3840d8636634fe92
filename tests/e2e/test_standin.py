# SPDX-License-Identifier: MIT
"""The stand-in cloud itself: every scenario parses, and every dialect's shape says what it should."""
import glob
import http.client
import json
import os

import dialects
import harness
import standin

NAMES = sorted(os.path.basename(p)[:-5]
               for p in glob.glob(os.path.join(standin.SCENARIOS, "*.play")))


def post(cloud, path, question, opener="The answer to it is"):
    """One request as a plain client makes it: the response's body."""
    host, port = cloud.address
    connection = http.client.HTTPConnection(host, port, timeout=harness.WAIT)
    frame = json.dumps({"request": question, "opener": opener, "retractable": True})
    body = json.dumps({"messages": [{"role": "user", "content": frame}],
                       "input": [{"role": "user", "content": frame}]})
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    try:
        return response, response.read().decode("utf-8")
    finally:
        connection.close()


def events(body):
    """(event name or None, parsed data) of an SSE body."""
    for block in body.split("\n\n"):
        name, data = None, []
        for line in block.split("\n"):
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                data.append(line[6:])
        if data and data != ["[DONE]"]:
            yield name, json.loads("\n".join(data))


class Scenarios(harness.Case):
    def test_every_file_parses(self):
        self.assertTrue(NAMES)
        for name in NAMES:
            takes = standin.load_scenario(name)
            self.assertTrue(all(takes), name)

    def test_an_unknown_step_is_an_error(self):
        with self.assertRaises(ValueError):
            standin.parse_scenario("sing a song")


class Shapes(harness.Case):
    def answer(self, path):
        cloud = self.cloud("think hidden\nsay caf\u00e9\nsay \" au lait\"\nfinish stop\nend")
        return post(cloud, path, "q")

    def test_chat(self):
        response, body = self.answer("/v1/chat/completions")
        self.assertEqual(response.getheader("content-type").split(";")[0], "text/event-stream")
        data = [e for _, e in events(body)]
        choices = [e["choices"][0] for e in data if e["choices"]]
        self.assertIsNone(choices[0]["delta"]["content"])
        self.assertEqual("".join(c["delta"].get("content") or "" for c in choices), "caf\u00e9 au lait")
        self.assertEqual(choices[-1]["finish_reason"], "stop")
        self.assertEqual(data[-1]["usage"]["completion_tokens"], 7)
        self.assertTrue(body.endswith("data: [DONE]\n\n"))

    def test_responses(self):
        _, body = self.answer("/v1/responses")
        data = list(events(body))
        self.assertTrue(all(name == e["type"] for name, e in data))
        self.assertEqual("".join(e["delta"] for n, e in data if n == "response.output_text.delta"),
                         "caf\u00e9 au lait")
        self.assertEqual(data[-1][0], "response.completed")
        self.assertEqual([e["sequence_number"] for _, e in data],
                         sorted(e["sequence_number"] for _, e in data))

    def test_anthropic(self):
        _, body = self.answer("/v1/messages")
        data = list(events(body))
        self.assertEqual(data[0][0], "message_start")
        self.assertEqual(data[-1][0], "message_stop")
        text = [e["delta"]["text"] for n, e in data
                if n == "content_block_delta" and e["delta"]["type"] == "text_delta"]
        self.assertEqual("".join(text), "caf\u00e9 au lait")
        starts = [e["index"] for n, e in data if n == "content_block_start"]
        stops = [e["index"] for n, e in data if n == "content_block_stop"]
        self.assertEqual(starts, [0, 1])
        self.assertEqual(starts, stops)

    def test_ollama(self):
        response, body = self.answer("/api/chat")
        self.assertEqual(response.getheader("content-type"), "application/x-ndjson")
        lines = [json.loads(line) for line in body.splitlines()]
        self.assertEqual("".join(e["message"]["content"] for e in lines), "caf\u00e9 au lait")
        self.assertEqual([e["done"] for e in lines], [False] * (len(lines) - 1) + [True])

    def test_every_named_dialect_answers(self):
        for name in dialects.NAMES:
            _, body = self.answer(f"/{name}/v1/chat/completions")
            self.assertIn("caf\u00e9", body, name)


class Behaviour(harness.Case):
    def test_request_is_recorded_and_read(self):
        cloud = self.cloud("answer fine")
        post(cloud, "/v1/chat/completions", "how so")
        self.assertEqual((cloud.requests[0].question, cloud.requests[0].opener),
                         ("how so", "The answer to it is"))
        self.assertTrue(cloud.await_state(lambda c: c.requests[0].ended == "served"))

    def test_second_attempt_gets_the_next_take(self):
        cloud = self.cloud("http-500-once")
        self.assertEqual(post(cloud, "/v1/chat/completions", "a")[0].status, 500)
        self.assertEqual(post(cloud, "/v1/chat/completions", "a")[0].status, 200)
        self.assertEqual(post(cloud, "/v1/chat/completions", "b")[0].status, 500)

    def test_a_question_names_its_scenario(self):
        cloud = self.cloud("ok")
        self.assertEqual(post(cloud, "/v1/chat/completions", "x play:http-503 y")[0].status, 503)

    def test_the_opener_is_put_in(self):
        cloud = self.cloud("answer {opener:2}, {opener}")
        self.assertIn("it is, The answer to it is", post(cloud, "/v1/chat/completions", "q")[1])

    def test_a_peer_that_leaves_is_seen(self):
        cloud = self.cloud("stall-text")
        host, port = cloud.address
        connection = http.client.HTTPConnection(host, port, timeout=harness.WAIT)
        connection.request("POST", "/v1/chat/completions", "{}")
        connection.getresponse().read(10)
        connection.sock.close()
        connection.close()
        self.assertTrue(cloud.await_state(
            lambda c: c.requests and c.requests[0].ended == "gone", harness.WAIT))


if __name__ == "__main__":
    harness.main()
