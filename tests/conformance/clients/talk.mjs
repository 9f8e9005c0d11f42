// The scripted conversation of talk_openai.py through openai-node.
// Argument: the folder of one version of the package.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const { default: OpenAI } = await import(pathToFileURL(join(process.argv[2], "index.mjs")));
const script = JSON.parse(readFileSync(0, "utf8"));
const client = new OpenAI({ baseURL: script.base_url, apiKey: "unused", maxRetries: 0 });
const messages = [];
const turns = [];
for (const question of script.turns) {
  messages.push({ role: "user", content: question });
  const asked = { model: "auto", messages, ...script.parameters, ...script.extra };
  let text = "";
  let finish = null;
  let usage = null;
  if (script.stream) {
    // The helper, not the bare iterator: it is the stricter of the two.
    const stream = client.chat.completions.stream({
      ...asked,
      stream_options: { include_usage: true },
    });
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta?.content ?? "";
    }
    const reply = await stream.finalChatCompletion();
    if (reply.choices[0].message.content !== text) throw new Error("the helper lost text");
    finish = reply.choices[0].finish_reason;
    usage = reply.usage;
  } else {
    const reply = await client.chat.completions.create(asked);
    text = reply.choices[0].message.content ?? "";
    finish = reply.choices[0].finish_reason;
    usage = reply.usage;
  }
  const counts = [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens];
  turns.push({ text, finish_reason: finish, usage: counts });
  messages.push({ role: "assistant", content: text });
}
process.stdout.write(JSON.stringify(turns));
