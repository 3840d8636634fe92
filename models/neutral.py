# SPDX-License-Identifier: MIT
"""What to say where the model is not sure of its words.

A neutral opener names nothing, so nothing in it can be wrong; but it has to fit the kind of the request, which the model knows
even where it cannot find the words. So it learns these texts as a small share of the written rows, each for the kind that the row's
own opener shows, and the model file carries them (ulm.neutral): below ulm.min_confidence the engine says the one that the model
is led to.
"""
import re

BODY = (r"chest|breath|blood|bleed|burn|pain|chok|swallow|drank|drunk|drinking|eaten|ate|pill|tablet|dose|poison|bit|sting|stung|swell|swollen|swelling|"
        r"rash|fever|seizure|fit|faint|collaps|unconscious|stroke|numb|droop|slurr|head|neck|eye|baby|toddler|child|wound|cut|gash|fall|fell|shock|gas|"
        r"smoke|fire|drown|hypotherm|frostbite|heat|allerg|vomit|dehydrat|heart|lips|throat|arm|leg|dog|cat|puppy|kitten|stiff|purple|blue|broken")
DANGER = (rf"^(?!Whether|When|Before).*(emergency|emergencies|\bvet now\b|urgent|right away)|^(Poison|Back away|Get (out|away)|Leave the|Move away|Step away|Stop the)|"
          rf"^(?!Whether|When|Before)(?i:.*\b({BODY})).*\bneeds?$")

# Each begins with a token of its own that few openers begin with: so one step of the model tells which it is led to.
# What follows that word can be put otherwise without training anew.
# text, the openers it stands for; the first that matches counts
NEUTRAL = [
    ("Thank you for telling me that, and", r"I'm really glad you told|glad you're still here|so sorry it feels"),
    ("Please get help right away, because", DANGER),
    ("There's a safer way to go:", r"^(?!Whether|When|Before).*((is|are|stays?) private|could (get|land|hurt|cost|harm)|(is|are) (dangerous|illegal|against)|is a crime)"),
    ("Just so I get this right,", r"^Just so|[Tt]ell me|^Okay, not|I heard that in|instructions"),
    ("Great to hear about that, and", r"^(Congratulations|Well done|Happy|How lovely|What (a|lovely|wonderful|good)|That's)|wonderful news"),
    ("Sorry you're going through that, and", r"^(I'm (so |really |very )?sorry)|sounds (so|really|very) "),
    ("Have a listen to this one:", r"^Here('s| is| are)|^A (name|slogan|title|nickname)|^One (name|slogan|title)|name for your"),
    ("According to the evidence so far,", r"^The (idea|claim|notion|evidence|belief|story|rumou?r|theory)"),
    ("It is worth checking that now, because", r"^Whether|depends( on)?$"),
    ("Something that often helps here is", r"^(When|If|Before|After) "),
    ("Let me walk you through that:", r"^To "),
    ("Give me a second to check:", r"^(Checking|Looking|Searching|Finding|Scanning|Reading)\b|^(Your|The nearest|The next|The closest|The sign|The weather|The label|The menu)\b|right now|last seen|in front of you|^You "),
    ("Most people have been there, and", r"^(Being|Feeling|Talking|Telling|Choosing|Losing|Falling|Having|Not|Missing|Leaving|Asking)\b|^\w+ing\b.*\b(is|are|was|can|could|may|might|takes|means|happens|gets|feels|tends)\b"),
    ("Okay, here's where things stand with that:", r"^\w+ing\b"),
    ("Well, the answer to that is", r""),
]

def neutral(opener):
    """The text for a request that would have had this opener."""
    return next(text for text, form in NEUTRAL if re.search(form, opener))
