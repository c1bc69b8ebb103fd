type Child = Node | string | null | undefined | false;
type Props = Record<string, string | boolean | number | ((event: never) => void) | undefined>;

/** An element with attributes, listeners (`onclick`) and children; text is always text. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === "function") {
      element.addEventListener(name.slice(2), value as unknown as EventListener);
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if (value !== undefined && value !== false) {
      element.setAttribute(name, String(value));
    }
  }
  element.append(...children.filter((child): child is Node | string => Boolean(child)));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

// Strokes on a grid of 24.
const ICONS = {
  attach: "M20 11.5 12.3 19a5 5 0 0 1-7-7l8-8a3.3 3.3 0 0 1 4.7 4.7l-8 8a1.7 1.7 0 0 1-2.4-2.4L15 7",
  check: "m5 12.5 4.5 4.5L19 7.5",
  close: "M6 6l12 12M18 6 6 18",
  copy: "M9 9h10v11H9zM5 15V4h10",
  delete: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  download: "M12 4v11m-5-4.5 5 5 5-5M5 20h14",
  eye: "M2.5 12S6 6 12 6s9.5 6 9.5 6-3.5 6-9.5 6-9.5-6-9.5-6zM12 9.6a2.4 2.4 0 1 0 0 4.8 2.4 2.4 0 0 0 0-4.8z",
  eyeOff: "M4 4l16 16M9.5 6.3A9 9 0 0 1 12 6c6 0 9.5 6 9.5 6a17 17 0 0 1-3 3.6M6.2 7.8A16 16 0 0 0 2.5 12S6 18 12 18a9 9 0 0 0 4-1",
  edit: "M5 19h3L19 8l-3-3L5 16zM14 7l3 3",
  failed: "M12 7v6m0 3.5v.5M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z",
  file: "M7 3h7l4 4v14H7zM14 3v4h4",
  files: "M3 6h6l2 2h10v11H3z",
  menu: "M4 7h16M4 12h16M4 17h16",
  plus: "M12 5v14M5 12h14",
  prompt: "m5 8 4 4-4 4M12 17h7",
  retry: "M19 12a7 7 0 1 1-2-5l2 2m0-5v5h-5",
  send: "M12 19V5m-6 6 6-6 6 6",
  stop: "M7 7h10v10H7z",
  warning: "M12 4 2.5 20h19zM12 10v5m0 2.5v.3",
} as const;

export type Icon = keyof typeof ICONS;

export function icon(name: Icon): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", `icon icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A button that is only an icon; its label is its name and its tooltip. */
export function iconButton(name: Icon, label: string, onclick: () => void, className = ""): HTMLButtonElement {
  return h("button", { type: "button", class: `icon-button ${className}`, "aria-label": label, title: label, onclick }, icon(name));
}

/** Copies when clicked, and says so for two seconds. */
export function copyButton(label: string, text: () => string): HTMLButtonElement {
  const button = iconButton("copy", label, () => void copy());
  async function copy(): Promise<void> {
    const copied = await navigator.clipboard.writeText(text()).then(
      () => true,
      () => false,
    );
    button.replaceChildren(icon(copied ? "check" : "failed"));
    announce(copied ? "Copied" : "The browser does not let the page copy");
    setTimeout(() => button.replaceChildren(icon("copy")), 2000);
  }
  return button;
}

const status = h("div", { class: "hidden-text", role: "status" });

/** The live region; it must be in the page before it speaks. */
export const statusRegion = status;

/** Says something to people who use a screen reader. */
export function announce(text: string): void {
  status.textContent = text;
}

/** Asks a yes-or-no question in a modal dialog. */
export function confirmed(question: string, action: string): Promise<boolean> {
  return new Promise((resolve) => {
    const dialog = h("dialog", { class: "dialog", "aria-label": question });
    const close = (answer: boolean): void => {
      dialog.close(answer ? "yes" : "");
    };
    dialog.append(
      h("p", { dir: "auto" }, question),
      h(
        "div",
        { class: "dialog-buttons" },
        h("button", { type: "button", class: "button", onclick: () => close(false) }, "Cancel"),
        h("button", { type: "button", class: "button danger", onclick: () => close(true) }, action),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Lets the browser paint and take input between pieces of long work. */
export function breather(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}
