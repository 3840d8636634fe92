# SPDX-License-Identifier: MIT
"""The one plain way to begin a reply to each usual form of request.

A model of this size under greedy decoding mixes up many ways to say the same thing. So for the forms below the opener is made
by rule, in the words of the request, whatever the written row had; a request of no such form gets None.
"""
import collections
import re

LIMIT = 8  # words of an opener
LEAD = re.compile(r"(?i)^(?:(?:hey|hi|hello|so|ok|okay|um|uh|please|well|and|but|also|olly|excuse me|quick question|do you know|i was wondering|"
                  r"(?:can|could|would) you (?:please )?(?:tell me|explain)|(?:please )?tell me|i(?:'d| would) (?:like|love) to know|i (?:want|need) to know|"
                  r"(?:do )?you know|any idea)[,:]? +)+")
YOU = {"i": "you", "i'm": "you're", "im": "you're", "i've": "you've", "ive": "you've", "i'll": "you'll", "i'd": "you'd", "me": "you",
       "my": "your", "mine": "yours", "myself": "yourself", "our": "your", "we": "you", "us": "you", "we're": "you're", "ours": "yours"}
ENDS = set("a an the my your his her its our their this that these those of to in on at for with from by and or but is are was were be very "
           "really so as into onto over about not too when if than then more most some any every each no i you it he she they we up out off down "
           "between per without around through during against after before under like via whether which who what how while because".split())
CLAUSE = set("without when while if because so but until unless since though although whenever where which who whose".split())
NEVER = re.compile(r"(?i)\b(bombs?|meth|weapons?|guns?|explosives?|steal|shoplift|hack|kill|murder|poison|break into|get into someone|someone's|somebody's|spy|stalk|"
                   r"launder|counterfeit|forge|cheat|lie to|lie on|drugs?|cocaine|heroin|weed|suicide|hurt|revenge|blackmail|ex's|die|"
                   r"no wait|wait no|no make|no the|no not|scratch that|i mean|(\w+) \2)\b")
LANGS = ("afrikaans|albanian|arabic|armenian|basque|bengali|bulgarian|catalan|chinese|croatian|czech|danish|dutch|english|estonian|"
         "finnish|french|german|greek|hawaiian|hebrew|hindi|hungarian|icelandic|indonesian|irish|italian|japanese|korean|latin|latvian|lithuanian|"
         "malay|mandarin|maori|norwegian|persian|polish|portuguese|romanian|russian|serbian|slovak|spanish|swahili|swedish|tagalog|tamil|thai|turkish|"
         "ukrainian|urdu|vietnamese|welsh|yoruba|zulu")
DONE = {"invented": "invented", "wrote": "written", "painted": "painted", "discovered": "discovered", "directed": "directed", "founded": "founded",
        "designed": "designed", "composed": "composed", "built": "built", "sang": "sung", "made": "made", "created": "created",
        "started": "started", "produced": "produced", "sculpted": "sculpted", "developed": "developed", "recorded": "recorded", "owns": "owned"}
SIZE = {"tall": "The height of", "high": "The height of", "deep": "The depth of", "wide": "The width of", "heavy": "The weight of",
        "fast": "The speed of", "big": "The size of", "large": "The size of", "long": "The length of", "old": "The age of", "hot": "The temperature of"}
