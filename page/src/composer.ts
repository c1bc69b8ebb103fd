import type { Api } from "./api";
import { announce, h, icon, iconButton } from "./dom";
import { bytes } from "./format";

// What a model can be shown; the app refuses others.
const PICTURES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);
const PICTURE_MAX_BYTES = 8 * 1024 * 1024;
const PICTURES_MAX = 10;

/** Browsers call every picture of the clipboard the same: the next one would take its place. */
function ownName(file: File): File {
  if (file.name !== "image.png") return file;
  const now = new Date().toISOString().slice(0, 23).replace(/\W/g, "-");
  return new File([file], `pasted-${now}.png`, { type: file.type });
}

interface Attachment {
  element: HTMLElement;
  /** Of the file; as the app calls it once it is there. */
  name: string;
  /** Whether the model looks at it. */
  look: boolean;
  done: boolean;
  failed: boolean;
  cancel: AbortController;
}

export interface ComposerActions {
  send(question: string, images: string[]): void;
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
        this.attach(files.map(ownName));
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
  /** Whether the model can be shown pictures. */
  sees = false;

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

  /** Marks files of the conversation to be looked at, as they were before. */
  attachAgain(names: readonly string[]): void {
    for (const name of names) {
      const attachment = this.#add(name, icon("file"));
      attachment.done = attachment.look = true;
      attachment.element.append(this.#eye(attachment), this.#removal(attachment, `Remove ${name}`));
    }
    this.#changed();
  }

  #add(name: string, picture: Node): Attachment {
    const element = h("li", { class: "attachment" }, picture, h("span", { class: "file-name", dir: "auto" }, name));
    const attachment = { element, name, look: false, done: false, failed: false, cancel: new AbortController() };
    this.#attachments.add(attachment);
    this.#files.append(element);
    return attachment;
  }

  #removal(attachment: Attachment, label: string, removed?: () => void): HTMLButtonElement {
    return iconButton("close", label, () => {
      attachment.cancel.abort();
      if (attachment.done) removed?.();
      this.#attachments.delete(attachment);
      attachment.element.remove();
      this.#changed();
      this.focus();
    });
  }

  /** The mark of a picture: whether the model looks at it, or code alone may open it. */
  #eye(attachment: Attachment): HTMLButtonElement {
    const button = iconButton("eye", `Let the model look at ${attachment.name}`, () => {
      attachment.look = !attachment.look;
      show();
    });
    const show = (): void => {
      button.setAttribute("aria-pressed", String(attachment.look));
      button.title = attachment.look ? "The model looks at it" : "A file for code alone";
      button.replaceChildren(icon(attachment.look ? "eye" : "eyeOff"));
    };
    show();
    return button;
  }

  get #looks(): string[] {
    return [...this.#attachments].filter((attachment) => attachment.look).map((attachment) => attachment.name);
  }

  async #upload(file: File): Promise<void> {
    const isPicture = PICTURES.has(file.type) && file.size <= PICTURE_MAX_BYTES;
    const image = h("img", { class: "attached-picture", alt: "" });
    const attachment = this.#add(file.name, isPicture ? image : icon("file"));
    const { element } = attachment;
    if (isPicture) {
      image.src = URL.createObjectURL(file);
      image.onload = image.onerror = () => URL.revokeObjectURL(image.src);
    }
    const bar = h("progress", { max: 1, value: 0, "aria-label": `Upload of ${file.name}` });
    const state = h("span", { class: "file-size" }, bytes(file.size));
    const remove = this.#removal(attachment, `Cancel the upload of ${file.name}`, () => this.actions.removed(attachment.name));
    element.append(state, bar);
    if (isPicture && this.sees) {
      attachment.look = this.#looks.length < PICTURES_MAX;
      element.append(this.#eye(attachment));
    }
    element.append(remove);
    this.#changed();
    try {
      const id = await this.actions.conversation();
      if (attachment.cancel.signal.aborted) return;
      attachment.name = await this.api.upload(id, file, (share) => (bar.value = share), attachment.cancel.signal);
      attachment.done = true;
      announce(`${file.name} is attached`);
      this.actions.uploaded();
    } catch (error) {
      if (attachment.cancel.signal.aborted) return;
      attachment.failed = true;
      attachment.look = false;
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
    const images = this.#looks;
    this.text = "";
    this.clearAttachments();
    this.actions.send(question, images);
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
