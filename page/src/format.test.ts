import assert from "node:assert/strict";
import { test } from "node:test";
import { bytes, csvRows, duration, isOwnFile, ownFileName, plain, titleOf } from "./format";

test("sizes have two digits and a unit", () => {
  const cases: [number, string][] = [[0, "0 B"], [999, "999 B"], [1000, "1.0 KB"], [9949, "9.9 KB"], [9960, "10 KB"], [999_400, "999 KB"], [999_600, "1.0 MB"], [134_217_728, "134 MB"]];
  for (const [count, text] of cases) assert.equal(bytes(count), text);
});

test("durations are in the unit that people would say", () => {
  const cases: [number, string][] = [[7, "7 ms"], [1234, "1.2 s"], [59_940, "59.9 s"], [59_960, "1 min 0 s"], [125_000, "2 min 5 s"]];
  for (const [ms, text] of cases) assert.equal(duration(ms), text);
});

test("a title is the first line, cut between characters", () => {
  assert.equal(titleOf("  Look\nhere"), "Look");
  assert.equal([...titleOf("😀".repeat(80))].length, 60);
});

test("text of a terminal loses its control sequences and nothing else", () => {
  assert.equal(plain("\u001b[0;31mError\u001b[0m [0m\u001b]8;;http://x\u0007link"), "Error [0mlink");
});

const CSV: [string, string, string[][]][] = [
  ["plain", "a,b\n1,2\n", [["a", "b"], ["1", "2"]]],
  ["no last line end", "a,b\n1,2", [["a", "b"], ["1", "2"]]],
  ["quotes, commas and line ends in quotes", '"a,""x""","b\nc"\r\n1,2\r\n', [['a,"x"', "b\nc"], ["1", "2"]]],
  ["empty fields", ",\n,\n", [["", ""], ["", ""]]],
  ["a byte order mark", "\ufeffa\n1\n", [["a"], ["1"]]],
  ["an open quote", '"a\nb', [["a\nb"]]],
  ["nothing", "", []],
];
for (const [name, text, rows] of CSV) {
  test(`CSV with ${name} is read`, () => assert.deepEqual(csvRows(text, 9).rows, rows));
}

test("CSV that is longer than asked says that there is more", () => {
  assert.deepEqual(csvRows("a\nb\nc\n", 2), { rows: [["a"], ["b"]], more: true });
  assert.equal(csvRows("a\nb\n", 2).more, false);
});

test("only files of conversations are asked for with the key", () => {
  const id = "0".repeat(32);
  assert.equal(ownFileName(`/api/conversations/${id}/files/plot%201.png`), "plot 1.png");
  assert.equal(ownFileName(`/api/conversations/${id}/files/sub/%E6%96%87/..a.txt`), "sub/文/..a.txt");
  for (const url of [
    "https://evil.example/api/conversations/x/files/a",
    `//evil.example/api/conversations/${id}/files/a`,
    `/api/conversations/${id}/files/..`,
    `/api/conversations/${id}/files/%2e%2E`,
    `/api/conversations/${id}/files/.%2e/a`,
    `/api/conversations/${id}/files/sub/../a`,
    `/api/conversations/${id}/files/sub/%2E/a`,
    `/api/conversations/${id}/files//a`,
    `/api/conversations/${id}/files/a/`,
    `/api/conversations/${id}/files/a\\..\\b`,
    `/api/conversations/${id}/files/a\t/b`,
    `/api/conversations/${id}/files/%FF`,
    `/api/conversations/${id}/files/../../../chat`,
    `/api/conversations/${id}/files/a?x=1`,
    `/api/conversations/${id}/files/`,
    `/api/conversations/${id}`,
    "/api/chat?input=hello",
    "/.auth/logout",
    "javascript:alert(1)",
    "data:text/html,x",
  ]) assert.ok(!isOwnFile(url), url);
});
