import { askForKey, signInLink, signInRequired, signOutLink } from "./access";
import { Api, ApiError, SIGN_IN_REQUIRED } from "./api";
import { Composer } from "./composer";
import { announce, breather, confirmed, h, icon, iconButton, statusRegion } from "./dom";
import { fileRow, forgetPicture } from "./files";
import { count, titleOf } from "./format";
import { EXAMPLES, GREETING, TITLE } from "./own";
import { Sidebar } from "./sidebar";
import * as storage from "./storage";
import { applyEvent, fromHistory, newTurn, pictures, type Turn } from "./turn";
import { announceEnd, TurnView } from "./turn_view";
import type { Capabilities, ConversationEntry, FileEntry } from "./types";

// How much of a pause a long conversation may make while it is put together.
const SLICE_MS = 12;
// A question of the history counts as the running one only if it was asked then, clocks apart.
const CLOCK_SKEW_MS = 5 * 60_000;

/** The whole page. */
export class App {
  readonly #api = new Api({ askForKey: () => askForKey(this.#api), askToSignIn: () => this.#askToSignIn() });
  readonly #sidebar = new Sidebar({
    open: (id) => void this.#open(id),
    start: () => this.#startNew(),
    rename: (id, name) => this.#rename(id, name),
    remove: (entry) => void this.#remove(entry),
    more: () => void this.#loadMore(),
  });
  readonly #composer = new Composer(this.#api, {
    send: (question, images) => void this.#ask(question, images),
    stop: () => this.#run?.abort(),
    conversation: () => this.#conversationForFiles(),
    uploaded: () => void this.#showFiles(),
    removed: (name) => void this.#takeBack(name),
  });
  readonly #thread = h("div", { class: "thread", role: "log", "aria-label": "Conversation", "aria-live": "off" });
  readonly #scroller = h("main", { class: "scroller", tabindex: -1 }, this.#thread);
  readonly #notices = h("div", { class: "notices" });
  readonly #title = h("h1", { class: "title", dir: "auto" }, "New conversation");
  readonly #fileList = h("ul", { class: "file-list" });
  readonly #filesPanel = h("aside", { class: "files-panel", "aria-label": "Files of this conversation", hidden: true });
  readonly #filesButton = h("button", {
    type: "button",
    class: "button quiet files-button",
    "aria-expanded": "false",
    hidden: true,
    onclick: () => this.#toggleFiles(),
  });
  readonly #down = iconButton("send", "Go to the end", () => this.#toEnd(), "go-down");
  #capabilities: Capabilities | undefined;
  #learning: Promise<Capabilities> | undefined;
  #who: string | null = null;
  #entries: ConversationEntry[] = [];
  #cursor: string | null = null;
  #conversation: string | undefined;
  #creating: Promise<string> | undefined;
  #opening: Promise<void> | undefined;
  #run: AbortController | undefined;
  #following = true;
  /** Which conversation is being shown; what was asked for an earlier one comes too late. */
  #shown = 0;

  async start(): Promise<void> {
    this.#layOut();
    this.#listen();
    this.#showWelcome();
    try {
      await this.#learn();
    } catch (error) {
      if ((error as ApiError).code !== SIGN_IN_REQUIRED) this.#tell(error as ApiError);
      return;
    }
    this.#composer.text ||= storage.takeDraft(this.#who) ?? "";
    const id = location.hash.slice(1);
    await Promise.all([this.#loadList(), storage.isConversationId(id) ? this.#open(id) : undefined]);
    if (this.#thread.querySelector(".turn") === null) this.#composer.focus();
  }

  /** What the app can do; asked again for a question if it could not be had before. */
  async #learn(): Promise<Capabilities> {
    this.#learning ??= this.#api.capabilities();
    try {
      this.#capabilities = await this.#learning;
    } catch (error) {
      this.#learning = undefined;
      throw error;
    }
    this.#who = this.#capabilities.signed_in_as;
    this.#showCapabilities();
    this.#showAccount();
    return this.#capabilities;
  }

  #layOut(): void {
    this.#filesPanel.append(
      h("div", { class: "panel-head" }, h("h2", {}, "Files"), iconButton("close", "Close the files", () => this.#toggleFiles(false))),
      this.#fileList,
    );
    this.#down.hidden = true;
    document.body.replaceChildren(
      h("a", { class: "skip", href: "#question", onclick: (event: Event) => (event.preventDefault(), this.#composer.focus()) }, "Skip to the question"),
      this.#sidebar.element,
      h(
        "div",
        { class: "main" },
        h("header", { class: "top" }, this.#sidebar.toggle, this.#title, this.#filesButton),
        this.#scroller,
        h("div", { class: "bottom" }, this.#down, this.#notices, this.#composer.element),
        h("div", { class: "drop-hint", "aria-hidden": "true" }, icon("attach"), "Drop files to attach them"),
      ),
      this.#filesPanel,
      statusRegion,
    );
  }

  #listen(): void {
    addEventListener("hashchange", () => {
      const id = location.hash.slice(1);
      if (storage.isConversationId(id) && id !== this.#conversation) void this.#open(id);
    });
    this.#scroller.addEventListener("scroll", () => {
      const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
      this.#following = scrollHeight - scrollTop - clientHeight < 80;
      this.#down.hidden = this.#following;
    }, { passive: true });
    new ResizeObserver(() => this.#following && this.#toEnd()).observe(this.#thread);
    addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !document.querySelector("dialog[open]")) {
        if (!this.#filesPanel.hidden) this.#toggleFiles(false);
      }
    });
    let depth = 0;
    const over = (change: number): void => {
      depth = Math.max(0, depth + change);
      document.body.classList.toggle("dropping", depth > 0 && this.#composer.takesFiles);
    };
    const hasFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
    addEventListener("dragenter", (event) => hasFiles(event) && over(1));
    addEventListener("dragleave", (event) => hasFiles(event) && over(-1));
    addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
    addEventListener("drop", (event) => {
      if (!hasFiles(event)) return;
      // Without this the browser leaves the page and shows the file.
      event.preventDefault();
      over(-depth);
      if (this.#composer.takesFiles) this.#composer.attach([...(event.dataTransfer?.files ?? [])]);
    });
  }

  // Who may come in

  #askToSignIn(): void {
    this.#sidebar.account.replaceChildren(signInLink());
    // A question that was refused says so in its own place.
    if (!this.#run) this.#tell(new ApiError(SIGN_IN_REQUIRED, 401, "Sign in to ask questions."));
  }

  #showAccount(): void {
    if (!this.#capabilities?.sign_in) return;
    // Where the platform does not insist, whoever has no name has not signed in.
    const name = this.#who ?? (signInRequired() ? "Signed in" : undefined);
    this.#sidebar.account.replaceChildren(
      ...(name ? [h("span", { class: "account-name", dir: "auto", title: name }, name), signOutLink()] : [signInLink()]),
    );
  }

  #showCapabilities(): void {
    const capabilities = this.#capabilities;
    if (!capabilities) return;
    const lines: string[] = [];
    if (/stand-in/i.test(capabilities.model)) {
      lines.push("The model is the local stand-in, a small program: it knows dates, formulas, plots, CSV files and code in fences.");
    }
    if (!capabilities.code_interpreter) lines.push("There is no code interpreter: the model answers without running Python.");
    if (!capabilities.conversations) lines.push("Conversations are off: every question stands alone, and a reload forgets the answers.");
    this.#notices.replaceChildren(...lines.map((line) => h("p", { class: "notice-line" }, line)));
    this.#composer.allowFiles(capabilities.conversations);
    this.#composer.sees = capabilities.vision;
  }

  #tell(error: ApiError): void {
    const signInNow = error.code === SIGN_IN_REQUIRED;
    this.#notices.replaceChildren(
      h(
        "div",
        { class: `notice ${signInNow ? "quiet" : "error"}`, role: "alert" },
        !signInNow && icon("failed"),
        h(
          "div",
          {},
          h("p", {}, error.message),
          !signInNow && h("p", { class: "error-code" }, error.code, error.operationId ? ` · operation_id ${error.operationId}` : ""),
        ),
        signInNow
          ? signInLink()
          : h("button", { type: "button", class: "button", onclick: () => location.reload() }, icon("retry"), "Try again"),
      ),
    );
  }

  // Conversations

  async #loadList(): Promise<void> {
    if (!this.#capabilities?.conversations) return;
    if (this.#capabilities.sign_in) {
      try {
        const page = await this.#api.conversations();
        this.#entries = page.conversations;
        this.#cursor = page.next_cursor;
      } catch (error) {
        this.#sidebar.tell(`Your conversations cannot be listed now: ${(error as Error).message}`);
      }
    }
    this.#showList();
  }

  async #loadMore(): Promise<void> {
    if (!this.#cursor) return;
    const page = await this.#api.conversations(this.#cursor);
    this.#entries = [...this.#entries, ...page.conversations];
    this.#cursor = page.next_cursor;
    this.#showList();
  }

  #showList(): void {
    const entries = this.#isListed ? this.#entries : storage.startedHere();
    this.#sidebar.show(entries, this.#conversation, this.#cursor !== null);
    const entry = entries.find((known) => known.id === this.#conversation);
    const name = this.#conversation && (storage.nameOf(this.#conversation) ?? entry?.title);
    this.#title.textContent = name || "New conversation";
    document.title = name ? `${name} · ${TITLE}` : TITLE;
  }

  #rename(id: string, name: string): void {
    storage.rename(id, name);
    this.#showList();
  }

  async #remove(entry: ConversationEntry): Promise<void> {
    const name = storage.nameOf(entry.id) ?? entry.title;
    if (!(await confirmed(`Delete “${name}” with its history and files?`, "Delete"))) return;
    try {
      if (entry.id === this.#conversation) this.#run?.abort();
      await this.#deleteWhenFree(entry.id);
    } catch (error) {
      if ((error as ApiError).status !== 404) {
        await confirmed((error as Error).message, "OK");
        return;
      }
    }
    storage.forget(entry.id);
    this.#entries = this.#entries.filter((known) => known.id !== entry.id);
    if (entry.id === this.#conversation) this.#startNew();
    else this.#showList();
    announce("Deleted");
  }

  /** A turn that was stopped a moment ago may still hold the conversation. */
  async #deleteWhenFree(id: string): Promise<void> {
    for (let tries = 0; ; tries += 1) {
      try {
        await this.#api.deleteConversation(id);
        return;
      } catch (error) {
        if ((error as ApiError).status !== 409 || tries >= 5) throw error;
        await new Promise((resolve) => setTimeout(resolve, 300));
      }
    }
  }

  #startNew(): void {
    this.#leave();
    this.#conversation = undefined;
    history.pushState(null, "", location.pathname);
    this.#showWelcome();
    this.#showList();
    void this.#showFiles();
    this.#composer.focus();
  }

  /** Ends what belongs to the conversation that was shown. */
  #leave(): void {
    this.#shown += 1;
    this.#run?.abort();
    this.#run = undefined;
    this.#composer.running = false;
    this.#composer.clearAttachments();
    this.#creating = undefined;
  }

  #setConversation(id: string): void {
    this.#conversation = id;
    if (location.hash.slice(1) !== id) history.replaceState(null, "", `#${id}`);
  }

  #open(id: string): Promise<void> {
    this.#opening = this.#load(id);
    return this.#opening;
  }

  async #load(id: string): Promise<void> {
    this.#leave();
    const shown = this.#shown;
    if (location.hash.slice(1) !== id) history.pushState(null, "", `#${id}`);
    this.#conversation = id;
    this.#showList();
    this.#thread.replaceChildren(h("p", { class: "note loading-note" }, "Loading the conversation…"));
    try {
      const conversation = await this.#api.conversation(id);
      if (shown !== this.#shown) return;
      const turns = conversation.turns.map((turn) => fromHistory(turn, id));
      this.#addUnfinished(id, turns, conversation.turns.at(-1)?.asked_at);
      if (!this.#isListed && !storage.startedHere().some((entry) => entry.id === id) && turns[0]) {
        storage.remember(id, turns[0].question);
      }
      this.#showList();
      await this.#showTurns(turns, conversation.earlier_turns, shown);
    } catch (error) {
      if (shown !== this.#shown) return;
      this.#thread.replaceChildren(
        h("div", { class: "notice error", role: "alert" }, icon("failed"), h("p", {}, (error as Error).message)),
      );
      if ((error as ApiError).status === 404) {
        storage.forget(id);
        this.#conversation = undefined;
        this.#showList();
      }
    }
    await this.#showFiles();
  }

  /** The question that ran when the page was last seen, if the history does not have its answer. */
  #addUnfinished(id: string, turns: Turn[], newest: string | undefined): void {
    const running = storage.runningQuestion();
    if (running?.id !== id) return;
    storage.setRunning(undefined);
    const last = turns.at(-1);
    const kept =
      last?.question === running.question && Date.parse(newest ?? "") >= Date.parse(running.askedAt) - CLOCK_SKEW_MS;
    if (!kept) turns.push({ ...newTurn(running.question), state: "unfinished" });
  }

  /** Puts a long conversation together in slices, the end of it first, so that nothing ever waits. */
  async #showTurns(turns: Turn[], earlier: number, shown: number): Promise<void> {
    this.#following = true;
    if (!turns.length) {
      this.#showWelcome();
      return;
    }
    await breather();
    if (shown !== this.#shown) return;
    const before = earlier ? [h("p", { class: "note" }, `${count(earlier)} earlier turns are not shown.`)] : [];
    this.#thread.replaceChildren(...before);
    let next: Element | null = null;
    let slice = performance.now();
    for (const turn of turns.toReversed()) {
      if (performance.now() - slice > SLICE_MS) {
        await breather();
        if (shown !== this.#shown) return;
        slice = performance.now();
      }
      const view = new TurnView(this.#api, turn, this.#turnActions);
      view.update();
      // The browser keeps what is on the screen in its place (scroll anchoring).
      this.#thread.insertBefore(view.element, next);
      next = view.element;
    }
  }

  // Questions

  readonly #turnActions = {
    retry: (turn: Turn): void => {
      if (this.#run) return;
      this.#dropTurn(turn);
      void this.#ask(turn.question, turn.images.map((file) => file.name));
    },
    edit: (turn: Turn): void => {
      if (this.#run) return;
      // What failed is not part of the conversation, so the new question takes its place.
      if (turn.state !== "done") this.#dropTurn(turn);
      this.#composer.text = turn.question;
      this.#composer.attachAgain(turn.images.map((file) => file.name));
      this.#composer.focus();
    },
  };

  #dropTurn(turn: Turn): void {
    this.#views.get(turn)?.element.remove();
    this.#views.delete(turn);
    for (const element of this.#thread.querySelectorAll<HTMLElement>(".turn[data-state=unfinished]")) element.remove();
  }

  readonly #views = new Map<Turn, TurnView>();

  async #ask(question: string, images: string[] = []): Promise<void> {
    if (this.#run) return;
    const run = new AbortController();
    this.#run = run;
    this.#composer.running = true;
    // Its history must not take the place of a question that was faster.
    await this.#opening;
    if (run.signal.aborted) {
      this.#composer.text ||= question;
      if (this.#run !== run) return;
      this.#run = undefined;
      this.#composer.running = false;
      return;
    }
    const shown = this.#shown;
    const turn = newTurn(question, this.#conversation ? pictures(this.#conversation, images) : []);
    const view = new TurnView(this.#api, turn, this.#turnActions);
    this.#views.set(turn, view);
    if (!this.#thread.querySelector(".turn")) this.#thread.replaceChildren();
    this.#thread.append(view.element);
    view.update();
    this.#following = true;
    this.#toEnd();
    announce("The question was sent");
    try {
      const { conversations: keeps } = this.#capabilities ?? (await this.#learn());
      const id = keeps ? (this.#conversation ?? (await this.#creating) ?? "new") : undefined;
      if (id && id !== "new") this.#touch(id, question);
      run.signal.throwIfAborted();
      for await (const event of this.#api.ask(question, images, id, run.signal)) {
        applyEvent(turn, event);
        view.invalidate();
        if (shown === this.#shown) this.#hear(turn, event as { type?: string });
      }
      if (turn.state === "running") {
        turn.state = "failed";
        turn.error = { code: "StreamEnded", detail: "The connection ended before the answer was complete." };
      }
    } catch (error) {
      this.#fail(turn, error as Error, run.signal.aborted);
    }
    storage.setRunning(undefined);
    view.invalidate();
    if (shown !== this.#shown) return;
    this.#run = undefined;
    this.#composer.running = false;
    announceEnd(turn);
    this.#composer.focus();
    await this.#showFiles();
  }

  #hear(turn: Turn, event: { type?: string }): void {
    if (event.type === "TOOL_CALL_START") announce("Python is running");
    if (event.type === "TOOL_CALL_RESULT") announce("Python has run");
    const id = turn.conversationId;
    if (event.type === "RUN_STARTED" && id && this.#capabilities?.conversations) {
      // It is on the list from now on, whatever becomes of its first answer.
      this.#setConversation(id);
      this.#touch(id, turn.question);
      storage.setRunning({ id, question: turn.question, askedAt: new Date().toISOString() });
    }
  }

  #fail(turn: Turn, error: Error, stopped: boolean): void {
    if (stopped) turn.state = "stopped";
    else {
      const { code = "Error", operationId } = error as Partial<ApiError>;
      turn.state = "failed";
      const broken = !(error instanceof ApiError);
      turn.error = {
        code: broken ? "ConnectionLost" : code,
        detail: broken ? "The connection was lost before the answer was complete." : error.message,
        ...(operationId ? { operationId } : {}),
      };
      if (code === SIGN_IN_REQUIRED) storage.setDraft({ question: turn.question, of: this.#who });
    }
  }

  #conversationForFiles(): Promise<string> {
    if (this.#conversation) return Promise.resolve(this.#conversation);
    const shown = this.#shown;
    this.#creating ??= this.#api.newConversation().then(
      ({ id }) => {
        if (shown === this.#shown) this.#setConversation(id);
        return id;
      },
      (error: unknown) => {
        this.#creating = undefined;
        throw error;
      },
    );
    return this.#creating;
  }

  /** The app lists them where it knows whose they are; elsewhere this browser remembers its own. */
  get #isListed(): boolean {
    return this.#capabilities?.sign_in ?? signInRequired();
  }

  #touch(id: string, question: string): void {
    if (this.#isListed) {
      const known = this.#entries.find((entry) => entry.id === id);
      const entry = known ?? { id, title: titleOf(question), updated_at: "" };
      this.#entries = [entry, ...this.#entries.filter((other) => other.id !== id)];
    } else storage.remember(id, question);
    this.#showList();
  }

  // Files

  #toggleFiles(open = this.#filesPanel.hidden): void {
    this.#filesPanel.hidden = !open;
    this.#filesButton.setAttribute("aria-expanded", String(open));
    if (open) this.#filesPanel.querySelector("button")?.focus();
    else this.#filesButton.focus();
  }

  async #showFiles(): Promise<void> {
    const id = this.#conversation;
    const shown = this.#shown;
    const files = id && this.#capabilities?.conversations ? await this.#api.files(id).catch(() => []) : [];
    if (shown !== this.#shown || id !== this.#conversation) return;
    this.#filesButton.hidden = !files.length;
    if (!files.length) this.#filesPanel.hidden = true;
    this.#filesButton.replaceChildren(icon("files"), `Files (${files.length})`);
    this.#fileList.replaceChildren(
      ...files.map((file) => h("li", {}, fileRow(this.#api, file, () => void this.#deleteFile(file)))),
    );
  }

  async #deleteFile(file: FileEntry): Promise<void> {
    if (!(await confirmed(`Delete ${file.name}?`, "Delete"))) return;
    try {
      await this.#api.deleteFile(file);
    } catch (error) {
      if ((error as ApiError).status !== 404) {
        await confirmed((error as Error).message, "OK");
        return;
      }
    }
    forgetPicture(file.url);
    announce(`${file.name} was deleted`);
    await this.#showFiles();
  }

  async #takeBack(name: string): Promise<void> {
    const url = `/api/conversations/${this.#conversation}/files/${name.split("/").map(encodeURIComponent).join("/")}`;
    await this.#api.deleteFile({ name, url, media_type: "", size_bytes: 0 }).catch(() => undefined);
    await this.#showFiles();
  }

  // What is on the screen

  #toEnd(): void {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #showWelcome(): void {
    this.#thread.replaceChildren(
      h(
        "section",
        { class: "welcome" },
        h("div", { class: "welcome-mark" }, icon("prompt")),
        h("h2", { dir: "auto" }, GREETING),
        h("p", {}, "The agent answers by writing Python and running it in an isolated session. You see the code, what it printed, its plots and its files."),
        h(
          "ul",
          { class: "examples" },
          ...EXAMPLES.map(({ question, label, shown }) =>
            h(
              "li",
              {},
              h(
                "button",
                { type: "button", class: "example", dir: "auto", onclick: () => void this.#ask(question) },
                label && h("strong", {}, label),
                h("span", {}, shown ?? question),
              ),
            ),
          ),
        ),
      ),
    );
  }
}
