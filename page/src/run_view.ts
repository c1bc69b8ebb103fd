import type { Api } from "./api";
import { highlighted } from "./code";
import { copyButton, h, icon } from "./dom";
import { figure, fileRow, isImage } from "./files";
import { count, duration, plain } from "./format";
import { htmlFrame, render, tablesOf } from "./markdown";
import { outputsOf, type RunPart, type Turn } from "./turn";
import type { FileEntry, Output } from "./types";

const FOLD_LINES = 14;
const FOLD_CHARS = 4_000;
// What a browser lays out at once without a pause.
const SHOWN_MAX_CHARS = 100_000;
const HTML_MAX_BYTES = 2 * 1024 * 1024;

/** One run of Python, or one call of a tool: a card with its code and all that came of it, in order. */
export class RunView {
  readonly element: HTMLElement;
  readonly #head = h("div", { class: "run-head" });
  readonly #code = h("div", { class: "run-code" });
  readonly #output = h("div", { class: "run-output" });
  readonly #files = h("div", { class: "run-files" });
  #shownCode: string | undefined;
  #finished = false;
  #shownFiles = new Map<string, FileEntry>();

  constructor(
    private readonly api: Api,
    private readonly turn: Turn,
    private readonly run: RunPart,
  ) {
    this.element = h("section", { class: "run", role: "group", "aria-label": run.tool ?? "Python" }, this.#head, this.#code, this.#output, this.#files);
    this.#drawHead();
  }

  update(): void {
    const { run, turn } = this;
    if (run.code !== this.#shownCode) {
      this.#shownCode = run.code;
      this.#code.replaceChildren(folded(run.code, (text) => highlighted(text, run.tool ? "json" : "python"), "code"));
    }
    const over = run.execution !== undefined || turn.state !== "running";
    if (over && !this.#finished) {
      this.#finished = true;
      this.#drawHead();
    }
    if (this.#finished && this.#changed()) this.#drawResults();
  }

  #changed(): boolean {
    const { files } = this.run;
    const same =
      this.#output.hasChildNodes() && files.length === this.#shownFiles.size && files.every((f) => this.#shownFiles.get(f.url) === f);
    return !same;
  }

  #drawHead(): void {
    const { execution } = this.run;
    const state = execution ? (execution.status === "Failed" ? "failed" : "done") : this.turn.state === "running" ? "running" : "stopped";
    const { tool } = this.run;
    const what = tool ?? "Python";
    const label = {
      running: `${tool ? "Calling" : "Running"} ${what}…`,
      done: `${tool ? "Called" : "Ran"} ${what}`,
      failed: `${what} failed`,
      stopped: `${what} was stopped`,
    }[state];
    this.element.dataset.state = state;
    this.#head.replaceChildren(
      state === "running" ? h("span", { class: "spinner", "aria-hidden": "true" }) : icon(state === "done" ? "check" : state === "failed" ? "failed" : "stop"),
      h("span", { class: "run-label" }, label),
      execution ? h("span", { class: "run-time" }, duration(execution.duration_ms)) : "",
      copyButton(tool ? "Copy arguments" : "Copy code", () => this.run.code),
    );
  }

  #drawResults(): void {
    const { execution, files } = this.run;
    this.#shownFiles = new Map(files.map((file) => [file.url, file]));
    const shown = new Set<string>();
    const outputs = outputsOf(this.run);
    const pieces: Node[] = [];
    if (execution?.stdout) pieces.push(textOutput(execution.stdout, "Output"));
    for (const output of outputs) {
      const file = "file" in output ? files.find((known) => known.name === output.file) : undefined;
      if (file) shown.add(file.name);
      pieces.push(this.#piece(output, file));
    }
    const said = outputs.some((output) => output.type !== "image" && output.text === execution?.result);
    if (execution?.result && !said) pieces.push(textOutput(execution.result, "Result"));
    const rest = files.filter((file) => !shown.has(file.name));
    pieces.push(...rest.filter(isImage).map((file) => figure(this.api, file)));
    if (execution?.stderr) pieces.push(textOutput(execution.stderr, execution.status === "Failed" ? "Error" : "Messages"));
    // Never without a child: that is how it is known that the results were drawn.
    this.#output.replaceChildren(...pieces, document.createComment("end"));
    this.#files.replaceChildren(...rest.filter((file) => !isImage(file)).map((file) => fileRow(this.api, file)));
  }

  #piece(output: Output, file: FileEntry | undefined): Node {
    if (output.type === "image") {
      return file ? figure(this.api, file) : h("p", { class: "note" }, `[image: ${output.file}]`);
    }
    if (output.type === "text" && output.media_type === "text/markdown") {
      return h("div", { class: "output prose" }, render(output.text, () => undefined));
    }
    if (output.type === "text") return textOutput(output.text, "Result");
    const place = h("div", { class: "html-output" });
    if (!file) {
      place.append(textOutput(output.text, "Result"));
      return place;
    }
    // The plain form of a page without one is only a name of Python's.
    const plainForm = output.text && !/^<[\w.]+ object[^<]*>$/.test(output.text);
    const view = h("div", {}, plainForm ? textOutput(output.text, "Result") : "");
    place.append(view, fileRow(this.api, file));
    void this.#showHtml(view, file);
    return place;
  }

  /** Puts the HTML in place of its text form, where it shows something without scripts. */
  async #showHtml(view: HTMLElement, file: FileEntry): Promise<void> {
    try {
      if (file.size_bytes > HTML_MAX_BYTES) return;
      const html = new TextDecoder().decode(await this.api.content(file));
      const tables = tablesOf(html);
      if (tables.length) view.replaceChildren(...tables);
      else if (!/<script/i.test(html)) view.replaceChildren(htmlFrame(html, file.name));
      else view.append(h("p", { class: "note" }, "This page needs scripts, which are not run here. Download it to open it."));
    } catch {
      view.append(h("p", { class: "note" }, `${file.name} cannot be read any more.`));
    }
  }
}

