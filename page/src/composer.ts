import type { Api } from "./api";
import { announce, h, icon, iconButton } from "./dom";
import { bytes } from "./format";

interface Attachment {
  element: HTMLElement;
  done: boolean;
  failed: boolean;
  cancel: AbortController;
}

export interface ComposerActions {
  send(question: string): void;
  stop(): void;
  /** The conversation that files go to, a new one if need be. */
  conversation(): Promise<string>;
  uploaded(): void;
  /** An uploaded file was taken back before it was sent. */
  removed(name: string): void;
}

/** The box for the question: text, attachments, Send and Stop. */
export class Composer {
  readonly element: HTMLFormElement;
  readonly #text = h("textarea", {
    id: "question",
    rows: 1,
    dir: "auto",
    "aria-label": "Your question",
    placeholder: "Ask a question",
    enterkeyhint: "send",
  });
  readonly #files = h("ul", { class: "attachments", "aria-label": "Attached files" });
  readonly #picker = h("input", { type: "file", multiple: true, hidden: true, "aria-hidden": "true", tabindex: -1 });
  readonly #attach = iconButton("attach", "Attach files", () => this.#picker.click());
  readonly #send = h("button", { type: "submit", class: "send", "aria-label": "Send", title: "Send" }, icon("send"));
  readonly #stop = h("button", { type: "button", class: "send stop", "aria-label": "Stop", title: "Stop", hidden: true }, icon("stop"));
  readonly #attachments = new Set<Attachment>();

  constructor(
    private readonly api: Api,
    private readonly actions: ComposerActions,
  ) {
    this.element = h(
      "form",
      { class: "composer", "aria-label": "Question" },
      this.#files,
      h("div", { class: "composer-row" }, this.#attach, this.#text, this.#send, this.#stop),
      this.#picker,
    );
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener("keydown", (event) => {
      // While an input method composes a word, Enter takes the word.
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.#submit();
      }
    });
    this.#text.addEventListener("input", () => this.#changed());
    this.#text.addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (files.length && this.takesFiles) {
        event.preventDefault();
        this.attach(files);
      }
    });
    this.#picker.addEventListener("change", () => {
      this.attach([...(this.#picker.files ?? [])]);
      this.#picker.value = "";
    });
    this.#stop.addEventListener("click", () => this.actions.stop());
    this.#changed();
  }

  takesFiles = false;

  allowFiles(allowed: boolean): void {
    this.takesFiles = allowed;
    this.#attach.hidden = !allowed;
  }

  /** Shows Stop in place of Send while a turn runs. */
  set running(running: boolean) {
    this.#send.hidden = running;
    this.#stop.hidden = !running;
    this.#changed();
  }

  get text(): string {
    return this.#text.value;
  }

  set text(text: string) {
    this.#text.value = text;
    this.#changed();
  }

  focus(): void {
    this.#text.focus({ preventScroll: true });
    this.#text.setSelectionRange(this.text.length, this.text.length);
  }

  /** Uploads files, all of them at once; each shows how far it is. */
  attach(files: readonly File[]): void {
    for (const file of files) void this.#upload(file);
  }

  clearAttachments(): void {
    for (const attachment of this.#attachments) {
      attachment.cancel.abort();
      attachment.element.remove();
    }
    this.#attachments.clear();
    this.#changed();
  }

  async #upload(file: File): Promise<void> {
    const bar = h("progress", { max: 1, value: 0, "aria-label": `Upload of ${file.name}` });
    const state = h("span", { class: "file-size" }, bytes(file.size));
    const remove = iconButton("close", `Cancel the upload of ${file.name}`, () => drop());
    const element = h("li", { class: "attachment" }, icon("file"), h("span", { class: "file-name", dir: "auto" }, file.name), state, bar, remove);
    const attachment: Attachment = { element, done: false, failed: false, cancel: new AbortController() };
    const drop = (): void => {
      attachment.cancel.abort();
      if (attachment.done) this.actions.removed(file.name);
      this.#attachments.delete(attachment);
      element.remove();
      this.#changed();
      this.focus();
    };
    this.#attachments.add(attachment);
    this.#files.append(element);
    this.#changed();
    try {
      const id = await this.actions.conversation();
      if (attachment.cancel.signal.aborted) return;
      await this.api.upload(id, file, (share) => (bar.value = share), attachment.cancel.signal);
      attachment.done = true;
      announce(`${file.name} is attached`);
      this.actions.uploaded();
    } catch (error) {
      if (attachment.cancel.signal.aborted) return;
      attachment.failed = true;
      element.classList.add("failed");
      state.textContent = (error as Error).message;
      announce(`${file.name}: ${(error as Error).message}`);
    }
    bar.remove();
    const label = `Remove ${file.name}`;
    remove.setAttribute("aria-label", label);
    remove.title = label;
    this.#changed();
  }

  #submit(): void {
    const question = this.text.trim();
    if (!question || this.#send.disabled || this.#send.hidden) return;
    this.text = "";
    this.clearAttachments();
    this.actions.send(question);
  }

  #changed(): void {
    const uploading = [...this.#attachments].some((attachment) => !attachment.done && !attachment.failed);
    this.#send.disabled = uploading || !this.text.trim();
    this.#files.hidden = this.#attachments.size === 0;
    // Where CSS cannot let the box grow (field-sizing), its scroll height tells how tall it must be.
    if (!CSS.supports("field-sizing", "content")) {
      this.#text.style.height = "auto";
      this.#text.style.height = `${Math.min(this.#text.scrollHeight, 240)}px`;
    }
  }
}
