"""The page at `/docs`, which loads no script or style from elsewhere, so that it works without internet access."""

from __future__ import annotations

import base64
import hashlib
import html
import json

from mlrf.core.bundle import Bundle
from mlrf.core.feature import Feature
from mlrf.core.manifest import FOREST
from mlrf.serving import route_paths as paths
from mlrf.serving.http.router import HTML, Framed
from mlrf.serving.pages.page_facts import PageFacts
from mlrf.serving.route_spec import ADMIN, RouteSpec
from mlrf.serving.routes import DOCS_MODELS, ROUTES

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
pre,textarea{font:13px/1.45 ui-monospace,monospace;background:#f4f4f2;border:1px solid #ddd;border-radius:4px;padding:.75rem;
overflow:auto;width:100%;box-sizing:border-box;color:inherit}
table{border-collapse:collapse;width:100%;font-size:14px}td,th{border-bottom:1px solid #ddd;padding:.3rem .6rem;text-align:left}
button{font:inherit;padding:.35rem 1rem;margin:.5rem 0}code{font:13px ui-monospace,monospace}summary{cursor:pointer}
@media(prefers-color-scheme:dark){body{background:#161616;color:#e6e6e6}pre,textarea{background:#222;border-color:#444}
td,th{border-color:#444}}
"""
_SCRIPT = """
let key = '';
const authorized = () => key ? {'Authorization': 'Bearer ' + key} : {};
const ask = async form => {
  const answer = await fetch(form.dataset.path + (form.submitted || ''), {method: 'POST',
    headers: {'Content-Type': 'application/json', ...authorized()},
    body: form.querySelector('textarea').value});
  return answer.status + ' ' + answer.statusText + '\\n' + JSON.stringify(await answer.json(), null, 2);
};
const unlock = async form => {
  key = form.querySelector('input').value.trim();
  const answer = await fetch(form.dataset.models, {headers: authorized()});
  if (!answer.ok) return answer.status + ' ' + (await answer.json()).error;
  document.querySelector('main').innerHTML = await answer.text();
  return '';
};
document.addEventListener('submit', async event => {
  event.preventDefault();
  const form = event.target, out = form.querySelector('pre');
  form.submitted = event.submitter && event.submitter.value;
  try { out.textContent = await (form.dataset.models ? unlock(form) : ask(form)); }
  catch (error) { out.textContent = String(error); }
});
"""
"""Keeps the API key in the page's memory: it is never stored, and never part of an address."""


def _source(text: str) -> bytes:
    """Return the source of a Content-Security-Policy that allows an inline element of this text and no other."""
    return b"'sha256-%b'" % base64.b64encode(hashlib.sha256(text.encode()).digest())


HEADERS = (
    b"Content-Security-Policy: default-src 'none'; script-src %b; style-src %b; connect-src 'self'; img-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
    b"X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\nReferrer-Policy: no-referrer\r\n"
    % (_source(_SCRIPT), _source(_STYLE))
)
"""The header lines of the page. Names in a bundle are untrusted text, so no script but that of this module may run."""
_KEY_FORM = (
    f'<form data-models="{DOCS_MODELS}"><p><label>API key <input type="password" autocomplete="off" required></label> '
    "<button>Show the models</button></p><p>The key stays in the page until you leave, and is sent with each request.</p>"
    "<pre></pre></form>"
)


def response(facts: PageFacts) -> bytes:
    """Return the response of the page."""
    of = (facts.bundles, facts.default, facts.version, facts.max_batch)
    return Framed(page(*of, needs_key_form=facts.has_keys), HTML, HEADERS)


def page(bundles: list[Bundle], default: str, version: str, max_batch: int, *, needs_key_form: bool = False) -> bytes:
    """Return the page: the routes, and the part about the models.

    With `needs_key_form` the page needs no key itself and names no model: it fetches that part with the key that the reader
    enters.
    """
    rows = "".join(_route(spec, max_batch) for spec in ROUTES if spec.handler is not None)
    models = "" if needs_key_form else models_part(bundles, default).decode()
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>mlrf</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head><body>'
        f"<h1>mlrf {html.escape(version)}</h1><table>{rows}</table>"
        f"{_KEY_FORM if needs_key_form else ''}<main>{models}</main><script>{_SCRIPT}</script></body></html>"
    ).encode()


def models_part(bundles: list[Bundle], default: str) -> bytes:
    """Return the part of the page about the models: for each a form with an example request, and its features."""
    return "".join(_model(bundle, is_default=bundle.name == default) for bundle in bundles).encode()


def _route(spec: RouteSpec, max_batch: int) -> str:
    shown = ", ".join(f"<code>{html.escape(path)}</code>" for path in spec.templates)
    limit = f", {max_batch} at most" if spec.path == paths.PREDICT_BATCH else ""
    scope = f"; needs a key with the scope {spec.scope}" if spec.scope == ADMIN else ""
    text = html.escape(spec.summary + limit + scope)
    return f"<tr><td>{spec.method}</td><td>{shown}</td><td>{text}</td></tr>"


def _model(bundle: Bundle, *, is_default: bool) -> str:
    path = paths.fill(paths.MODEL, name=bundle.name)
    buttons = "".join(
        f'<button value="{route}">POST {path}{route}</button> '
        for route in ((paths.PREDICT, paths.EXPLAIN) if FOREST in bundle.manifest.files else (paths.PREDICT,))
    )
    example = json.dumps({"features": bundle.schema.example()}, indent=1, ensure_ascii=False)
    features = "".join(_feature(index, f) for index, f in enumerate(bundle.schema.features))
    key = (
        ""
        if bundle.manifest.rows is None
        else ", ".join(f"{each.name} ({each.type})" for each in bundle.manifest.rows.key)
    )
    stored = f"<p>By key: <code>{html.escape(key)}</code>.</p>" if key else ""
    note = " (the default)" if is_default else ""
    return (
        f"<h2>{html.escape(bundle.name)}{note}</h2>"
        f"<p>{bundle.manifest.task}, {html.escape(bundle.manifest.objective)}: {html.escape(bundle.manifest.parts)}, "
        f"{len(bundle.schema.features)} features. Version <code>{bundle.short_version}</code>.</p>"
        f"{stored}"
        f'<form data-path="{path}"><textarea rows="12" spellcheck="false">{html.escape(example)}</textarea>'
        f"{buttons}<pre></pre></form>"
        f"<details><summary>Features</summary><table><tr><th>#</th><th>name</th><th>kind</th><th>values</th></tr>"
        f"{features}</table></details>"
    )


def _feature(index: int, feature: Feature) -> str:
    values = ""
    if feature.categories is not None:
        values = ", ".join(json.dumps(c, ensure_ascii=False) for c in feature.categories[:20])
        values += f" … ({len(feature.categories)})" if len(feature.categories) > 20 else ""  # noqa: PLR2004
    null = "or null" if feature.nullable else ""
    shown = html.escape(f"{values} {null}".strip())
    return f"<tr><td>{index}</td><td><code>{html.escape(feature.name)}</code></td><td>{feature.kind}</td><td>{shown}</td></tr>"
