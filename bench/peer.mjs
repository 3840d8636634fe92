// SPDX-License-Identifier: MIT
// llama.cpp through node-llama-cpp: prefill and decode of one GGUF, as JSON on standard output.
//     node peer.mjs FOLDER-WITH-node_modules MODEL THREADS PROMPT TOKENS RUNS
import {createRequire} from "node:module";
import path from "node:path";
import {pathToFileURL} from "node:url";

const [folder, file, threads, prompt, tokens, runs] = process.argv.slice(2);
const require = createRequire(path.join(path.resolve(folder), "package.json"));
const {getLlama, LlamaLogLevel} = await import(pathToFileURL(require.resolve("node-llama-cpp")));
const llama = await getLlama({
    gpu: false, build: "never", maxThreads: +threads, logLevel: LlamaLogLevel.disabled
});
const model = await llama.loadModel({modelPath: file});
const context = await model.createContext({
    contextSize: 512, batchSize: 512, threads: {ideal: +threads, min: +threads}
});
const sequence = context.getSequence();
const vocabulary = model.fileInfo.metadata.tokenizer.ggml.tokens.length;
const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];

const times = {prefill: [], decode: []};
for (let run = -2; run < +runs; run++) {
    const ids = Array.from({length: +prompt}, (_, i) => (i * 7919 + run + 2) % vocabulary);
    await sequence.clearHistory();
    const start = performance.now();
    // Evaluates the prompt and one token more is asked for: the first yield ends the prefill.
    const steps = sequence.evaluate(ids, {temperature: 0, yieldEogToken: true});
    let middle = 0, got = 0;
    for await (const _ of steps) {
        if (got++ === 0)
            middle = performance.now();
        if (got > +tokens)
            break;
    }
    if (run >= 0) {
        times.prefill.push(+prompt / (middle - start) * 1e3);
        times.decode.push((got - 1) / (performance.now() - middle) * 1e3);
    }
}
console.log(JSON.stringify({prefill: median(times.prefill), decode: median(times.decode)}));
process.exit(0);
