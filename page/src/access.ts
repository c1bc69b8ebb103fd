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

interface Principal {
  user_id?: string;
  user_claims?: { typ: string; val: string }[];
}

/**
 * App Service Authentication, as the page sees it: where it is on, /.auth/me tells who signed in.
 * https://learn.microsoft.com/azure/app-service/configure-authentication-user-identities
 */
export async function signIn(): Promise<{ on: boolean; name?: string }> {
  const response = await fetch("/.auth/me", { credentials: "same-origin", cache: "no-store" }).catch(() => undefined);
  if (!response || response.status === 404) return { on: false };
  if (!response.ok) return { on: true };
  const principals = (await response.json().catch(() => undefined)) as unknown;
  if (!Array.isArray(principals)) return { on: false };
  const who = principals[0] as Principal | undefined;
  if (!who) return { on: true };
  const name = who.user_claims?.find((claim) => claim.typ === "name")?.val;
  return { on: true, name: name ?? who.user_id ?? "somebody" };
}

export function signInUrl(): string {
  const back = encodeURIComponent(location.pathname + location.hash);
  return `/.auth/login/aad?post_login_redirect_uri=${back}`;
}

export const SIGN_OUT_URL = "/.auth/logout?post_logout_redirect_uri=%2Fapi%2Fui";
