import type { Execution, FileEntry, Output, StoredTurn, ToolUse, Usage, Warning } from "./types";

const PYTHON = "execute_python";

export interface TextPart {
  kind: "text";
  id: string;
  text: string;
}

export interface RunPart {
  kind: "run";
  id: string;
  /** Name of the tool of the app's own that was called; without it Python ran. */
  tool?: string;
  /** The Python, or the tool's arguments. */
  code: string;
  execution?: Execution;
  /** What this run made; figures that `outputs` name are among them. */
  files: FileEntry[];
}

export type Part = TextPart | RunPart;

export interface TurnError {
  code: string;
  detail: string;
  operationId?: string;
}

/** One question and what came of it, from the stream or from the history. */
export interface Turn {
  question: string;
  /** That belong to the question. */
  images: FileEntry[];
  state: "running" | "done" | "stopped" | "failed" | "unfinished";
  parts: Part[];
  warnings: Warning[];
  conversationId?: string;
  usage?: Usage;
  finishReason?: string;
  error?: TurnError;
}

export function newTurn(question: string, images: FileEntry[] = []): Turn {
  return { question, images, state: "running", parts: [], warnings: [] };
}

/** Files of a conversation that are pictures: the app looked into each. */
export function pictures(id: string, names: string[]): FileEntry[] {
  return names.map((name) => ({
    name,
    url: `/api/conversations/${id}/files/${name.split("/").map(encodeURIComponent).join("/")}`,
    media_type: "image/png",
    size_bytes: 0,
  }));
}

/** A turn of the history. It has the last text of the model only, and files without their runs. */
export function fromHistory(stored: StoredTurn, id: string): Turn {
  const called = (stored.tool_calls ?? []).map((use) => ({ tool: use.name, execution: asExecution(use) }));
  const parts: Part[] = [...called, ...stored.executions.map((execution) => ({ execution }))].map((run, index) => ({
    kind: "run",
    id: `run-${index}`,
    code: run.execution.code,
    ...run,
    files: [],
  }));
  const runs = parts as RunPart[];
  for (const file of stored.files) {
    const owner =
      runs.find((run) => outputsOf(run).some((output) => "file" in output && output.file === file.name)) ??
      runs.findLast((run) => run.code.includes(file.name)) ??
      runs.at(-1);
    owner?.files.push(file);
  }
  if (stored.output) parts.push({ kind: "text", id: "answer", text: stored.output });
  return {
    question: stored.input,
    images: pictures(id, stored.images ?? []),
    state: "done",
    parts,
    warnings: stored.warnings,
    usage: stored.usage,
    finishReason: stored.finish_reason,
  };
}

type Json = Record<string, unknown>;

/** Takes one AG-UI event into the turn. Events that mean nothing here are left alone. */
export function applyEvent(turn: Turn, event: unknown): void {
  const e = event as Json;
  switch (e.type) {
    case "RUN_STARTED":
      turn.conversationId = String(e.threadId);
      return;
    case "TEXT_MESSAGE_START":
      turn.parts.push({ kind: "text", id: String(e.messageId), text: "" });
      return;
    case "TEXT_MESSAGE_CONTENT":
      text(turn, String(e.messageId)).text += String(e.delta);
      return;
    case "TOOL_CALL_START":
      turn.parts.push({
        kind: "run",
        id: String(e.toolCallId),
        ...(e.toolCallName === PYTHON ? {} : { tool: String(e.toolCallName) }),
        code: "",
        files: [],
      });
      return;
    case "TOOL_CALL_ARGS": {
      const run = runOf(turn, e.toolCallId);
      if (run) run.code = run.tool ? argumentsOf(String(e.delta)) : codeOf(String(e.delta));
      return;
    }
    case "TOOL_CALL_RESULT": {
      const run = runOf(turn, e.toolCallId);
      if (run) finishRun(run, e.content);
      return;
    }
    case "CUSTOM":
      if (e.name === "file") addFile(turn, e.value as FileEntry);
      // The warnings come once more with the last event, so a repeated one is the same one.
      if (e.name === "warning") turn.warnings.push(e.value as Warning);
      return;
    case "RUN_FINISHED":
      finish(turn, (e.result ?? {}) as Json);
      return;
    case "RUN_ERROR": {
      const operationId = (e.metadata as Json | undefined)?.operation_id;
      turn.state = "failed";
      turn.error = {
        code: String(e.code ?? "Error"),
        detail: String(e.message),
        ...(operationId ? { operationId: String(operationId) } : {}),
      };
    }
  }
}

