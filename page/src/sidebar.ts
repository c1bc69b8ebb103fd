import { h, icon, iconButton } from "./dom";
import { TITLE } from "./own";
import { nameOf } from "./storage";
import type { ConversationEntry } from "./types";

export interface SidebarActions {
  open(id: string): void;
  start(): void;
  rename(id: string, name: string): void;
  remove(entry: ConversationEntry): void;
  more(): void;
}

/** The conversations; on a narrow screen it slides over the page. */
export class Sidebar {
  readonly element: HTMLElement;
  readonly account = h("div", { class: "account" });
  readonly toggle = iconButton("menu", "Conversations", () => this.open(this.element.dataset.open === undefined), "menu-button");
  readonly #list = h("ul", { class: "conversations" });
  readonly #new: HTMLButtonElement;

  constructor(private readonly actions: SidebarActions) {
    this.#new = h(
      "button",
      { type: "button", class: "button new-conversation", onclick: () => this.#do(() => actions.start()) },
      icon("plus"),
      "New conversation",
    );
    this.element = h(
      "nav",
      { class: "sidebar", "aria-label": "Conversations" },
      h(
        "div",
        { class: "brand" },
        icon("prompt"),
        h("span", { dir: "auto" }, TITLE),
        iconButton("close", "Close the list", () => this.open(false), "menu-button"),
      ),
      this.#new,
      this.#list,
      this.account,
    );
    this.element.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.element.dataset.open !== undefined) this.open(false);
    });
    this.toggle.setAttribute("aria-expanded", "false");
  }

  open(open: boolean): void {
    if (open) this.element.dataset.open = "";
    else delete this.element.dataset.open;
    this.toggle.setAttribute("aria-expanded", String(open));
    if (open) this.#new.focus();
    else if (this.element.contains(document.activeElement)) this.toggle.focus();
  }

  show(entries: ConversationEntry[], current: string | undefined, more: boolean): void {
    this.#list.replaceChildren(
      ...entries.map((entry) => this.#row(entry, entry.id === current)),
      ...(more ? [h("li", {}, h("button", { type: "button", class: "button quiet", onclick: () => this.actions.more() }, "Show more"))] : []),
    );
  }

  /** Says what is wrong with the list. */
  tell(text: string): void {
    this.#list.before(h("p", { class: "note", role: "alert" }, text));
  }

  #do(action: () => void): void {
    this.open(false);
    action();
  }

  #row(entry: ConversationEntry, current: boolean): HTMLElement {
    const name = nameOf(entry.id) ?? (entry.title || "Untitled");
    const link = h(
      "a",
      {
        href: `#${entry.id}`,
        class: "conversation",
        "aria-current": current ? "page" : undefined,
        title: name,
        dir: "auto",
        onclick: (event: MouseEvent) => {
          event.preventDefault();
          this.#do(() => this.actions.open(entry.id));
        },
      },
      name,
    );
    const row = h(
      "li",
      { class: "conversation-row" },
      link,
      iconButton("edit", `Rename ${name}`, () => this.#rename(row, entry.id, name)),
      iconButton("delete", `Delete ${name}`, () => this.actions.remove(entry)),
    );
    return row;
  }

  #rename(row: HTMLElement, id: string, name: string): void {
    const input = h("input", { class: "rename", "aria-label": "Name of the conversation", maxlength: 120, dir: "auto" });
    input.value = name;
    let open = true;
    const end = (keep: boolean): void => {
      if (!open) return;
      open = false;
      this.actions.rename(id, keep ? input.value.trim() : name);
    };
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.isComposing) end(true);
      if (event.key === "Escape") {
        event.stopPropagation();
        end(false);
      }
    });
    input.addEventListener("blur", () => end(true));
    row.replaceChildren(input);
    input.select();
  }
}
