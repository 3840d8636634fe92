// SPDX-License-Identifier: MIT
// The providers' own clients on the stand-in's streams: one request a line in, what they read out.
//   {"dialect": name, "base": url, "play": scenario} -> {"text", "thought", "refusal", "finish",
//   "usage": [in, out]} or {"error": kind, ...what came before it}
import readline from "node:readline";
import OpenAI from "openai";
import Anthropic from "@anthropic-ai/sdk";
import {Ollama} from "ollama";
import {Mistral} from "@mistralai/mistralai";
import {OpenRouter} from "@openrouter/sdk";

const LIMIT = 50;

async function openai({dialect, base}, messages, out) {
    const client = new OpenAI({apiKey: "k", baseURL: `${base}/${dialect}/v1`, maxRetries: 0});
    const stream = client.chat.completions.stream({
        model: "m", messages, max_completion_tokens: LIMIT, stream_options: {include_usage: true}});
    for await (const chunk of stream) {
        if (chunk.usage)
            out.usage = [chunk.usage.prompt_tokens, chunk.usage.completion_tokens];
        for (const {delta, finish_reason} of chunk.choices) {
            out.text += delta.content ?? "";
            out.thought += delta.reasoning_content ?? delta.reasoning ?? "";
            out.refusal += delta.refusal ?? "";
            out.finish = finish_reason ?? out.finish;
        }
    }
    const whole = (await stream.finalChatCompletion()).choices[0].message;
    if ((whole.content ?? "") !== out.text)
        throw new Error("finalChatCompletion has another text");
}

async function responses({base}, messages, out) {
    const client = new OpenAI({apiKey: "k", baseURL: `${base}/openai-responses/v1`, maxRetries: 0});
    const stream = client.responses.stream({
        model: "m", input: messages, max_output_tokens: LIMIT, store: false});
    for await (const event of stream) {
        if (event.type === "response.output_text.delta")
            out.text += event.delta;
        else if (event.type === "response.refusal.delta")
            out.refusal += event.delta;
        else if (event.type.startsWith("response.reasoning"))
            out.thought += event.delta ?? "";
        else if (event.type === "error")
            throw Object.assign(new Error("event"), {code: event.code});
        else if (["response.completed", "response.incomplete"].includes(event.type)) {
            const {status, incomplete_details, usage} = event.response;
            out.finish = incomplete_details?.reason ?? status;
            if (usage)
                out.usage = [usage.input_tokens, usage.output_tokens];
        }
    }
}

async function anthropic({base}, messages, out) {
    const client = new Anthropic({apiKey: "k", baseURL: `${base}/anthropic`, maxRetries: 0});
    const stream = client.messages.stream({model: "m", max_tokens: LIMIT, messages});
    stream.on("text", text => out.text += text);
    stream.on("thinking", text => out.thought += text);
    const message = await stream.finalMessage();
    out.finish = message.stop_reason;
    out.usage = [message.usage.input_tokens, message.usage.output_tokens];
    const whole = message.content.filter(block => block.type === "text").map(block => block.text);
    if (whole.join("") !== out.text)
        throw new Error("finalMessage has another text");
}

async function ollama({base}, messages, out) {
    const client = new Ollama({host: `${base}/ollama`});
    const stream = await client.chat({model: "m", messages, stream: true, think: false});
    for await (const part of stream) {
        out.text += part.message.content;
        out.thought += part.message.thinking ?? "";
        if (part.done) {
            out.finish = part.done_reason;
            out.usage = [part.prompt_eval_count, part.eval_count];
        }
    }
}

async function mistral({base}, messages, out) {
    const client = new Mistral({apiKey: "k", serverURL: `${base}/mistral`});
    const stream = await client.chat.stream({model: "m", messages, maxTokens: LIMIT});
    for await (const {data} of stream) {
        if (data.usage)
            out.usage = [data.usage.promptTokens, data.usage.completionTokens];
        for (const {delta, finishReason} of data.choices) {
            if (typeof delta.content === "string")
                out.text += delta.content;
            for (const part of Array.isArray(delta.content) ? delta.content : [])
                out[part.type === "text" ? "text" : "thought"] +=
                    part.text ?? part.thinking.map(inner => inner.text).join("");
            out.finish = finishReason ?? out.finish;
        }
    }
}

async function openrouter({base}, messages, out) {
    const client = new OpenRouter({apiKey: "k", serverURL: `${base}/openrouter/v1`});
    const stream = await client.chat.send({chatRequest: {
        model: "m", messages, stream: true, maxCompletionTokens: LIMIT}});
    for await (const chunk of stream) {
        if (chunk.error)
            throw Object.assign(new Error("chunk"), {code: chunk.error.code});
        if (chunk.usage)
            out.usage = [chunk.usage.promptTokens, chunk.usage.completionTokens];
        for (const {delta, finishReason} of chunk.choices) {
            out.text += delta.content ?? "";
            out.thought += delta.reasoning ?? "";
            out.refusal += delta.refusal ?? "";
            out.finish = finishReason ?? out.finish;
        }
    }
}

const clients = {openai, responses, anthropic, ollama, mistral, openrouter};

for await (const line of readline.createInterface({input: process.stdin})) {
    const request = JSON.parse(line);
    const out = {text: "", thought: "", refusal: "", finish: null, usage: null};
    try {
        await clients[request.client](
            request, [{role: "user", content: `play:${request.play}`}], out);
    } catch (error) {
        out.error = String(error.status ?? error.error?.type ?? error.code ?? error.message ?? error);
    }
    console.log(JSON.stringify(out));
}
process.exit(0);
