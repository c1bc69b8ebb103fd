import type { Api } from "./api";
import { h } from "./dom";

/** Asks for the function key in a dialog; false if nobody gave one. */
export function askForKey(api: Api): Promise<boolean> {
  return new Promise((resolve) => {
    const input = h("input", { type: "password", id: "key", autocomplete: "off", spellcheck: "false", required: true });
    const keep = h("input", { type: "checkbox", id: "keep" });
    const form = h(
      "form",
      { method: "dialog" },
      h("h2", { id: "key-title" }, "Function key"),
      h(
        "p",
        { class: "note" },
        api.hasKey ? "The app does not know this key. " : "This app asks its callers for a key. ",
        "It is sent in a header and kept in the memory of this page alone.",
      ),
      h("label", { for: "key" }, "Key"),
      input,
      h("label", { class: "check", for: "keep" }, keep, "Keep for this tab, so that a reload does not ask again"),
      h(
        "div",
        { class: "dialog-buttons" },
        h("button", { type: "button", class: "button", onclick: () => dialog.close() }, "Cancel"),
        h("button", { type: "submit", class: "button primary", value: "given" }, "Use this key"),
      ),
    );
    const dialog = h("dialog", { class: "dialog", "aria-labelledby": "key-title" }, form);
    dialog.addEventListener("close", () => {
      dialog.remove();
      const given = dialog.returnValue === "given" && input.value.trim() !== "";
      if (given) api.setKey(input.value.trim(), keep.checked);
      input.value = "";
      resolve(given);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Whether the platform makes callers sign in (App Service Authentication): the app says so in the page. */
export function signInRequired(): boolean {
  return document.documentElement.hasAttribute("data-sign-in");
}

/*
 * Ways in and out: https://learn.microsoft.com/azure/app-service/configure-authentication-customize-sign-in-out
 * Who signed in is told by /api/capabilities; /.auth/me would need the platform's token store.
 */
export function signInLink(): HTMLAnchorElement {
  const link = h("a", { class: "button primary", href: "/.auth/login/aad" }, "Sign in");
  // Where the page is then, which is where the browser is led back to.
  link.addEventListener("click", () => {
    link.href = `/.auth/login/aad?post_login_redirect_uri=${encodeURIComponent(location.pathname + location.hash)}`;
  });
  return link;
}

export function signOutLink(): HTMLAnchorElement {
  return h("a", { href: "/.auth/logout?post_logout_redirect_uri=%2Fapi%2Fui", onclick: () => sessionStorage.clear() }, "Sign out");
}