function textOutput(text: string, label: string): HTMLElement {
  const error = label === "Error";
  return h(
    "div",
    { class: `output ${error ? "output-error" : ""}` },
    h("div", { class: "output-label" }, label),
    folded(plain(text).replace(/\n$/, ""), (shown) => document.createTextNode(shown), label.toLowerCase(), error),
  );
}

/** Long text shows its first lines (of an error: its last ones, which say what is wrong). */
function folded(text: string, show: (text: string) => Node, what: string, fromEnd = false): HTMLElement {
  const pre = h("pre", { tabindex: 0, dir: what === "code" ? "ltr" : "auto" });
  const lines = text.split("\n");
  if (lines.length <= FOLD_LINES + 4 && text.length <= FOLD_CHARS * 1.5) {
    pre.append(show(text));
    return pre;
  }
  const short = (fromEnd ? lines.slice(-FOLD_LINES) : lines.slice(0, FOLD_LINES)).join("\n");
  const part = fromEnd ? short.slice(-FOLD_CHARS) : short.slice(0, FOLD_CHARS);
  const all = lines.length > FOLD_LINES ? `all ${count(lines.length)} lines` : `all ${count(text.length)} characters`;
  const button = h("button", { type: "button", class: "fold", "aria-expanded": "false", onclick: () => toggle() });
  let open = true;
  function toggle(): void {
    open = !open;
    pre.classList.toggle("fade-start", !open && fromEnd);
    pre.classList.toggle("fade-end", !open && !fromEnd);
    pre.replaceChildren(show(open ? text.slice(0, SHOWN_MAX_CHARS) : part));
    if (open && text.length > SHOWN_MAX_CHARS) pre.append(`\n… ${count(text.length - SHOWN_MAX_CHARS)} more characters`);
    button.setAttribute("aria-expanded", String(open));
    button.textContent = open ? `Show less ${what}` : `Show ${all} of ${what}`;
  }
  toggle();
  return h("div", { class: "folded" }, ...(fromEnd ? [button, pre] : [pre, button]));
}