export function outputsOf(run: RunPart): Output[] {
  return run.execution?.outputs ?? [];
}

/** The text of the answer, as it is copied: all that the model said. */
export function answerText(turn: Turn): string {
  const texts = turn.parts.filter((part) => part.kind === "text").map((part) => part.text.trim());
  return texts.filter(Boolean).join("\n\n");
}

function text(turn: Turn, id: string): TextPart {
  const last = turn.parts.findLast((part) => part.kind === "text" && part.id === id);
  if (last?.kind === "text") return last;
  const part: TextPart = { kind: "text", id, text: "" };
  turn.parts.push(part);
  return part;
}

function runOf(turn: Turn, id: unknown): RunPart | undefined {
  return turn.parts.find((part): part is RunPart => part.kind === "run" && part.id === id);
}

function codeOf(args: string): string {
  try {
    return String((JSON.parse(args) as Json).code ?? "");
  } catch {
    return args;
  }
}

function argumentsOf(args: string): string {
  try {
    return JSON.stringify(JSON.parse(args), null, 2);
  } catch {
    return args;
  }
}

/** A call of a tool, as a run of Python is shown. */
function asExecution(use: ToolUse): Execution {
  const failed = use.status === "Failed";
  return {
    code: JSON.stringify(use.arguments, null, 2),
    status: use.status,
    stdout: "",
    stderr: failed ? use.result : "",
    result: failed ? null : use.result,
    duration_ms: use.duration_ms,
  };
}

/** The content is the execution as JSON, alone or as the first of several content parts. */
function finishRun(run: RunPart, content: unknown): void {
  const parts = Array.isArray(content) ? (content as Json[]) : [{ type: "text", text: content } as Json];
  for (const part of parts) {
    if (part.type === "text" && !run.execution) {
      const said: unknown = JSON.parse(String(part.text));
      run.execution = run.tool ? asExecution(said as ToolUse) : (said as Execution);
    }
    const source = part.source as Json | undefined;
    if (source?.type === "url") {
      const url = String(source.value);
      const name = nameOf(url, part);
      if (!run.files.some((file) => file.name === name)) {
        run.files.push({ name, url, media_type: String(source.mimeType ?? source.mime_type ?? ""), size_bytes: 0 });
      }
    }
  }
  run.code ||= run.execution?.code ?? "";
}

function nameOf(url: string, part: Json): string {
  const given = (part.metadata as Json | undefined)?.name ?? part.name ?? part.filename;
  if (given) return String(given);
  const last = url.startsWith("data:") ? "" : (url.split("/").at(-1) ?? "");
  try {
    return decodeURIComponent(last) || "file";
  } catch {
    return last;
  }
}

function addFile(turn: Turn, file: FileEntry): void {
  const runs = turn.parts.filter((part): part is RunPart => part.kind === "run");
  for (const run of runs) {
    const index = run.files.findIndex((known) => known.name === file.name || known.url === file.url);
    if (index >= 0) {
      // The entry of a content part has no size; a file that was written again is shown once.
      run.files[index] = file;
      return;
    }
  }
  // Runs follow each other: what comes before the next one begins is of the last one.
  runs.at(-1)?.files.push(file);
}

function finish(turn: Turn, result: Json): void {
  turn.state = "done";
  if (result.usage) turn.usage = result.usage as Usage;
  if (typeof result.finish_reason === "string") turn.finishReason = result.finish_reason;
  if (typeof result.conversation_id === "string") turn.conversationId = result.conversation_id;
  if (Array.isArray(result.warnings)) turn.warnings = result.warnings as Warning[];
  if (typeof result.output === "string" && result.output) {
    const last = turn.parts.at(-1);
    if (last?.kind === "text") last.text = result.output;
    else turn.parts.push({ kind: "text", id: "answer", text: result.output });
  }
}
