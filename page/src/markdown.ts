import DOMPurify from "dompurify";
import { Marked, type Token, type Tokens } from "marked";
import { codeBlock } from "./code";
import { h } from "./dom";
import { isOwnFile, ownFileName } from "./format";

/*
 * Text of the model is hostile: a web page or a file that its code read may have dictated it. Three
 * walls, each of which is enough alone: raw HTML is shown as text but for a few tags; DOMPurify keeps
 * the elements and attributes below and nothing else; the page's Content-Security-Policy runs no
 * script but the app's, and DOM sinks take no text but DOMPurify's (Trusted Types).
 */

const TAGS = [
  ..."a b blockquote br code del details em h1 h2 h3 h4 h5 h6 hr i kbd li mark ol p pre s strong sub summary sup".split(" "),
  ..."table tbody td th thead tr u ul".split(" "),
];
const ATTRIBUTES = ["align", "class", "href", "start", "title", "data-name"];
const HARMLESS_HTML = /^<\/?(?:b|br|details|i|kbd|mark|s|sub|summary|sup|u)\s*\/?>$/i;

const escape = (text: string): string =>
  text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

const marked = new Marked({
  gfm: true,
  renderer: {
    html: ({ text }) =>
      text.replace(/<[^>]*>?|[^<]+/g, (piece) => (HARMLESS_HTML.test(piece) ? piece : escape(piece))),
    // An image is a file of this turn or nothing: an address would tell another server what was read.
    image: ({ href, text }) => `<a data-name="${escape(fileOf(href))}" title="${escape(href)}">${escape(text || href)}</a>`,
    link({ href, title, tokens }) {
      const text = this.parser.parseInline(tokens);
      return `<a href="${escape(href)}" data-name="${escape(fileOf(href))}" title="${escape(title ?? href)}">${text}</a>`;
    },
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
    code: ({ text, lang }) => `<pre><code class="language-${escape(lang ?? "")}">${escape(text)}</code></pre>`,
  },
});

