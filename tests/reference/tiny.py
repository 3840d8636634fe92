# SPDX-License-Identifier: MIT
"""Tiny random models as GGUF files: a tokenizer of bytes and a few merges, weights in four types."""
import struct

import numpy as np

HIDDEN, LAYERS, HEADS, KV_HEADS, FFN = 32, 2, 4, 2, 64
THETA, EPS = 10000.0, 1e-5
TEXT = ("the way to get there is to think of the thing that you want and then say it in the words that others use; "
        "what's the time in the other place, and how do they tell it's you're right? don't we'll 10 100 2024 héé ") * 3
TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 8}


def byte_alphabet():
    """GPT-2's printable stand-ins for the 256 bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table, extra = {b: chr(b) for b in plain}, 0
    for b in range(256):
        if b not in table:
            table[b], extra = chr(256 + extra), extra + 1
    return table


def vocabulary(n_merges, split):
    """(tokens, merges) in stand-ins: three control tokens, the bytes, then what is merged most often first."""
    alphabet = byte_alphabet()
    words = [[alphabet[b] for b in w.encode()] for w in split(TEXT)]
    tokens, merges = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *(alphabet[b] for b in range(256))], []
    while len(merges) < n_merges:
        count = {}
        for w in words:
            for pair in zip(w, w[1:]):
                count[pair] = count.get(pair, 0) + 1
        a, b = min(count, key=lambda p: (-count[p], p))
        merges.append((a, b))
        tokens.append(a + b)
        for w in words:
            i = 0
            while i + 1 < len(w):
                if (w[i], w[i + 1]) == (a, b):
                    w[i:i + 2] = [a + b]
                i += 1
    return tokens, merges


def weights(rng, vocab, tied):
    d = HIDDEN // HEADS
    shapes = {"token_embd": (vocab, HIDDEN)}
    for i in range(LAYERS):
        shapes |= {f"blk.{i}.attn_q": (HEADS * d, HIDDEN), f"blk.{i}.attn_k": (KV_HEADS * d, HIDDEN),
                   f"blk.{i}.attn_v": (KV_HEADS * d, HIDDEN), f"blk.{i}.attn_output": (HIDDEN, HEADS * d),
                   f"blk.{i}.ffn_gate": (FFN, HIDDEN), f"blk.{i}.ffn_up": (FFN, HIDDEN),
                   f"blk.{i}.ffn_down": (HIDDEN, FFN), f"blk.{i}.attn_norm": (HIDDEN,), f"blk.{i}.ffn_norm": (HIDDEN,)}
    shapes["output_norm"] = (HIDDEN,)
    if not tied:
        shapes["output"] = (vocab, HIDDEN)
    return {n: (1 + 0.1 * rng.standard_normal(s) if len(s) == 1 else rng.standard_normal(s) / s[1] ** 0.5 * 1.5)
            .astype(np.float32) for n, s in shapes.items()}


def encode(w, kind):
    """(bytes, what the bytes mean as float64)."""
    if kind == "F32":
        return w.astype("<f4").tobytes(), w.astype(np.float64)
    if kind == "F16":
        half = w.astype("<f2")
        return half.tobytes(), half.astype(np.float64)
    blocks = w.reshape(-1, 32)
    if kind == "Q8_0":
        d = (np.abs(blocks).max(1) / 127).astype("<f2")
        q = np.rint(blocks / d.astype(np.float32)[:, None]).clip(-127, 127).astype(np.int8)
        raw = b"".join(s.tobytes() + b.tobytes() for s, b in zip(d, q))
        back = q * d.astype(np.float64)[:, None]
    else:
        far = blocks[np.arange(len(blocks)), np.abs(blocks).argmax(1)]
        d = (far / -8).astype("<f2")
        q = (np.rint(blocks / d.astype(np.float32)[:, None]) + 8).clip(0, 15).astype(np.uint8)
        raw = b"".join(s.tobytes() + (b[:16] | b[16:] << 4).tobytes() for s, b in zip(d, q))
        back = (q.astype(np.float64) - 8) * d.astype(np.float64)[:, None]
    return raw, back.reshape(w.shape)


def text(s):
    raw = s.encode()
    return struct.pack("<Q", len(raw)) + raw


def metadata(tokens, merges, extra):
    """Key, type and value of each entry, packed. Types: 4 u32, 6 f32, 5 i32, 8 text, 9 array."""
    u32 = lambda v: struct.pack("<II", 4, v)
    f32 = lambda v: struct.pack("<If", 6, v)
    string = lambda v: struct.pack("<I", 8) + text(v)
    strings = lambda v: struct.pack("<IIQ", 9, 8, len(v)) + b"".join(map(text, v))
    i32s = lambda v: struct.pack("<IIQ", 9, 5, len(v)) + struct.pack(f"<{len(v)}i", *v)
    entries = {
        "general.architecture": string("llama"), "general.name": string("tiny reference"),
        "llama.context_length": u32(512), "llama.embedding_length": u32(HIDDEN), "llama.block_count": u32(LAYERS),
        "llama.feed_forward_length": u32(FFN), "llama.attention.head_count": u32(HEADS),
        "llama.attention.head_count_kv": u32(KV_HEADS), "llama.rope.dimension_count": u32(HIDDEN // HEADS),
        "llama.rope.freq_base": f32(THETA), "llama.attention.layer_norm_rms_epsilon": f32(EPS),
        "llama.vocab_size": u32(len(tokens)),
        "tokenizer.ggml.model": string("gpt2"), "tokenizer.ggml.pre": string("gpt-2"),
        "tokenizer.ggml.tokens": strings(tokens),
        "tokenizer.ggml.token_type": i32s([3] * 3 + [1] * (len(tokens) - 3)),
        "tokenizer.ggml.merges": strings([" ".join(m) for m in merges]),
        "tokenizer.ggml.eos_token_id": u32(2), "tokenizer.ggml.bos_token_id": u32(1),
        **{k: strings(v) if isinstance(v, list) else f32(v) if isinstance(v, float) else string(v) for k, v in extra.items()},
    }
    return len(entries), b"".join(text(k) + v for k, v in entries.items())


def write(path, tokens, merges, tensors, kind, extra):
    """Vectors stay F32. Returns what the file's weights are worth, as float64."""
    worth, infos, data = {}, b"", b""
    for name, w in tensors.items():
        this = "F32" if w.ndim == 1 else kind
        raw, worth[name] = encode(w, this)
        infos += text(name + ".weight") + struct.pack("<I", w.ndim) + struct.pack(f"<{w.ndim}Q", *w.shape[::-1])
        infos += struct.pack("<IQ", TYPES[this], len(data))
        data += raw + bytes(-len(raw) % 32)
    n, meta = metadata(tokens, merges, extra)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), n) + meta + infos
    with open(path, "wb") as out:
        out.write(head + bytes(-len(head) % 32) + data)
    return worth
