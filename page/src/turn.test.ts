import assert from "node:assert/strict";
import { test } from "node:test";
import { answerText, applyEvent, fromHistory, newTurn, type RunPart, type Turn } from "./turn";
import type { Execution, FileEntry } from "./types";

const EXECUTION: Execution = { code: "f()", status: "Succeeded", stdout: "1\n", stderr: "", result: null, duration_ms: 5 };
const PLOT: FileEntry = { name: "image-1.png", media_type: "image/png", size_bytes: 9, url: "/api/conversations/x/files/image-1.png" };
const CALL = [
  { type: "TOOL_CALL_START", toolCallId: "c1", toolCallName: "execute_python" },
  { type: "TOOL_CALL_ARGS", toolCallId: "c1", delta: '{"code":"f()"}' },
  { type: "TOOL_CALL_END", toolCallId: "c1" },
];
const USAGE = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 };

function turnOf(...events: object[]): Turn {
  const turn = newTurn("q");
  for (const event of events) applyEvent(turn, event);
  return turn;
}

function run(turn: Turn): RunPart {
  const found = turn.parts.find((part) => part.kind === "run");
  assert.ok(found);
  return found;
}

function result(content: unknown): object {
  return { type: "TOOL_CALL_RESULT", toolCallId: "c1", content };
}

function finished(more: object = {}): object {
  return { type: "RUN_FINISHED", result: { output: "Done.", usage: USAGE, finish_reason: "stop", warnings: [], ...more } };
}

test("text arrives word by word, each message as a part of its own", () => {
  const turn = turnOf(
    { type: "RUN_STARTED", threadId: "abc" },
    { type: "TEXT_MESSAGE_START", messageId: "m1" },
    { type: "TEXT_MESSAGE_CONTENT", messageId: "m1", delta: "Hel" },
    { type: "TEXT_MESSAGE_CONTENT", messageId: "m1", delta: "lo" },
    { type: "TEXT_MESSAGE_START", messageId: "m2" },
    { type: "TEXT_MESSAGE_CONTENT", messageId: "m2", delta: "you" },
  );
  assert.equal(turn.conversationId, "abc");
  assert.equal(answerText(turn), "Hello\n\nyou");
  assert.equal(turn.state, "running");
});

test("code is there before its result", () => {
  const turn = turnOf(...CALL);
  assert.equal(run(turn).code, "f()");
  assert.equal(run(turn).execution, undefined);
});

test("a tool of the app's own is shown by its name, with its arguments and its result or why it failed", () => {
  const call = [
    { type: "TOOL_CALL_START", toolCallId: "c1", toolCallName: "convert" },
    { type: "TOOL_CALL_ARGS", toolCallId: "c1", delta: '{"amount":1}' },
  ];
  const use = { name: "convert", arguments: { amount: 1 }, status: "Succeeded", result: "2 EUR", duration_ms: 5 };
  const shown = run(turnOf(...call, result(JSON.stringify(use))));
  assert.equal(shown.tool, "convert");
  assert.equal(shown.code, '{\n  "amount": 1\n}');
  assert.deepEqual([shown.execution?.result, shown.execution?.stderr], ["2 EUR", ""]);
  const failed = run(turnOf(...call, result(JSON.stringify({ ...use, status: "Failed" }))));
  assert.deepEqual([failed.execution?.result, failed.execution?.stderr], [null, "2 EUR"]);
});

test("a result is the execution as a JSON string", () => {
  assert.deepEqual(run(turnOf(...CALL, result(JSON.stringify(EXECUTION)))).execution, EXECUTION);
});

test("a result is the execution as the first content part, with figures and pages by address", () => {
  const turn = turnOf(
    ...CALL,
    result([
      { type: "text", text: JSON.stringify(EXECUTION) },
      { type: "image", source: { type: "url", value: PLOT.url, mimeType: "image/png" } },
      { type: "document", source: { type: "url", value: "/api/conversations/x/files/t%20a.html", mimeType: "text/html" } },
    ]),
  );
  assert.deepEqual(run(turn).execution, EXECUTION);
  assert.deepEqual(run(turn).files.map((file) => file.name), ["image-1.png", "t a.html"]);
});

