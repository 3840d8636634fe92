# SPDX-License-Identifier: MIT
"""Bad networks between the daemon and the cloud: delay, jitter, loss, outages, connections that
break off at any byte."""
import harness
import link
import outcomes
import standin
from harness import NEUTRAL, OPENER as O, SLOW

SAID = "a matter of patience, and of very little else."
TEXT = f"{O} {SAID}"
DEADLINES = {name: int(ms * SLOW) for name, ms in {
    "first_byte_ms": 4000, "first_text_ms": 5000, "stalled_ms": 500, "idle_ms": 3000}.items()}


class Case(harness.Case):
    def check_part(self, answer):
        """Whatever came of it: a beginning of the text, or the device's own ending."""
        done = answer.done
        closes = (outcomes.CLOSE, outcomes.FAILED)
        self.assertTrue(TEXT.startswith(answer.text) or answer.text in closes, answer.text)
        if done["reason"] == "complete":
            self.assertEqual(answer.text, TEXT)
        else:
            reason = "local" if answer.text in closes else "truncated"
            self.assertEqual(done["reason"], reason)


class Relayed(Case):
    def setUp(self):
        self.upstream = self.cloud("ok")
        self.relay = link.Relay(self.upstream.address)
        self.addCleanup(self.relay.close)
        endpoint = harness.Daemon.endpoint(self.upstream)
        endpoint["url"] = "http://127.0.0.1:%d/v1" % self.relay.address[1]
        self.server = self.daemon({**NEUTRAL, "deadlines": DEADLINES, "cloud": endpoint})
        self.user = self.client(self.server)

    def test_delay_and_jitter(self):
        self.relay.delay_ms, self.relay.jitter_ms = 20, 60
        for _ in range(5):
            self.assertEqual(self.user.ask("q").text, TEXT)

    def break_off(self, how, places):
        """Every answer is broken off at that place of it, again when it is asked again."""
        for place in places:
            self.relay.broken = lambda sent, data, place=place: (
                (max(0, place - sent), how) if sent + len(data) > place else None)
            answer = self.user.ask(f"at {place}")
            self.check_part(answer)
            yield answer
        self.relay.broken = lambda sent, data: None
        self.assertEqual(self.user.ask("and again").text, TEXT)

    def test_reset_at_many_places(self):
        reasons = {a.done["reason"] for a in self.break_off("reset", range(0, 2600, 97))}
        self.assertLessEqual({"local", "truncated"}, reasons)

    def test_closed_at_many_places(self):
        reasons = {a.done["reason"] for a in self.break_off("close", range(0, 2600, 97))}
        self.assertLessEqual({"local", "truncated"}, reasons)

    def test_stalled_at_a_few_places(self):
        for answer in self.break_off("stall", (50, 1100)):
            self.assertIn(answer.done["reason"], ("local", "truncated"))


class Wire(Case):
    """The daemon in one network, the cloud in another, a wire between."""

    def setUp(self):
        try:
            self.link = link.Link()
        except (OSError, EOFError) as error:
            self.skipTest(f"NOT TESTED: {error}")
        self.addCleanup(self.link.close)
        self.upstream = standin.Standin(listener=self.link.listener)
        self.addCleanup(self.upstream.close)
        self.upstream.play("ok")
        self.server = self.daemon({**NEUTRAL, "deadlines": DEADLINES, "cloud": {
            "url": f"http://{link.THERE}/v1", "allow_http": "yes", "model": "m"}},
            wrap=[*self.link.enter, *harness.WRAP])
        self.user = self.client(self.server)

    def test_delay(self):
        self.link.delay_ms = 100
        timing = self.user.ask("q").done["timing"]
        self.assertGreaterEqual(timing["cloud_first_byte"] - timing["cloud_sent"], 200)
        for _ in range(3):
            self.assertEqual(self.user.ask("q").text, TEXT)
        self.assertLessEqual(self.upstream.connections, 2)  # the warm one, and one behind it

    def test_loss_jitter_and_reordering(self):
        self.link.delay_ms, self.link.jitter_ms, self.link.loss = 20, 40, 0.05
        answers = [self.user.start(f"q{n}") for n in range(20)]
        for answer in answers:
            self.check_part(self.user.finish(answer))
        self.assertGreater(self.link.lost, 0)
        complete = [a for a in answers if a.done["reason"] == "complete"]
        self.assertGreaterEqual(len(complete), 10)

    def test_much_loss(self):
        self.link.delay_ms, self.link.loss = 10, 0.4
        answers = [self.user.start(f"q{n}") for n in range(10)]
        for answer in answers:
            self.check_part(self.user.finish(answer))
        self.link.loss = 0
        self.recovers()

    def recovers(self):
        """The next answers are whole again, over a new connection where the old one is dead."""
        for _ in range(20):
            if self.user.ask("once more").text == TEXT:
                return
        self.fail("it never came back")

    def test_an_outage_while_it_speaks(self):
        self.upstream.play('say [[ok]] a matter\ndrip 50\nrepeat 1000 " of patience"')
        answer = self.user.start("q")
        self.user.read_until(lambda: len(answer.of("delta")) >= 3)
        self.link.down = True
        done = self.user.finish(answer).done
        self.assertEqual((done["reason"], done["source"]), ("truncated", "mixed"))
        self.assertIn("stalled", [e["code"] for e in answer.of("notice")])
        self.link.down = False
        self.upstream.play("ok")
        self.recovers()

    def test_an_outage_before_the_question(self):
        self.assertEqual(self.user.ask("q").text, TEXT)
        self.link.down = True
        answer = self.user.ask("in the tunnel")
        self.assertEqual((answer.done["reason"], answer.text), ("local", outcomes.CLOSE))
        self.assertIn("offline", [e["code"] for e in answer.of("notice")])
        self.link.down = False
        self.recovers()

    def test_an_outage_that_ends_in_time(self):
        """A kept connection's packets are sent again; the wearer only waits."""
        self.assertEqual(self.user.ask("q").text, TEXT)
        self.link.down = True
        answer = self.user.start("at the end of the tunnel")
        self.user.read_until(lambda: answer.has("opened"))
        lost = self.link.lost
        self.assertTrue(self.await_lost(lost))
        self.link.down = False
        self.assertEqual(self.user.finish(answer).text, TEXT)

    def await_lost(self, lost):
        for _ in range(1000):
            if self.link.lost > lost:
                return True
            self.upstream.await_state(lambda c: False, 0.01)
        return False

    def test_cancel_in_an_outage(self):
        self.link.down = True
        answer = self.user.start("q")
        self.user.read_until(lambda: answer.has("opened"))
        self.user.send({"op": "cancel", "id": answer.id})
        self.assertEqual(self.user.finish(answer).done["reason"], "cancelled")


if __name__ == "__main__":
    harness.main()