ACT = {"set": "setting", "play": "playing", "call": "calling", "text": "texting", "message": "messaging", "email": "emailing", "add": "adding",
       "remove": "removing", "delete": "deleting", "cancel": "cancelling", "turn": "turning", "switch": "switching", "start": "starting",
       "stop": "stopping", "pause": "pausing", "resume": "resuming", "skip": "skipping", "open": "opening", "close": "closing",
       "launch": "launching", "find": "finding", "book": "booking", "order": "ordering", "remind": "reminding", "record": "recording",
       "send": "sending", "schedule": "scheduling", "create": "creating", "put": "putting", "move": "moving", "change": "changing",
       "increase": "increasing", "decrease": "decreasing", "raise": "raising", "lower": "lowering", "dim": "dimming", "lock": "locking",
       "unlock": "unlocking", "read": "reading", "translate": "translating", "navigate": "navigating", "share": "sharing",
       "connect": "connecting", "disconnect": "disconnecting", "mute": "muting", "unmute": "unmuting", "save": "saving", "rename": "renaming",
       "snooze": "snoozing", "reply": "replying", "roll": "rolling", "flip": "flipping", "wake": "waking", "ring": "ringing",
       "reserve": "reserving", "buy": "buying", "transfer": "transferring", "rate": "rating", "shuffle": "shuffling", "repeat": "repeating",
       "look": "looking", "search": "searching", "take": "taking", "show": "showing", "check": "checking", "make": "making", "freeze": "freezing",
       "report": "reporting", "pay": "paying", "activate": "activating", "download": "downloading", "update": "updating", "note": "noting",
       "post": "posting", "tweet": "tweeting", "pull": "pulling", "bring": "bringing", "sync": "syncing", "enable": "enabling", "disable": "disabling",
       "zoom": "zooming", "mark": "marking", "clear": "clearing", "restart": "restarting", "dial": "dialling", "track": "tracking", "convert": "converting", "calculate": "calculating", "hang": "hanging",
       "scan": "scanning", "tell": "telling", "ask": "asking", "invite": "inviting", "stream": "streaming", "film": "filming", "log": "logging",
       "continue": "continuing", "describe": "describing", "count": "counting", "measure": "measuring", "identify": "identifying",
       "confirm": "confirming", "silence": "silencing", "queue": "queueing", "print": "printing", "crop": "cropping", "undo": "undoing"}
FORMS = "poem|haiku|limerick|story|song|rap|joke|toast|speech|letter|sonnet|riddle|slogan|bedtime story|short story|funny poem|love poem|love song|ballad|rhyme"


NEXT = set(ACT) | set("i you we do did how what why is are can could should would then tell give get go see let use".split())


def cap(s):
    return s[:1].upper() + s[1:]


def you(text):
    """The words as the assistant says them to the wearer."""
    out = " ".join(YOU.get(w.lower(), w) for w in text.split())
    return re.sub(r"\byou was\b", "you were", re.sub(r"\byou (?:is|am)\b", "you are", out))


def trim(words, room, lists=False):
    """(words that fit, whether the phrase is whole): cut before a side clause, never after a word that needs another. `lists`:
    a comma may part the things of a list."""
    if len(words) > room:
        for i, w in enumerate(words):
            if i > 2 and w.lower() in ("that", "that's", "thats", "who's", "using", "before", "after"):
                words = words[:i]
                break
    for i, w in enumerate(words):
        new = w.lower() in CLAUSE or w.lower() in ("and", "then") and i + 1 < len(words) and words[i + 1].lower() in NEXT
        stop = words[i - 1].endswith((",", ";", ".", ":", "?")) and not (lists and words[i - 1].endswith(",") and w.lower() not in NEXT)
        if i > 1 and new or i > 0 and stop:
            words = words[:i]
            while words and words[-1].lower() in ("and", "or", "to", "then", "just"):
                words = words[:-1]
            break
    whole = len(words) <= room
    words = words[:room]
    while words and words[-1].lower().strip(",;:.") in ENDS and (not whole or words[-1].lower() in CLAUSE):
        words = words[:-1]
        whole = False
    return [w for w in words[:-1]] + [words[-1].rstrip(",;.:?!")] if words else [], whole


def phrase(head, rest, tail, short="", comma=True, lists=False):
    """`head rest tail` when it fits, else as much of it as does; `short` is added where it would be under four words."""
    h, t = head.split(), tail.split()
    words, whole = trim(you(rest).split(), LIMIT - len(h), lists)
    if not words:
        return None
    if whole and len(h) + len(words) + len(t) <= LIMIT:
        text = " ".join(h + words + t) + ("," if comma and not t else "")
        if len(text.split()) < 4 and short:
            text = " ".join(h + words) + short
    else:
        out = h + words
        text = " ".join(out) + ("," if whole and comma and not t else "")
    return cap(text) if 4 <= len(text.split()) <= LIMIT else None


