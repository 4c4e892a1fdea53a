"""Style sheet and script of the HTML page. Both are constant: nothing of a pool is in them, and the page lets
no other run (html.py)."""

from . import model
from .look import DARK, LIGHT, LOOKS, Palette

_PATTERNS = {
    "assigned": "repeating-linear-gradient(135deg, {0} 0 2px, transparent 2px 5px)",
    "dom0": "radial-gradient({0} 1.2px, transparent 1.6px) 0 0 / 5px 5px",
    "reserved": "repeating-linear-gradient(90deg, {0} 0 2px, transparent 2px 4px)",
}

_STYLE = """
*{box-sizing:border-box}
html{color-scheme:light dark;background:var(--page);color:var(--text);font:15px/1.45 system-ui,"Segoe UI",
Roboto,"Helvetica Neue","DejaVu Sans",sans-serif;-webkit-text-size-adjust:100%}
body{margin:0 auto;padding:1.5rem;max-width:110rem}
h1,h2,h3,h4,p,ul{margin:0;padding:0;font-weight:inherit;font-size:inherit}
h1{font-size:1.6rem;font-weight:650;letter-spacing:-.01em}
bdi,p{overflow-wrap:anywhere}
.dim,.tag{color:var(--dim)}
header{margin-bottom:1.25rem}
.bar{position:sticky;top:0;z-index:1;display:flex;flex-wrap:wrap;gap:.6rem 1.5rem;align-items:center;
margin:0 -1.5rem 1.25rem;padding:.6rem 1.5rem;background:var(--page);border-bottom:1px solid var(--line)}
.legend{display:flex;flex-wrap:wrap;gap:.3rem 1.1rem;list-style:none}
.legend li{display:flex;align-items:center;gap:.4rem;white-space:nowrap}
.legend b{font-weight:650;font-variant-numeric:tabular-nums}
.find{display:flex;align-items:center;gap:.6rem;flex:1 1 20rem;justify-content:flex-end}
.find input{flex:0 1 19rem;min-width:0;font:inherit;padding:.35rem .7rem;border:1px solid var(--dim);
border-radius:.4rem;background:var(--card);color:inherit}
:focus-visible{outline:2px solid var(--accent);outline-offset:1px}
.find output{min-width:8.5rem;color:var(--dim);font-variant-numeric:tabular-nums}
.hosts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,37rem),1fr));gap:1rem;
align-items:start}
.host{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:1rem 1.15rem;
min-width:0}
.head{display:flex;flex-wrap:wrap;align-items:baseline;gap:.2rem .7rem}
.head p{margin-left:auto}
h2{font-size:1.12rem;font-weight:650}
.tag{border:1px solid var(--line);border-radius:1rem;padding:0 .55rem;font-size:.8rem}
h3,summary{margin-top:.9rem;font-size:.87rem;font-weight:600;color:var(--dim)}
summary{cursor:pointer;width:max-content;max-width:100%}
summary span{font-weight:400}
.head+p{margin-top:.4rem}
.port{margin-top:.7rem}
.port h4{display:inline;font-weight:650;margin-right:.5rem}
.port p{display:inline;font-size:.87rem;color:var(--dim)}
.vfs{display:flex;flex-wrap:wrap;gap:3px 7px;margin-top:.35rem}
.vfs span{display:flex;gap:1px}
.vfs span::before{content:attr(data-i);width:1.65em;margin-right:4px;text-align:right;font-size:10px;
line-height:16px;color:var(--dim);font-variant-numeric:tabular-nums}
i{display:inline-block;width:16px;height:16px;border:1px solid;border-radius:3px;
font:700 10px/14px ui-monospace,
"DejaVu Sans Mono",monospace;text-align:center;print-color-adjust:exact;-webkit-print-color-adjust:exact}
i[data-v]{cursor:pointer}
.unknown{border-style:dashed}
i.against{position:relative;box-shadow:0 0 0 1px var(--card),0 0 0 3px var(--alarm)}
.vms{list-style:none;margin-top:.2rem;columns:16rem auto;column-gap:1.75rem;font-size:.87rem}
.vms li{display:flex;gap:.5rem;align-items:baseline;break-inside:avoid;padding:.1rem 0}
.vms li>:last-child{flex:0 0 auto;max-width:62%;margin-left:auto;text-align:end}
.vms button{flex:0 1 auto;min-width:4rem;font:inherit;font-weight:600;color:var(--accent);
background:none;border:0;padding:0;cursor:pointer;text-align:start;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.vms button:hover{text-decoration:underline}
.missing{display:inline-block;color:var(--alarm)}
.note{margin-top:.7rem;border-left:3px solid var(--alarm);padding-left:.7rem;font-size:.87rem}
.tables h2{margin:2rem 0 .6rem}
.wide{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:.6rem}
table{border-collapse:collapse;width:100%;font-size:.87rem;font-variant-numeric:tabular-nums}
caption{text-align:start;padding:.7rem .9rem .2rem;color:var(--dim)}
th,td{text-align:start;padding:.3rem .9rem;border-top:1px solid var(--line);vertical-align:top;
white-space:nowrap}
td bdi,th bdi{display:inline-block;max-width:24rem;white-space:normal}
thead th{border-top:0;color:var(--dim);font-weight:600;white-space:nowrap}
tbody th{font-weight:600}
table .n{text-align:end}
.finding .vfs i:not(.hit){opacity:.22}
.finding i.hit{position:relative;z-index:1;outline:2px solid var(--text);outline-offset:1px}
.finding .host:not(.hit){opacity:.5}
.finding .vms li:not(.hit){display:none}
.finding tr[data-v]:not(.hit){display:none}
@media(max-width:42rem){body{padding:1rem}.bar{position:static;margin:0 -1rem 1rem;padding:.6rem 1rem}
.find{justify-content:flex-start}
.find output{order:1;min-width:0}.head p{margin-left:0}}
@media print{.find{display:none}.bar{position:static}.host{break-inside:avoid}body{max-width:none;padding:0}}
"""


