"""The pages that a browser sees on its way in and out, in place of Microsoft Entra ID's."""

from collections.abc import Iterable
from html import escape
from typing import Final

from starlette.responses import HTMLResponse

from local.app_service_auth.principals import Principal

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{title}</title><style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 26rem; margin: 12vh auto;
  padding: 0 1rem }}
button {{ display: block; width: 100%; margin: .6rem 0; padding: .7rem 1rem; font: inherit;
  text-align: start; border: 1px solid #8888; border-radius: .5rem; cursor: pointer }}
small {{ display: block; opacity: .75 }}
</style></head><body><main><h1>{title}</h1>{body}</main></body></html>
"""


def choice_of(people: Iterable[Principal], action: str, target: str) -> HTMLResponse:
    """A form that asks who the caller is; it sends `user` and `post_login_redirect_uri`."""
    buttons = "".join(
        f'<button name="user" value="{escape(str(person.user_name))}">{escape(person.name)}'
        f"<small>{escape(str(person.user_name))}</small></button>"
        for person in people
    )
    body = (
        "<p>The local App Service Authentication asks for no password: it is as if Microsoft Entra "
        "ID vouched for whom you choose.</p>"
        f'<form method="post" action="{escape(action)}">'
        f'<input type="hidden" name="post_login_redirect_uri" value="{escape(target)}">{buttons}'
        "</form>"
    )
    return _page("Sign in as", body)


def message(title: str, text: str, status: int = 200) -> HTMLResponse:
    """A page that says one thing, and leads back."""
    return _page(
        title, f'<p>{escape(text)}</p><p><a href="/">Return to the website</a></p>', status
    )


def _page(title: str, body: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(_PAGE.format(title=escape(title), body=body), status, _HEADERS)
