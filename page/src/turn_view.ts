import { signInLink } from "./access";
import { SIGN_IN_REQUIRED, type Api } from "./api";
import { codeBlock } from "./code";
import { announce, copyButton, h, icon, iconButton } from "./dom";
import { figure, fileRow, isImage, thumbnail } from "./files";
import { count } from "./format";
import { GrowingMarkdown } from "./markdown";
import { RunView } from "./run_view";
import { answerText, type Part, type Turn } from "./turn";
import type { FileEntry } from "./types";

const BUDGETS: Record<string, string> = {
  length: "The answer was cut at the model's longest length.",
  content_filter: "The content filter ended the answer.",
  tool_rounds: "The model used up the number of times it may run code.",
  deadline: "The time for this turn was used up.",
};

export interface TurnActions {
  /** Asks the same question again. */
  retry(turn: Turn): void;
  /** Puts the question back into the box. */
  edit(turn: Turn): void;
}

type PartView = { update(): void; element: HTMLElement };

/** A question and its answer. */
export class TurnView {
  readonly element = h("article", { class: "turn" });
  readonly #parts = h("div", { class: "parts" });
  readonly #end = h("div", { class: "turn-end" });
  readonly #views = new Map<Part, PartView>();
  #frame = 0;

  constructor(
    private readonly api: Api,
    readonly turn: Turn,
    private readonly actions: TurnActions,
  ) {
    this.element.append(
      h("h2", { class: "hidden-text" }, "You asked"),
      h(
        "div",
        { class: "question" },
        h(
          "div",
          { class: "question-text", dir: "auto" },
          ...questionNodes(turn.question),
          turn.images.length > 0 && h("div", { class: "thumbnails" }, ...turn.images.map((file) => thumbnail(this.api, file))),
        ),
        iconButton("edit", "Edit and ask again", () => this.actions.edit(turn), "edit"),
      ),
      h("h2", { class: "hidden-text" }, "Answer"),
      this.#parts,
      this.#end,
    );
  }

  /** Shows what is new with the next frame; however often it is called until then, that is once. */
  invalidate(): void {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.update();
    });
  }

  update(): void {
    const { turn } = this;
    const running = turn.state === "running";
    this.element.setAttribute("aria-busy", String(running));
    this.element.dataset.state = turn.state;
    for (const part of turn.parts) this.#viewOf(part).update();
    if (running) {
      const last = turn.parts.at(-1);
      const waiting = !last || (last.kind === "run" && last.execution);
      this.#end.replaceChildren(...(waiting ? [h("div", { class: "thinking" }, h("span", { class: "hidden-text" }, "Thinking"), dots())] : []));
    } else {
      this.#end.replaceChildren(...this.#ending());
    }
  }

  #viewOf(part: Part): PartView {
    let view = this.#views.get(part);
    if (!view) {
      view = part.kind === "run" ? new RunView(this.api, this.turn, part) : this.#textView(part);
      this.#views.set(part, view);
      this.#parts.append(view.element);
    }
    return view;
  }

  #textView(part: Part & { kind: "text" }): PartView {
    const markdown = new GrowingMarkdown((...link) => this.#fileLink(...link));
    let shown: string | undefined;
    let complete = false;
    return {
      element: markdown.element,
      update: () => {
        const nowComplete = this.turn.state !== "running" || this.turn.parts.at(-1) !== part;
        if (part.text === shown && nowComplete === complete) return;
        shown = part.text;
        complete = nowComplete;
        markdown.update(part.text, complete);
      },
    };
  }

  /** What the model's link to a file of this turn becomes; figures are in place already. */
  #fileLink(name: string, label: string, image: boolean, address?: string): HTMLElement | undefined {
    const runs = this.turn.parts.filter((part) => part.kind === "run");
    const file = runs.flatMap((run) => run.files).findLast((known) => known.name === name);
    if (!file) {
      // One that was there before this turn: nothing of it is asked for until somebody clicks.
      return address ? h("span", { class: "file-inline" }, fileRow(this.api, { name, url: address, media_type: "", size_bytes: 0 })) : undefined;
    }
    if (image && isImage(file)) return figure(this.api, file);
    return h("span", { class: "file-inline" }, fileRow(this.api, { ...file, name: file.name || label } as FileEntry));
  }

  #ending(): Node[] {
    const { turn } = this;
    const nodes: Node[] = [];
    for (const warning of turn.warnings) {
      nodes.push(h("div", { class: "notice warning", "data-code": warning.code }, icon("warning"), h("p", { dir: "auto" }, warning.message)));
    }
    const budget = BUDGETS[turn.finishReason ?? ""];
    if (budget) nodes.push(h("div", { class: "notice warning" }, icon("warning"), h("p", {}, budget)));
    if (turn.state === "stopped") nodes.push(this.#notice("stop", "You stopped this answer. It is not part of the conversation."));
    if (turn.state === "unfinished") {
      nodes.push(this.#notice("warning", "This answer was not finished: the page was closed or loaded anew while it ran."));
    }
    if (turn.error) {
      const { code, detail, operationId } = turn.error;
      nodes.push(
        this.#notice(
          "failed",
          detail,
          h("p", { class: "error-code" }, code, operationId ? ` · operation_id ${operationId}` : ""),
        ),
      );
    }
    const answer = answerText(turn);
    nodes.push(
      h(
        "div",
        { class: "turn-foot" },
        answer && copyButton("Copy answer", () => answerText(turn)),
        turn.usage &&
          h(
            "span",
            { class: "usage", title: `${turn.usage.prompt_tokens} in, ${turn.usage.completion_tokens} out` },
            `${count(turn.usage.total_tokens)} tokens`,
          ),
      ),
    );
    return nodes;
  }

  #notice(name: "failed" | "stop" | "warning", text: string, ...more: Node[]): HTMLElement {
    const kind = name === "failed" ? "error" : "quiet";
    return h(
      "div",
      { class: `notice ${kind}`, role: kind === "error" ? "alert" : "note" },
      icon(name),
      h("div", {}, h("p", { dir: "auto" }, text), ...more),
      this.turn.error?.code === SIGN_IN_REQUIRED
        ? signInLink()
        : h("button", { type: "button", class: "button", onclick: () => this.actions.retry(this.turn) }, icon("retry"), "Try again"),
    );
  }
}

/** A question as it was typed, but for fenced code, which is shown as code. */
function questionNodes(question: string): (Node | string)[] {
  const pieces = question.split(/^(```[\w+-]*\n[^]*?\n```)[^\S\n]*$\n?/m);
  return pieces.map((piece, index) => {
    const fence = index % 2 ? /^```([\w+-]*)\n([^]*)\n```$/.exec(piece) : null;
    return fence ? codeBlock(fence[2] ?? "", fence[1] || "python") : piece.replace(index ? /^\n|\n$/g : /\n$/, "");
  });
}

/** Tells people who do not see the page how a turn ended. */
export function announceEnd(turn: Turn): void {
  const answer = answerText(turn);
  const ends = { done: `Answer: ${answer.slice(0, 500)}`, stopped: "Stopped", failed: "", running: "", unfinished: "" };
  announce(ends[turn.state]);
}

function dots(): HTMLElement {
  return h("span", { class: "dots", "aria-hidden": "true" }, h("i"), h("i"), h("i"));
}
