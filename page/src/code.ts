import DOMPurify from "dompurify";
import hljs from "highlight.js/lib/core";
import bash from "highlight.js/lib/languages/bash";
import json from "highlight.js/lib/languages/json";
import python from "highlight.js/lib/languages/python";
import { copyButton, h } from "./dom";

hljs.registerLanguage("bash", bash);
hljs.registerLanguage("json", json);
hljs.registerLanguage("python", python);
hljs.registerAliases(["py", "python3", "ipython"], { languageName: "python" });

// More takes longer than a frame to colour, and nobody reads it here.
const COLOURED_MAX_CHARS = 20_000;

/** Code with colours where the language is known, as an element. */
export function highlighted(code: string, language: string): HTMLElement {
  const element = h("code", { dir: "ltr" });
  if (code.length > COLOURED_MAX_CHARS || !hljs.getLanguage(language)) {
    element.textContent = code;
    return element;
  }
  const { value } = hljs.highlight(code, { language, ignoreIllegals: true });
  element.append(
    DOMPurify.sanitize(value, {
      ALLOWED_TAGS: ["span"],
      ALLOWED_ATTR: ["class"],
      ALLOW_DATA_ATTR: false,
      ALLOW_ARIA_ATTR: false,
      RETURN_DOM_FRAGMENT: true,
    }),
  );
  return element;
}

/** A block of code with its language and a copy button. */
export function codeBlock(code: string, language: string): HTMLElement {
  return h(
    "div",
    { class: "code" },
    h("div", { class: "code-bar" }, h("span", {}, language || "text"), copyButton("Copy code", () => code)),
    h("pre", { tabindex: 0, dir: "ltr" }, highlighted(code, language.toLowerCase())),
  );
}
