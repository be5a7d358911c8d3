--- How the page looks: light and dark, from 320 pixels on, on paper.
-- --low and --high are the colours of the worst and the best trial; --t, from 0 to 1, is where an element stands.
return [[

:root {
  color-scheme: light dark;
  --ground: #ffffff; --raised: #f5f6f8; --text: #1b1f24; --soft: #57606a; --rule: #d5d9df; --grid: #e6e9ed;
  --link: #0a4fa8; --low: #c2701c; --high: #17307e; --front: #b3164f; --bad: #a8201a; --good: #17693a; --busy: #7a5200;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171b; --raised: #1d2127; --text: #e7eaee; --soft: #a4adb8; --rule: #3a414a; --grid: #272c33;
    --link: #84b6ff; --low: #b0622a; --high: #a8dcff; --front: #ff7aa8; --bad: #ff8e86; --good: #77d39b;
    --busy: #e6bf6a;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body {
  margin: 0 auto; max-width: 1240px; padding: 1.4rem 1rem 4rem; background: var(--ground); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; overflow-wrap: anywhere; }
p { margin: .3rem 0 .8rem; max-width: 75ch; color: var(--soft); }
p.lead { margin: .2rem 0 1rem; }
a { color: var(--link); }
a:focus-visible, button:focus-visible, input:focus-visible, summary:focus-visible, .scroll:focus-visible,
.parallel-axis:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
code { font: .86em/1.45 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  overflow-wrap: anywhere; }

dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 190px), 1fr)); gap: .6rem; margin: 0; }
dl > div { background: var(--raised); border: 1px solid var(--rule); border-radius: 8px; padding: .55rem .8rem;
  min-width: 0; }
dt { font-size: .78rem; color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
dl .best { grid-column: 1 / -1; }
dl .best dd b { font-size: 1.7rem; line-height: 1.25; margin-right: .4rem; }

.scroll { overflow-x: auto; max-width: 100%; -webkit-overflow-scrolling: touch; border: 1px solid var(--rule);
  border-radius: 8px; position: relative; }
#table .scroll { max-height: 92vh; overflow: auto; }
table { border-collapse: separate; border-spacing: 0; width: 100%; font-variant-numeric: tabular-nums;
  font-size: .9rem; }
th, td { padding: .36rem .65rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--grid);
  white-space: nowrap; }
tbody tr:last-child td { border-bottom: 0; }
thead th { background: var(--raised); border-bottom: 1px solid var(--rule); font-weight: 600; vertical-align: bottom; }
th.n, td.n { text-align: right; }
thead th { position: sticky; top: 0; z-index: 2; }
td.rank, thead th:first-child { position: sticky; left: 0; background: var(--raised); z-index: 1; }
thead th:first-child { z-index: 3; }
td.s { white-space: normal; min-width: 6.5rem; }
td.s:has(.error) { min-width: 18rem; }
th button { all: unset; cursor: pointer; padding: .2rem .3rem; margin: -.2rem -.3rem; border-radius: 4px; }
th button:focus-visible { outline: 2px solid var(--link); }
th button:hover { color: var(--link); }
th button::after { content: "\2195"; opacity: .35; margin-left: .3em; font-weight: 400; }
th[aria-sort="ascending"] button::after { content: "\2191"; opacity: 1; }
th[aria-sort="descending"] button::after { content: "\2193"; opacity: 1; }
tbody tr.on td, tbody tr:target td { background: color-mix(in srgb, var(--link) 16%, var(--ground)); }
tbody tr.out { display: none; }
.swatch { display: inline-block; width: .68em; height: .68em; border-radius: 50%; margin-right: .45em;
  background: var(--high); background: color-mix(in oklab, var(--low), var(--high) calc(var(--t) * 100%)); }
