"""`/docs`: one page without a script or style from elsewhere, so that it works where there is no internet."""

from __future__ import annotations

import html
import json

from mlrf.core.bundle import FOREST, Bundle
from mlrf.core.schema import Feature

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
for (const form of document.querySelectorAll('form')) form.addEventListener('submit', async event => {
  event.preventDefault();
  const out = form.querySelector('pre');
  try {
    const answer = await fetch(form.dataset.path + event.submitter.value, {method: 'POST',
      headers: {'Content-Type': 'application/json'},
      body: form.querySelector('textarea').value});
    out.textContent = answer.status + ' ' + answer.statusText + '\\n' + JSON.stringify(await answer.json(), null, 2);
  } catch (error) { out.textContent = String(error); }
});
"""
_ROUTES = (
    (
        "POST",
        "/predict",
        'One instance, by name, in schema order, or by <code>"key"</code>; <code>"explain": true</code> or k for its reasons',
    ),
    ("POST", "/predict/batch", "Up to {max_batch} instances"),
    ("POST", "/explain", "One instance, always with the contribution of each feature to its margin"),
    (
        "POST",
        "/models/{{name}}/predict",
        "The same for a model by name, also <code>/predict/batch</code> and <code>/explain</code>",
    ),
    ("GET", "/v2", "The Open Inference Protocol: the server"),
    ("GET", "/v2/health/live", "The process lives"),
    ("GET", "/v2/health/ready", "The server answers correctly now"),
    ("GET", "/v2/models/stats", "What was counted of all models"),
    ("POST", "/v2/repository/index", "The models and their states"),
    ("POST", "/v2/repository/models/{{name}}/load", "Its current version into service; keys of the scope admin"),
    ("POST", "/v2/repository/models/{{name}}/unload", "Out of service until it is loaded; keys of the scope admin"),
    ("POST", "/v2/models/{{name}}/infer", "Tensors to tensors, in JSON or binary"),
    ("GET", "/v2/models/{{name}}", "Its inputs and outputs"),
    ("GET", "/v2/models/{{name}}/ready", "It answers"),
    ("GET", "/v2/models/{{name}}/config", "Its configuration in Triton's words"),
    ("GET", "/v2/models/{{name}}/stats", "What was counted of it"),
    ("GET", "/models", "The served models and their features"),
    ("GET", "/healthz", "The process lives"),
    ("GET", "/readyz", "The server answers correctly now"),
    ("GET", "/metrics", "Prometheus metrics"),
    ("GET", "/openapi.json", "The contract, for programs"),
)


def page(bundles: list[Bundle], default: str, version: str, max_batch: int) -> bytes:
    """Return the page: the routes, and for each model a form with an example request, and its features."""
    rows = "".join(
        f"<tr><td>{method}</td><td><code>{path.format()}</code></td><td>{text.format(max_batch=max_batch)}</td></tr>"
        for method, path, text in _ROUTES
    )
    models = "".join(_model(bundle, is_default=bundle.name == default) for bundle in bundles)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>mlrf</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head><body>'
        f"<h1>mlrf {html.escape(version)}</h1><table>{rows}</table>{models}<script>{_SCRIPT}</script></body></html>"
    ).encode()


def _model(bundle: Bundle, *, is_default: bool) -> str:
    path = f"/models/{bundle.name}"
    buttons = "".join(
        f'<button value="/{route}">POST {path}/{route}</button> '
        for route in (("predict", "explain") if FOREST in bundle.manifest.files else ("predict",))
    )
    example = json.dumps({"features": bundle.schema.example()}, indent=1, ensure_ascii=False)
    features = "".join(_feature(index, f) for index, f in enumerate(bundle.schema.features))
    key = (
        ""
        if bundle.manifest.rows is None
        else ", ".join(f"{each.name} ({each.type})" for each in bundle.manifest.rows.key)
    )
    stored = f"<p>Asked by key too: <code>{html.escape(key)}</code>.</p>" if key else ""
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