def verbs(requests):
    """Base forms of verbs: the words that come after "how do I" in at least three requests."""
    found = (re.search(r"(?i)\b(?:how (?:do|can|should) (?:i|you|we)|how to) ([a-z]+)\b", text) for text in requests)
    count = collections.Counter(m[1].lower() for m in found if m)
    return {v for v, n in count.items() if n >= 3 and not v.endswith("ing")} - {"best", "properly", "i", "you", "the", "my"}


def gerund(phrase):
    """"tie a knot" -> "tying a knot", by spelling rules that are right for nearly all verbs."""
    verb, _, rest = phrase.partition(" ")
    if verb.endswith("ie"):
        verb = verb[:-2] + "y"
    elif verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")) and len(verb) > 2:
        verb = verb[:-1]
    elif re.fullmatch(r"[^aeiou]*[aeiou][bdglmnprt]", verb):
        verb += verb[-1]
    return f"{verb}ing {rest}".strip()


def gerund_ok(rest):
    return rest and not re.match(r"(?i)(it|that|this|one|them)\b$", rest)


def plain(user, verbs=()):
    """The opener of a request by the first rule that fits it, or None. `verbs`: base forms that how-to requests begin with."""
    text = LEAD.sub("", user.strip().replace("’", "'"))
    text = re.split(r"(?<=[a-z0-9])[.?!]+ ", text)[0]
    text = LEAD.sub("", text).rstrip("?.!, ")
    if NEVER.search(text):
        return None
    text = re.sub(r"(?i),? (?:please|thanks|thank you|for me please|mate|olly|for me)$", "", text)
    low = text.lower()
    words = low.split()
    if len(words) < 2 or len(words) > 40 or not text.isascii() or re.search(r'["(){}\[\]<>/\\_*=|]', text):
        return None

    def m(pattern):
        return re.match(r"(?i)" + pattern + "$", text)

    r = m(rf"how (?:do|would|can|could|should) (?:you|i|we|they) say (.{{1,40}}?) in ({LANGS})") or m(rf"how to say (.{{1,40}}?) in ({LANGS})")
    if r:
        return phrase(f"In {cap(r[2].lower())},", r[1], "is", comma=False)
    if m(r"(?:what's|whats|what is) .* in (?:" + LANGS + ")"):
        r = m(rf"(?:what's|whats|what is) (?:the word for )?(.{{1,30}}?) in ({LANGS})")
        return phrase(f"In {cap(r[2].lower())},", re.sub(r"(?i)^the (\w+ )?word for ", "", r[1]), "is", comma=False) if r else None
    r = m(r"(?:how (?:do|can|should|would|could) (?:i|you|we|one) (?:best |properly |quickly |easily |safely )?|how to |(?:what's|whats|what is) (?:the|a) (?:best|right|proper|good|easiest|"
          r"quickest|safest|correct|nice) way (?:to|of|for me to) |(?:what's|whats|what is) the (?:trick|secret|key) to |(?:the )?best way to |show me how to |"
          r"(?:can|could|would) you (?:please )?(?:show|teach) me (?:how )?to |what (?:should|do|can|must) i do to |teach me (?:how )?to |i need to know how to |"
          r"walk me through |(?:give me )?(?:instructions|directions|tips|steps) (?:to|for|on) |what are the steps to |what steps do i take to )(?:go about )?(.+)")
    if r:
        rest = r[1]
        first = rest.split()[0].lower()
        if first.endswith("ing") and first not in verbs:
            first = next((v for v in verbs if gerund(v) == first), "")
            rest = " ".join([first] + rest.split()[1:])
        if first not in verbs or re.match(r"(?i)(know|feel|look|sound|say|spell|think|like|get to|pronounce|go to)\b", rest):
            return None
        return phrase("To", rest, "", ", start by")
    r = m(r"(?:what's|whats|what is|what are|explain|tell me) (?:the )?differences? between (.+)")
    if r:
        return phrase("The difference between", r[1], "is", comma=False)
    r = m(r"what (?:does|do) (?:the (?:word|term) )?'?(.+?)'? (?:mean|stand for)")
    if r and not re.search(r"(?i)\b(this|that|it|dream)", r[1]):
        return phrase("The word" if len(r[1].split()) == 1 else "The phrase", r[1], "means", comma=False)
    r = m(r"(?:what's|whats|what is) (?:the )?(?:meaning|definition) of (?:the word |the term )?(\w+)") or m(r"(?:(?:can|could|would|will) you )?define (\w+)")
    if r:
        return phrase("The word", r[1], "means", comma=False)
    r = m(r"how (?:does|do) (.+) work")
    if r:
        return phrase("", r[1], ("works by" if low.startswith("how does") else "work by"), comma=False)
    r = m(r"who (" + "|".join(DONE) + r") (.+)")
    if r and "was" not in words and not re.match(r"(?i)(you|me|us|that|this|it)\b", r[2]):
        return phrase("", r[2], ("is" if r[1].lower() == "owns" else "was") + f" {DONE[r[1].lower()]} by", comma=False)
    r = m(r"who (?:first )?(sings|played|plays|won|scored|said|runs|hosts|holds|owns|killed|led|ruled) (.+)")
    if r:
        return phrase(f"The person who {r[1].lower()}", r[2], "is" if r[1].endswith("s") else "was", comma=False)
    r = m(r"(?:what(?:'s| is|s)? the |what )time (?:is it )?(?:now )?in (.+?)(?: right now| now)?")
    if r:
        return phrase("The time in", r[1], "right now is" if len(r[1].split()) < 3 else "is", comma=False)
    if m(r"how much (?:battery|charge|power|juice)\b.*(?:left|have i got|do i have|remaining|on my glasses).*"):
        return "Your battery level right now is"
    r = m(r"what am i (\w+ing)( at| on| to| by)?")
    if r:
        return f"What you're {r[1].lower()}{(r[2] or ' right now').lower()} is"
    r = m(r"who(?:'s| is|s) (\w+ing)( me| us)?")
    if r:
        return f"The person {r[1].lower()}{' you' if r[2] else ' right now'} is"
    r = m(r"(?:what's|whats|what is|how's|hows|how is|what will) the weather (?:(?:be|doing|like|looking|look|going to be|gonna be|be like) )*(.+)")
    if r and r[1].lower() not in ("like", "doing"):
        return phrase("The weather", r[1], "looks", comma=False)
    r = m(r"(?:who is|who's|whos|who was|what is|what's|whats|what was|what are|what were|when is|when's|whens|when are|which is) ((?:the|my|our|today's|tomorrow's) .+)")
    if r and not re.match(r"(?i)(the|my) (matter|point|deal|problem|odds|guy|thing|one)\b", r[1]) and not re.search(r"(?i)\b(like|about|for|called|of|and|doing|to|on|with|from|at)$|\bwho (is|are)\b", r[1]):
        verb = "was" if words[1] == "was" else "were" if words[1] == "were" else "are" if words[1] == "are" else "is"
        rest = re.sub(r"(?i) (right now|now|currently|today|at the moment)$", "", r[1])
        late = rest != r[1]
        return phrase("", rest, verb, f" right now {verb}" if verb in ("is", "are") else f" back then {verb}", comma=False) if not (late and len(rest.split()) > 5) \
            else phrase("", rest, verb, comma=False)
    r = m(r"(?:what is|what's|whats) ((?:an? )?[\w' -]{3,40})")
    if r and len(r[1].split()) <= 4 and not re.match(r"(?i)(it|this|that|up|going|your|you|on|wrong|in|there|he|she|they|a good|a nice|happening|next|new|good|one|\d|"
                                                     r"playing|for|like|best|better|left|today'?s?|tomorrow'?s?)\b", r[1]) and not re.search(r"(?i)\d|\b(plus|times|minus|divided|percent|doing|like|for|called|made)\b", r[1]):
        return phrase("In simple terms,", r[1], "is", comma=False)
    r = m(r"what are ([\w' -]{3,30})")
    if r and len(r[1].split()) <= 3 and not re.match(r"(?i)(you|your|some|they|these|those|my|we|a|good)\b", r[1]):
        return phrase("In simple terms,", r[1], "are", comma=False)
    r = m(r"(?:what's|whats|what is) ((?:\d[\d,.]*|\w+)(?: percent)? (?:plus|minus|times|divided by|percent of|over|multiplied by|of) .+)")
    if r:
        return phrase("", r[1], "is", " comes to", comma=False)
    r = m(r"which (\w+) (has|have|is|was|had|makes|holds|contains|produces|won|lives|grows|eats|uses) (.+)")
    if r:
        return phrase(f"The {r[1].lower()} that {r[2].lower()}", r[3], "is", comma=False)
    r = m(r"when was (.+?) (born|built|founded|invented|made|written|discovered|released|published|painted|created|opened|started|established|introduced)")
    if r:
        return phrase("", r[1], f"was {r[2].lower()} in", comma=False)
    r = m(r"where (?:is|are|can i find) (the (?:nearest|closest) .+)")
    if r:
        return phrase("", r[1], "is", " from here is", comma=False)
    r = m(r"where (?:is|are) ((?:the )?\w.+)")
    if r and re.match(r"(the )?[A-Z]", r[1]) and not low.startswith(("where is my", "where are my")):
        return phrase("", r[1], "is located in" if words[1] == "is" else "are located in", comma=False)
    r = m(r"how many (.+?) (?:are|is) (?:there )?(in .+|on .+)")
    if r:
        return phrase("The number of", f"{r[1]} {r[2]}", "is", comma=False)
    r = m(r"how many ([\w' -]+?) (does|do) (.+?) have")
    if r:
        return phrase("The number of", f"{r[1]} that {r[3]}", "has" if r[2].lower() == "does" else "have", comma=False)
    r = m(r"how much (?:does|do|would|will|is|are) (?:it cost (?:for|to get) )?(?!it\b)(.+?)(?: (?:cost|costs|worth))?")
    if r and re.search(r"(?i)cost|how much (is|are) (a|an|the) ", text):
        return phrase("The cost of", r[1], "is", comma=False)
    r = m(r"how far (?:away )?is (?:it (?:to|from) )?(.+)")
    if r:
        return phrase("The distance to" if not re.search(r"(?i)\bfrom\b", r[1]) else "The distance from", re.sub(r"(?i)(.+) from .*", r"\1", r[1]) if not re.search(r"(?i)from", text) else
                      re.sub(r"(?i)^(.+?) from (.+)$", r"\2 to \1", r[1]), "is", comma=False)
    r = m(r"how (" + "|".join(SIZE) + r") (?:is|are|was) (?!it\b)(.+)")
    if r and not re.match(r"(?i)(you|i)\b", r[2]) and not (r[1].lower() == "long" and re.search(r"(?i)\b(flight|movie|film|drive|wait|walk|until|before|trip|for)\b", r[2])):
        return phrase(SIZE[r[1].lower()], r[2], "is", comma=False)
    r = m(r"how long (?:does|do|will|would) it (?:usually |normally )?take (?:for .{2,20} )?to (.+)")
    if r:
        return phrase("The time it takes to", r[1], "is", comma=False)
    r = m(r"how (long|often|much) (?:do|should|can|must) (?:i|you|we) (.+)")
    if r and r[2].split()[0].lower() in verbs and r[1].lower() != "much":
        return phrase(f"How {r[1].lower()} to", r[2], "depends on", comma=False)
    r = m(r"why do (.+)")
    if r and len(words) <= 9 and not re.match(r"(?i)(you|they|we|some people say|people say)\b", r[1]):
        return phrase("", r[1], "because", comma=False) if r[1].split()[-1].lower() not in ENDS else None
    r = m(r"why does (.+)")
    if r and len(words) <= 10:
        rest = r[1].split()
        hits = [i for i, w in enumerate(rest) if i and w.lower() in verbs]
        if len(hits) == 1:
            i = hits[0]
            v = rest[i].lower()
            s = v + ("es" if v.endswith(("s", "sh", "ch", "x", "o")) else "s") if not re.search(r"[^aeiou]y$", v) else v[:-1] + "ies"
            return phrase("", " ".join(rest[:i] + [s] + rest[i + 1 :]), "because", comma=False)
        return None
    r = m(r"why (is|are|was|were) ((?:the |my |a |an |your )?\w+(?: of the \w+)?) (so .+|such .+|always .+|called .+|not .+|still .+|getting .+|too .+|considered .+|important.*|\w+ed(?: .+)?|\w+)")
    if r and not re.match(r"(?i)(it|there|that|this)\b", r[2]):
        return phrase("", f"{r[2]} {r[1].lower()} {r[3]}", "because", comma=False)
    r = m(r"(?:should i|should we) (.+)")
    if r and r[1].split()[0].lower() in verbs and " or " not in low:
        return phrase("Whether you should", r[1], "depends on", comma=False)
    r = m(r"(?:can i|may i|can we|is it (?:ok|okay|safe|possible|legal|fine|alright) (?:for me )?to|can you|could i|am i allowed to) (.+)")
    if r and r[1].split()[0].lower() in verbs and " or " not in low and not (low.startswith("can you") and r[1].split()[0].lower() in ACT) \
            and not re.match(r"(?i)(have|get|tell|see|ask|talk|speak|say|hear|help|give|do|be|come|go|sing|write|find|define|recommend|suggest|explain|describe|list)\b", r[1]):
        return phrase("Whether you can" if not low.startswith("is it") else "Whether it's " + words[2] + " to", r[1], "depends on", comma=False)
    r = m(r"do (?:i|we|you) (need|have) (.+)")
    if r and r[1].lower() == "need":
        return phrase("Whether you need", r[2], "depends on", comma=False)
    r = m(r"(?:(?:can|could|will|would) you )?(?:please )?remind me (?:later |again )?(to|about|that) (.+)")
    if r:
        return phrase(f"Setting a reminder {r[1].lower()}", r[2], "")
    r = m(rf"(?:(?:can|could|will|would) you )?(?:please )?(?:(?:write|compose|make up|tell|give|create|sing|i need|i want)(?: me| us)? )?(an? (?:\w+ )?(?:{FORMS})) (about|for|on) (.+)")
    if r:
        return (lambda o: o and o.rstrip(",") + ":")(phrase("Here's", f"{r[1].lower()} {r[2].lower()} {r[3]}", "", comma=False))
    r = m(r"(?:(?:can|could|will|would) you |i(?:'d| would) like you to |i (?:want|need) you to |i(?:'d| would) like to |i (?:want|need) to )?(?:please )?(\w+) (.+)")
    if r and r[1].lower() in ACT:
        verb, rest = r[1].lower(), r[2]
        if re.search(r"(?i)\b(whether|if|how|why|what|when|where|who)\b", " ".join(rest.split()[:4])) or re.match(r"(?i)(is|are|was|does|do|did|can|at|a look|like|sure|of)\b", rest):
            return None
        if verb in ("take", "bring", "get") and rest.lower().startswith("me to "):
            return phrase("Starting directions to", rest[6:], "", comma=True)
        if verb in ("find", "show", "play", "book", "order", "read", "buy", "get", "check", "make", "send") and rest.lower().startswith("me "):
            rest = rest[3:]
        rest = re.sub(r"(?i)^(mum|mom|dad|gran|granny|grandma|grandpa|grandad|nan|mam)\b", r"your \1", rest)
        if not gerund_ok(rest) or verb in ("tell", "ask") and re.match(r"(?i)(me|us|you)\b", rest):
            return None
        return phrase(cap(ACT[verb]), rest, "", " now, and", lists=True)
    return None
