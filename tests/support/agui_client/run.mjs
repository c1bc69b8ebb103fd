// Runs the official AG-UI client once: a run's input as JSON on stdin, what the client made of the
// answer as JSON on stdout.
import { HttpAgent } from "@ag-ui/client";
import { text } from "node:stream/consumers";

const { url, threadId, runs, abortAt } = JSON.parse(await text(process.stdin));
const agent = new HttpAgent({ url, threadId });
const report = { events: [], results: [], errors: [] };
const subscriber = {
  onEvent({ event }) {
    report.events.push(event);
    if (event.type === abortAt) agent.abortRun();
  },
  onRunFailed({ error }) {
    report.errors.push(error.message);
  },
};

for (const [index, { messages, ...parameters }] of runs.entries()) {
  for (const message of messages) agent.addMessage(message);
  try {
    const { result } = await agent.runAgent({ runId: `run-${index}`, ...parameters }, subscriber);
    report.results.push(result ?? null);
  } catch (error) {
    report.results.push(null);
  }
}
report.messages = agent.messages;
console.log(JSON.stringify(report));
