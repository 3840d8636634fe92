// SPDX-License-Identifier: MIT
// llama.cpp's side of compare: one JSON request a line in, one JSON answer a line out.
//   {"tokenize": text} -> ids    {"greedy": text, "n": N} -> text of N greedy tokens
//   {"logits": ids} -> the probabilities after the last id, by falling probability
import readline from "node:readline";
import {getLlama} from "node-llama-cpp";

const llama = await getLlama({gpu: false, build: "never", logLevel: "error"});
const model = await llama.loadModel({modelPath: process.argv[2]});
const context = await model.createContext({contextSize: 512, threads: 1});

async function answer(request) {
    if ("tokenize" in request)
        return model.tokenize(request.tokenize, false);
    const sequence = context.getSequence();
    try {
        if ("logits" in request) {
            const ids = request.logits;
            const input = ids.map((id, i) => i + 1 < ids.length ? id :
                [id, {generateNext: {probabilities: true, options: {temperature: 0}}}]);
            const out = await sequence.controlledEvaluate(input);
            return [...out[out.length - 1].next.probabilities];
        }
        const out = [];
        const ids = model.tokenize(request.greedy, true);
        for await (const id of sequence.evaluate(ids, {temperature: 0, yieldEogToken: true})) {
            out.push(id);
            if (out.length >= request.n || model.isEogToken(id))
                break;
        }
        return out;
    } finally {
        sequence.dispose();
    }
}

for await (const line of readline.createInterface({input: process.stdin}))
    console.log(JSON.stringify(await answer(JSON.parse(line))));
// Exit cuts off what a pipe has not taken yet.
process.stdout.write("", () => process.exit(0));