def _variables(palette: Palette) -> str:
    named = {
        "page": palette.page,
        "card": palette.card,
        "text": palette.text,
        "dim": palette.dim,
        "line": palette.line,
        "accent": palette.accent,
        "alarm": palette.alarm,
    }
    for state in model.STATES:
        paint = palette.states[state]
        css = LOOKS[state].css
        named.update(
            {css: paint.fill, f"{css}-p": paint.pattern, f"{css}-e": paint.edge, f"{css}-l": paint.letter}
        )
    return ":root{" + ";".join(f"--{name}:{colour}" for name, colour in named.items()) + "}\n"


def _states() -> str:
    rules = []
    for state in model.STATES:
        css = LOOKS[state].css
        pattern = _PATTERNS.get(css, "").format(f"var(--{css}-p)")
        fill = f"{pattern}, var(--{css})" if pattern else f"var(--{css})"
        halo = f"0 0 2px var(--{css}), 0 0 2px var(--{css}), 0 0 3px var(--{css})" if pattern else "none"
        rules.append(
            f".{css}{{background:{fill};border-color:var(--{css}-e);color:var(--{css}-l);text-shadow:{halo}}}\n"
        )
    return "".join(rules)


# On paper it is light, whatever the screen is.
STYLE = (
    _variables(LIGHT)
    + f"@media screen and (prefers-color-scheme:dark){{{_variables(DARK)}}}\n"
    + _STYLE.lstrip()
    + _states()
)

# Every VM has a number in the page (`data-v`), on its cells, its line and its rows of the table. Names are
# read as text and never written as markup.
SCRIPT = """
"use strict";
(function () {
  var input = document.getElementById("q"), said = document.getElementById("found");
  var marked = Array.prototype.slice.call(document.querySelectorAll("[data-v]"));
  var vms = new Map();
  document.querySelectorAll("li[data-v]").forEach(function (line) {
    vms.set(line.dataset.v, (line.querySelector("button").title + "\\n" + line.dataset.find).toLowerCase());
  });

  function find() {
    var wanted = input.value.trim().toLowerCase(), hits = new Set(), cells = 0;
    vms.forEach(function (text, number) {
      if (wanted && text.indexOf(wanted) >= 0) { hits.add(number); }
    });
    document.querySelectorAll(".host.hit").forEach(function (host) { host.classList.remove("hit"); });
    document.querySelectorAll("details").forEach(function (list) {
      list.open = wanted !== "" || !("folded" in list.dataset);
    });
    marked.forEach(function (element) {
      var hit = hits.has(element.dataset.v);
      element.classList.toggle("hit", hit);
      if (!hit) { return; }
      if (element.tagName === "I") { cells += 1; }
      var host = element.closest(".host");
      if (host) { host.classList.add("hit"); }
    });
    document.body.classList.toggle("finding", wanted !== "");
    said.textContent = wanted
      ? hits.size + (hits.size === 1 ? " VM, " : " VMs, ") + cells + (cells === 1 ? " VF" : " VFs") : "";
    try {
      var address = wanted ? "#q=" + encodeURIComponent(input.value.trim()) : location.pathname;
      history.replaceState(null, "", address);
    } catch (refused) { /* a page in a frame may not change its address */ }
  }

  function show() {
    var first = document.querySelector(".host.hit");
    if (first) { first.scrollIntoView({block: "center"}); }
  }

  function fromAddress() {
    var found = /^#q=(.*)$/.exec(location.hash);
    if (!found) { return; }
    try { input.value = decodeURIComponent(found[1]); } catch (broken) { input.value = found[1]; }
    find();
    show();
  }

  input.disabled = false;
  input.addEventListener("input", find);
  input.addEventListener("keydown", function (event) {
    if (event.key === "Enter") { show(); }
    if (event.key === "Escape") { input.value = ""; find(); }
  });
  document.addEventListener("click", function (event) {
    var element = event.target.closest("i[data-v], .vms button");
    if (!element) { return; }
    var number = (element.closest("[data-v]") || element).dataset.v;
    var line = document.querySelector('li[data-v="' + number + '"]');
    input.value = line.dataset.uuid;
    find();
  });
  window.addEventListener("hashchange", fromAddress);
  fromAddress();
})();
"""
