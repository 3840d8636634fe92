# SPDX-License-Identifier: MIT
"""What must become of each scenario, whatever the provider: two tables, and where a provider's
API cannot say what the others say."""
from harness import OPENER as O

PHRASE = ", sorry, let me start again. "

# Whole answers. scenario: (verdict, reason, text on a display, text in speech or None: the same)
ANSWERS = {
    "ok": ("ok", "complete", O + " a matter of patience, and of very little else.", None),
    "pivot": ("pivot", "complete",
              O + " one side of it, but what you want to know is simpler.", None),
    "fix": ("fix", "complete", O + ", I mean, it is the other way round.", None),
    "redo": ("redo", "complete", "Here is the whole answer, from its beginning.",
             O + PHRASE + "Here is the whole answer, from its beginning."),
    "one-byte": ("fix", "complete", O + ", I mean, caf\u00e9 \u65e5\u672c \U0001f600 done.", None),
    "tag-split": ("pivot", "complete", O + " and still it goes on.", None),
    "tag-case": ("ok", "complete", O + " a good thing to ask.", None),
    "tag-missing": (None, "complete", O + " a plain continuation without any tag.", None),
    "tag-unknown": ("pivot", "complete", O + " and so we come to the point.", None),
    "tag-twice": ("ok", "complete", O + " [[redo]] stays as text.", None),
    "tag-late": ("ok", "complete", O + " the page says [[redo]] and [[fix]] in its text.", None),
    "tag-open": (None, "complete", O + " [[see the manual for that part.", None),
    "echo-full": ("ok", "complete", O + " with an echo in front of it.", None),
    "echo-case": ("ok", "complete", O + " and the rest.", None),
    "echo-partial": ("ok", "complete", O + " after a partial echo.", None),
    "echo-untagged": (None, "complete", O + " without a tag this time.", None),
    "restart": ("pivot", "complete", O + " The answer to this is a matter of taste.", None),
    "redo-echo": ("redo", "complete", O + " once more, from the beginning.",
                  O + PHRASE + O + " once more, from the beginning."),
    "length": ("ok", "truncated", O + " a long story that has to stop in the mid", None),
    "think": ("ok", "complete", O + " the visible part.", None),
    "think-inline": ("ok", "complete", O + " the visible part.", None),
    "think-long": ("ok", "complete", O + " well considered.", None),
    "usage-none": ("ok", "complete", O + " without any count.", None),
    "crlf": ("ok", "complete", O + " as it should be.", None),
    "duplicate": ("ok", "complete", O + " right.", None),
    "surrogates": ("ok", "complete", O + " it is \U0001f600 and \ufffd so.", None),
    "no-end": ("ok", "complete", O + " a whole answer without an end marker.", None),
    "slow": ("ok", "complete", O + " slow but sure.", None),
    "body-newlines": ("ok", "complete",
                      O + " a list:\n- one\n- two\n\x1b[31mred\x07 and \u202eback.", None),
    "http-429-once": ("ok", "complete", O + " a matter of asking twice.", None),
    "http-500-once": ("ok", "complete", O + " a matter of asking twice.", None),
    "reset-once": ("ok", "complete", O + " a matter of asking twice.", None),
}

CLOSE = O + "\u2026 I'll need a connection for that."
FAILED = O + "\u2026 I can't answer that right now."  # where the cloud did respond
LOCAL = ("local",)            # the cloud could not be had, or said nothing: finished on the device
TRUNC = ("truncated",)        # it broke off after it had begun to speak
WHOLE = ("complete",)
REFUSED = ("refused",)
BEGUN = O + " a beginning that is"

# Faults. scenario: (reasons, the text begins with, requests the cloud may see for one ask)
FAULTS = {
    "http-400": (LOCAL, FAILED, 1), "http-401": (LOCAL, FAILED, 1), "http-403": (LOCAL, FAILED, 1),
    "http-404": (LOCAL, FAILED, 1), "http-408": (LOCAL, FAILED, 2), "http-429": (LOCAL, FAILED, 2),
    "http-429-later": (LOCAL, FAILED, 1), "http-500": (LOCAL, FAILED, 2),
    "http-502": (LOCAL, FAILED, 2), "http-503": (LOCAL, FAILED, 2), "http-529": (LOCAL, FAILED, 2),
    "error-first": (LOCAL, FAILED, 2), "error-late": (TRUNC, O + " a beginning that", 1),
    "wrong-type": (LOCAL, FAILED, 2), "redirect": (LOCAL, FAILED, 2), "bomb": (LOCAL, FAILED, 2),
    # libcurl replaces a kept connection that turns out dead by itself, one after the other
    "reset-before": (LOCAL, CLOSE, 10), "reset-headers": (LOCAL, FAILED, 2),
    "reset-tag": (LOCAL, FAILED, 2), "reset-text": (TRUNC, BEGUN, 1),
    "cut-headers": (LOCAL, FAILED, 2), "cut-text": (TRUNC, BEGUN, 1), "cut-utf8": (TRUNC, BEGUN, 1),
    "cut-json": (TRUNC, BEGUN, 1), "bad-json": (TRUNC, BEGUN, 1),
    "bad-utf8": (WHOLE, BEGUN + " x\ufffd", 1),
    "no-finish": (TRUNC, O + " a text that just ends", 1),
    "stall-headers": (LOCAL, CLOSE, 2), "stall-open": (LOCAL, FAILED, 1),
    "stall-tag": (LOCAL, FAILED, 1), "stall-half-tag": (LOCAL + TRUNC, O, 1),
    "stall-text": (TRUNC, BEGUN, 1),
    "pings": (LOCAL, FAILED, 1), "pings-late": (TRUNC, BEGUN, 1),
    "drip": (LOCAL + TRUNC, O, 1), "late": (LOCAL, CLOSE, 2),
    "endless": (TRUNC, O + " on and on", 1),
    "long-line": (TRUNC, BEGUN, 1), "long-answer": (TRUNC, O + " begins xxx", 1),
    "refused": (REFUSED, O + "\u2026 I would rather not help with that.", 1),
    "refused-silent": (REFUSED, O + "\u2026 I can't help with that.", 1),
    "empty": (LOCAL, FAILED, 1), "tag-only": (LOCAL, FAILED, 1),
}

# What one dialect cannot say, or says otherwise.
OTHERWISE = {
    # message_stop is the only end it has
    ("anthropic", "no-end"): ("ok", "truncated", O + " a whole answer without an end marker.",
                              None),
    # its text is a refusal only in hindsight: the reason comes last
    ("anthropic", "refused"): (REFUSED, O + " I would rather not help with that.", 1),
    # has no word for a refusal
    ("ollama", "refused"): (WHOLE, O + " I would rather not help with that.", 1),
    ("ollama", "refused-silent"): (LOCAL, FAILED, 1),
}


def answer(dialect, scenario):
    return OTHERWISE.get((dialect, scenario), ANSWERS[scenario])


def fault(dialect, scenario):
    return OTHERWISE.get((dialect, scenario), FAULTS[scenario])
