import assert from "node:assert/strict";
import { test } from "node:test";
import { readEvents } from "./sse";

function streamOf(bytes: Uint8Array, size: number): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size));
      controller.close();
    },
  });
}

async function events(text: string, size: number): Promise<unknown[]> {
  const found: unknown[] = [];
  for await (const event of readEvents(streamOf(new TextEncoder().encode(text), size))) found.push(event);
  return found;
}

const CASES: [string, string, unknown[]][] = [
  ["line feeds", 'data: {"a":1}\n\ndata: {"b":2}\n\n', [{ a: 1 }, { b: 2 }]],
  ["carriage returns and line feeds", 'data: {"a":1}\r\n\r\ndata: {"b":2}\r\n\r\n', [{ a: 1 }, { b: 2 }]],
  ["carriage returns", 'data: {"a":1}\r\rdata: {"b":2}\r\r', [{ a: 1 }, { b: 2 }]],
  ["comments between events", ': keep-alive\n\ndata: {"a":1}\n\n: keep-alive\n\n', [{ a: 1 }]],
  ["other fields", 'event: x\nid: 7\nretry: 1\ndata: {"a":1}\n\n', [{ a: 1 }]],
  ["data of several lines", 'data: {\ndata: "a":1}\n\n', [{ a: 1 }]],
  ["no space after the colon", 'data:{"a":1}\n\n', [{ a: 1 }]],
  ["characters of several bytes", 'data: {"a":"é—😀"}\n\n', [{ a: "é—😀" }]],
  ["an event that was cut off", 'data: {"a":1}\n\ndata: {"b"', [{ a: 1 }]],
];

for (const [name, text, expected] of CASES) {
  test(`a stream with ${name} is read the same in chunks of any size`, async () => {
    for (const size of [1, 2, 3, 7, 1000]) assert.deepEqual(await events(text, size), expected, `chunks of ${size}`);
  });
}

test("a reader that leaves early cancels the stream, so that the server ends the run", async () => {
  let cancelled = false;
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(new TextEncoder().encode('data: {"a":1}\n\n')),
    cancel: () => void (cancelled = true),
  });
  for await (const event of readEvents(body)) {
    assert.deepEqual(event, { a: 1 });
    break;
  }
  assert.ok(cancelled);
});