.state { font-weight: 600; }
.state.done { color: var(--good); }
.state.failed { color: var(--bad); }
.state.running, .state.paused, .state.stopped { color: var(--busy); }
.error { margin: .1rem 0 0; color: var(--bad); font-size: .85rem; overflow-wrap: anywhere; max-width: 34rem; }
.error summary { cursor: pointer; }
pre { margin: .4rem 0; white-space: pre-wrap; overflow-wrap: anywhere; color: var(--text); font-size: .8rem;
  font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.strip { vertical-align: middle; }
.spread { fill: var(--soft); opacity: .28; }

.tools { display: flex; flex-wrap: wrap; gap: .5rem .8rem; align-items: center; margin: 0 0 .6rem; }
.tools label { color: var(--soft); font-size: .9rem; }
input[type="search"] { font: inherit; color: inherit; background: var(--ground); border: 1px solid var(--soft);
  border-radius: 6px; padding: .3rem .55rem; width: min(100%, 20rem); }
button.copy, .tools button { font: inherit; font-size: .82rem; color: var(--link); background: var(--raised);
  border: 1px solid var(--rule); border-radius: 5px; padding: .05rem .5rem; margin-right: .5rem; cursor: pointer; }
.tools output { color: var(--soft); font-size: .9rem; }

.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 350px), 1fr)); gap: 1.2rem; }
figure { margin: 0; min-width: 0; }
figcaption { font-weight: 600; font-size: .92rem; margin: 0 0 .2rem; }
svg.chart { display: block; width: 100%; height: auto; background: var(--ground); }
.note { font-size: .85rem; margin: .2rem 0 0; }
svg text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: var(--text); }
svg .tick { fill: var(--soft); font-size: 11.5px; font-variant-numeric: tabular-nums; }
svg .mid { text-anchor: middle; }
svg .end { text-anchor: end; }
svg .halo { paint-order: stroke; stroke: var(--ground); stroke-width: 3.5px; stroke-linejoin: round; }
svg .name { font-weight: 700; paint-order: stroke; stroke: var(--ground); stroke-width: 3px; stroke-linejoin: round; }
.grid { stroke: var(--grid); }
.axis { stroke: var(--soft); fill: none; }
.front { fill: none; stroke: var(--front); stroke-width: 1.8; stroke-linejoin: round; }
.dot { fill: var(--high); fill: color-mix(in oklab, var(--low), var(--high) calc(var(--t) * 100%));
  stroke: var(--ground); stroke-width: 1; }
.dot.best { stroke: var(--front); stroke-width: 2; }
.line { fill: none; stroke: var(--high); stroke: color-mix(in oklab, var(--low), var(--high) calc(var(--t) * 100%));
  stroke-width: 1.4; stroke-opacity: .8; stroke-linejoin: round; }
.line.best { stroke-width: 2.6; stroke-opacity: 1; }
.brush { fill: transparent; }
.script .brush { cursor: ns-resize; touch-action: pan-x; }
.chosen { fill: var(--link); fill-opacity: .25; stroke: var(--link); pointer-events: none; }
svg a { outline: none; }
svg a:focus-visible .dot { stroke: var(--link); stroke-width: 4; }
svg.dim .line:not(.on) { stroke-opacity: .16; }
svg.dim .dot:not(.on) { fill-opacity: .25; }
svg .line.on { stroke-width: 3.6; stroke-opacity: 1; }
svg .dot.on { stroke: var(--text); stroke-width: 2; }
svg .line.out, svg .dot.out, svg text.out { opacity: .07; pointer-events: none; }
.members { font-size: .86rem; color: var(--soft); }
.members summary { cursor: pointer; }
.members ul { margin: .2rem 0 0; padding-left: 1.2rem; }
.members li { overflow-wrap: anywhere; }
.kernels { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
.kernels figure { max-width: min(100%, 300px); }
.kernels img { display: block; max-width: 100%; height: auto; image-rendering: pixelated;
  border: 1px solid var(--rule); }
.kernels figcaption { font-weight: 400; font-size: .8rem; color: var(--soft); margin-top: .3rem; }
#tip { position: fixed; z-index: 9; left: 0; top: 0; max-width: min(340px, 92vw); margin: 0; padding: .4rem .6rem;
  border-radius: 6px; background: var(--text); color: var(--ground); font-size: .84rem; pointer-events: none;
  overflow-wrap: anywhere; }
.with-script { display: none; }
.script .with-script { display: inline; }

@media (max-width: 520px) {
  body { padding: 1rem .75rem 3rem; }
  h1 { font-size: 1.4rem; }
  dl { gap: .4rem; }
  th, td { padding: .36rem .5rem; }
}
@page { margin: 12mm; size: A4 landscape; }
@media print {
  :root {
    color-scheme: light;
    --ground: #fff; --raised: #f3f4f6; --text: #000; --soft: #444; --rule: #bbb; --grid: #e2e2e2; --link: #000;
    --low: #c2701c; --high: #17307e; --front: #b3164f; --bad: #a8201a; --good: #17693a; --busy: #7a5200;
  }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  .tools, #tip, button.copy, .script .with-script { display: none; }
  .scroll, #table .scroll { overflow: visible; border: 0; max-height: none; }
  table { font-size: 7.5pt; }
  th, td { padding: .2em .4em; white-space: normal; }
  td.n { white-space: nowrap; }
  td.s:has(.error) { min-width: 0; }
  td.c { min-width: 16em; }
  td.rank, thead th, thead th:first-child { position: static; }
  th button::after { content: none; }
  thead { display: table-header-group; }
  tr, figure, h2, h3, dl > div { break-inside: avoid; }
  h2, h3, h2 + p { break-after: avoid; } /* a title stays with what it is of */
  svg.chart.parallel { min-width: 0 !important; max-width: 100% !important; }
  .charts { grid-template-columns: repeat(3, 1fr); }
  a { text-decoration: none; }
  details::details-content { content-visibility: visible; display: block; block-size: auto; }
}
]]