test("a figure that is both a content part and a file event is shown once", () => {
  const part = { type: "image", source: { type: "url", value: PLOT.url, mimeType: "image/png" } };
  const text = { type: "text", text: JSON.stringify(EXECUTION) };
  const file = { type: "CUSTOM", name: "file", value: PLOT };
  for (const events of [[result([text, part]), file], [file, result([text, part])]]) {
    assert.deepEqual(run(turnOf(...CALL, ...events)).files.map((f) => f.name), ["image-1.png"]);
  }
});

test("a file belongs to the run that began last, before its result and after it", () => {
  const file = (name: string): object => ({ type: "CUSTOM", name: "file", value: { ...PLOT, name, url: `/${name}` } });
  const second = CALL.map((event) => ({ ...event, toolCallId: "c2" }));
  const turn = turnOf(...CALL, file("a"), result(JSON.stringify(EXECUTION)), file("b"), ...second, file("c"));
  assert.deepEqual(turn.parts.map((part) => part.kind === "run" && part.files.map((f) => f.name)), [["a", "b"], ["c"]]);
});

test("the end brings usage, reason and warnings, each warning once", () => {
  const warning = { code: "SessionLost", message: "gone" };
  const turn = turnOf({ type: "CUSTOM", name: "warning", value: warning }, finished({ warnings: [warning] }));
  assert.deepEqual(turn.warnings, [warning]);
  assert.deepEqual(turn.usage, USAGE);
  assert.equal(turn.state, "done");
});

test("the output of the end is the last text: it completes what was streamed, or stands alone", () => {
  const streamed = turnOf(
    { type: "TEXT_MESSAGE_START", messageId: "m1" },
    { type: "TEXT_MESSAGE_CONTENT", messageId: "m1", delta: "Do" },
    finished(),
  );
  assert.equal(answerText(streamed), "Done.");
  assert.equal(answerText(turnOf(...CALL, result(JSON.stringify(EXECUTION)), finished())), "Done.");
});

test("an error has its code and the id that finds it in the logs", () => {
  const turn = turnOf({ type: "RUN_ERROR", code: "PoolFull", message: "Later.", metadata: { operation_id: "op" } });
  assert.equal(turn.state, "failed");
  assert.deepEqual(turn.error, { code: "PoolFull", detail: "Later.", operationId: "op" });
});

test("events that mean nothing here are left alone", () => {
  const turn = turnOf({ type: "STATE_SNAPSHOT", snapshot: {} }, { type: "CUSTOM", name: "other", value: 1 }, result("{}"));
  assert.deepEqual(turn.parts, []);
});

test("the history has the calls of tools before the runs", () => {
  const use = { name: "convert", arguments: {}, status: "Succeeded" as const, result: "2", duration_ms: 5 };
  const stored = { input: "q", output: "", executions: [EXECUTION], tool_calls: [use], files: [], usage: USAGE };
  const turn = fromHistory({ ...stored, finish_reason: "stop", warnings: [], asked_at: "2026-01-01T00:00:00Z", images: ["a/my photo.png"] }, "c1");
  assert.deepEqual(turn.images, [
    { name: "a/my photo.png", url: "/api/conversations/c1/files/a/my%20photo.png", media_type: "image/png", size_bytes: 0 },
  ]);
  assert.deepEqual(turn.parts.map((part) => part.kind === "run" && part.tool), ["convert", undefined]);
});

test("the history puts each file where its run is, by its outputs, its code, or the last run", () => {
  const execution = (code: string, outputs: Execution["outputs"] = []): Execution => ({ ...EXECUTION, code, outputs });
  const file = (name: string): FileEntry => ({ ...PLOT, name, url: `/api/conversations/x/files/${name}` });
  const turn = fromHistory({
    input: "q",
    output: "Done.",
    executions: [
      execution("plot()", [{ type: "image", media_type: "image/png", file: "image-1.png" }]),
      execution("open('a.csv','w')"),
      execution("os.system('x')"),
    ],
    files: [file("image-1.png"), file("a.csv"), file("b.txt")],
    usage: USAGE,
    finish_reason: "stop",
    warnings: [],
    asked_at: "2026-01-01T00:00:00Z",
  }, "c1");
  const names = turn.parts.map((part) => (part.kind === "run" ? part.files.map((f) => f.name) : part.text));
  assert.deepEqual(names, [["image-1.png"], ["a.csv"], ["b.txt"], "Done."]);
});