/** What the model calls a file: its address in this app, `plot.png`, `/mnt/data/plot.png`; empty if it means none. */
function fileOf(href: string): string {
  if (isOwnFile(href)) return href;
  const path = href.replace(/^sandbox:/, "").replace(/^(?:\/?mnt\/data\/|\.\/)/, "");
  return /^[a-z][a-z0-9+.-]*:|^\/|^#/i.test(path) ? "" : decoded(path);
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/** Makes the element that stands for a file, or nothing where there is none; the model gave its address or not. */
export type FileLink = (name: string, label: string, image: boolean, address?: string) => HTMLElement | undefined;

/** Markdown as elements that are safe to insert. */
export function render(text: string, file: FileLink): DocumentFragment {
  return dress(marked.parse(text, { async: false }), file);
}

function dress(html: string, file: FileLink): DocumentFragment {
  const fragment = DOMPurify.sanitize(html, {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ATTRIBUTES,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    ALLOWED_URI_REGEXP: /^(?:https?:\/\/|mailto:)/i,
    // Values of all other attributes must look like an allowed address.
    ADD_URI_SAFE_ATTR: ["align", "data-name", "start"],
    RETURN_DOM_FRAGMENT: true,
  });
  for (const link of fragment.querySelectorAll("a")) dressLink(link, file);
  for (const code of fragment.querySelectorAll("pre > code")) {
    const language = /language-([\w+#.-]+)/.exec(code.className)?.[1] ?? "";
    code.parentElement?.replaceWith(codeBlock(code.textContent ?? "", language));
  }
  for (const table of fragment.querySelectorAll("table")) {
    const frame = h("div", { class: "table-frame", tabindex: 0, role: "group", "aria-label": "Table" });
    table.replaceWith(frame);
    frame.append(table);
  }
  for (const block of fragment.querySelectorAll("p, li, h1, h2, h3, h4, h5, h6, td, th, blockquote, summary")) {
    block.setAttribute("dir", "auto");
    // The page has its own headings above these.
    if (/^H[1-6]$/.test(block.tagName)) {
      block.setAttribute("role", "heading");
      block.setAttribute("aria-level", String(Math.min(Number(block.tagName[1]) + 2, 6)));
    }
  }
  for (const element of fragment.querySelectorAll("[class]:not(.code, .code *, .table-frame)")) element.removeAttribute("class");
  return fragment;
}

function dressLink(link: HTMLAnchorElement, file: FileLink): void {
  const href = link.getAttribute("href") ?? "";
  const given = link.dataset.name ?? "";
  const own = ownFileName(given);
  const [name, address] = own ? [own, given] : [given];
  const image = !link.hasAttribute("href") && name !== "";
  link.removeAttribute("data-name");
  const found = name && file(name, link.textContent ?? name, image, address);
  if (found) {
    link.replaceWith(found);
    return;
  }
  // A link to this app itself could make it act for whoever clicks: /.auth/logout, /api/chat?input=…
  if (href && isElsewhere(href)) {
    link.target = "_blank";
    link.rel = "noopener noreferrer";
  } else {
    link.removeAttribute("href");
  }
}

function isElsewhere(href: string): boolean {
  try {
    const url = new URL(href);
    return url.protocol === "mailto:" || url.host !== location.host;
  } catch {
    return false;
  }
}

/** Tables of HTML that code showed, cell by cell as text; nothing where it has none. */
export function tablesOf(html: string): HTMLElement[] {
  const fragment = DOMPurify.sanitize(html, {
    ALLOWED_TAGS: ["table", "thead", "tbody", "tfoot", "tr", "th", "td", "caption"],
    ALLOWED_ATTR: ["colspan", "rowspan"],
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    FORBID_CONTENTS: ["style", "script", "title", "svg", "math", "iframe", "noscript", "template"],
    RETURN_DOM_FRAGMENT: true,
  });
  return [...fragment.querySelectorAll("table")].map((table) => {
    for (const cell of table.querySelectorAll("td, th, caption")) cell.setAttribute("dir", "auto");
    for (const corner of table.querySelectorAll("th:empty")) corner.replaceWith(h("td"));
    return h("div", { class: "table-frame", tabindex: 0, role: "group", "aria-label": "Table" }, table);
  });
}

/** HTML that code showed in a frame without scripts, styles, forms, navigation or an origin. */
export function htmlFrame(html: string, label: string): HTMLIFrameElement {
  const frame = h("iframe", { class: "html-frame", sandbox: "", title: label, referrerpolicy: "no-referrer", loading: "lazy" });
  const root = DOMPurify.sanitize(html, {
    WHOLE_DOCUMENT: true,
    RETURN_DOM: true,
    FORBID_TAGS: ["base", "embed", "form", "iframe", "link", "meta", "object", "style"],
    FORBID_ATTR: ["action", "href", "ping", "srcset", "style", "target", "xlink:href"],
  }) as HTMLElement;
  // An address of this app in it could make the app act: only pictures that are part of it are shown.
  for (const element of root.querySelectorAll("[src], [poster], [background]")) {
    for (const name of ["src", "poster", "background"]) {
      if (!/^data:image\/(?:png|jpeg|gif|webp)[;,]/i.test(element.getAttribute(name) ?? "")) element.removeAttribute(name);
    }
  }
  const safe = DOMPurify.sanitize(root, { WHOLE_DOCUMENT: true, RETURN_TRUSTED_TYPE: true });
  frame.srcdoc = safe as unknown as string;
  return frame;
}

/**
 * Shows Markdown while it grows. Blocks that are complete stay as they are; only the last ones are
 * read and made again, so that a long answer costs what is new and not all of it for every word.
 */
export class GrowingMarkdown {
  readonly element = h("div", { class: "prose" });
  #shown = "";
  #settled = 0;
  #settledNodes = 0;

  constructor(private readonly file: FileLink) {}

  update(text: string, complete: boolean): void {
    if (complete || !text.startsWith(this.#shown.slice(0, this.#settled))) {
      // Only now is it known what every reference ([text][1]) leads to.
      this.element.replaceChildren(render(text, this.file));
      this.#settled = this.#settledNodes = 0;
      this.#shown = text;
      return;
    }
    this.#shown = text;
    const tokens = marked.lexer(text.slice(this.#settled));
    while (this.element.childNodes.length > this.#settledNodes) this.element.lastChild?.remove();
    const open = lastBlock(tokens);
    const done = tokens.slice(0, open);
    // A list or a table may still grow, so a block is complete once another one has begun after it.
    if (done.length) {
      this.element.append(dress(marked.parser(done as Token[]), this.file));
      this.#settled += done.reduce((length, token) => length + token.raw.length, 0);
      this.#settledNodes = this.element.childNodes.length;
    }
    this.element.append(dress(marked.parser(tokens.slice(open)), this.file));
  }
}

function lastBlock(tokens: Tokens.Generic[]): number {
  let index = tokens.length - 1;
  while (index > 0 && tokens[index]?.type === "space") index -= 1;
  return Math.max(index, 0);
}
