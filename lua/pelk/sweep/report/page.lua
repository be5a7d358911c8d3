--- The page: head, sections, data. One file; nothing is loaded from anywhere, and the page forbids itself to try.
-- @module pelk.sweep.report.page
local groups = require("pelk.sweep.report.groups")
local curves = require("pelk.sweep.report.curves")
local html = require("pelk.sweep.report.html")
local json = require("pelk.json")
local kernels = require("pelk.sweep.report.kernels")
local numbers = require("pelk.sweep.report.numbers")
local parallel = require("pelk.sweep.report.parallel")
local progress = require("pelk.progress")
local scatter = require("pelk.sweep.report.scatter")
local table_of = require("pelk.sweep.report.table")

local POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"

-- ---- the head ----

local state_names = { "done", "running", "paused", "stopped", "waiting", "failed" }

local function counts_text(d)
  local parts, known = {}, {}
  for _, state in ipairs(state_names) do
    known[state] = true
    if d.counts[state] then parts[#parts + 1] = ("%d %s"):format(d.counts[state], state) end
  end
  for state, n in pairs(d.counts) do
    if not known[state] then parts[#parts + 1] = ("%d %s"):format(n, state) end
  end
  return #parts > 0 and table.concat(parts, ", ") or "none"
end

local function item(term, inner)
  return html.tag("div", nil, html.tag("dt", nil, term) .. html.tag("dd", nil, inner))
end

local function best_item(d)
  local best = d.rows[1]
  if not best or not best.value then return item("Best", "no trial has a value yet") end
  return html.tag("div", { class = "best" }, html.tag("dt", nil, "Best " .. html.escape(d.metric_label))
    .. html.tag("dd", nil, ('<b>%s</b> <a href="#trial-1">#1</a> %s'):format(d.format(best.value),
    html.escape(best.name))))
end

local function header(d, o)
  local trials = ("%d trial%s: %s"):format(#d.rows, #d.rows == 1 and "" or "s", counts_text(d))
  local items = { best_item(d), item("Trials", html.escape(trials)),
    item("Computing", progress.duration(d.seconds) .. " in all") }
  if d.machine then items[#items + 1] = item("Machine", html.escape(d.machine)) end
  items[#items + 1] = item("Written", html.tag("time", { datetime = os.date("!%Y-%m-%dT%H:%MZ", o.time) },
    os.date("!%Y-%m-%d %H:%M UTC", o.time)))
  if d.dir then items[#items + 1] = item("Folder", html.tag("code", nil, html.escape(d.dir))) end
  return html.tag("header", nil, html.tag("h1", nil, html.escape(d.title)) .. html.tag("p", { class = "lead" },
    ("Sweep of %s; %s is better."):format(html.escape(d.metric_label), d.goal == "min" and "less" or "more"))
    .. html.tag("dl", nil, table.concat(items)))
end

-- ---- the data ----

--- Parameters as JSON can say them: what it cannot becomes text.
local function plain(value, depth)
  if type(value) == "table" and depth < 16 then
    local out = {}
    for k, v in pairs(value) do out[type(k) == "string" and html.clean(k) or k] = plain(v, depth + 1) end
    return (pcall(json.encode, out)) and out or tostring(value)
  end
  if numbers.finite(value) or type(value) == "boolean" then return value end
  return html.clean(tostring(value))
end

local function data_of(d)
  local trials = json.list()
  for i, row in ipairs(d.rows) do
    trials[i] = { rank = row.rank, id = html.clean(row.id), state = html.clean(row.state), value = row.value,
      params = plain(row.all, 1), metrics = plain(row.metrics, 1), seconds = row.seconds, name = html.clean(row.name),
      error = row.error and html.clean(row.error), command = row.command and html.clean(row.command) }
  end
  return html.tag("script", { type = "application/json", id = "data" }, html.json({ title = html.clean(d.title),
    metric = html.clean(d.metric), goal = d.goal, machine = d.machine and html.clean(d.machine), trials = trials }))
end

-- ---- the whole ----

local function section(id, title, inner)
  return inner and html.tag("section", { id = id, ["aria-labelledby"] = id .. "-title" },
    html.tag("h2", { id = id .. "-title" }, title) .. inner) or ""
end

local function head(d)
  local policy = html.tag("meta", { ["http-equiv"] = "Content-Security-Policy", content = POLICY })
  return '<meta charset="utf-8">\n' .. policy .. "\n"
    .. '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    .. '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
    .. html.tag("title", nil, html.escape(d.title) .. " · sweep") .. "\n" .. html.tag("style", nil,
    require("pelk.sweep.report.style"))
end

--- The page as text.
-- @tab d as gather.all gives it
-- @tab o kernels: of how many trials; time: of writing, as os.time()
return function(d, o)
  local body = { header(d, o), "<main>",
    section("table", "Trials", table_of.section(d)),
    section("seeds", "Over seeds", groups.section(d)),
    section("parallel", "Parameters", parallel.section(d)),
    section("costs", "What it costs", scatter.section(d)),
    section("curves", "Learning curves", curves.section(d)),
    section("kernels", "Kernels", o.kernels > 0 and kernels.section(d, o.kernels) or nil),
    "</main>", '<p id="tip" role="status" hidden></p>', data_of(d),
    html.tag("script", nil, require("pelk.sweep.report.script")) }
  return "<!DOCTYPE html>\n" .. html.tag("html", { lang = "en" }, html.tag("head", nil, head(d)) .. "\n"
    .. html.tag("body", nil, table.concat(body, "\n"))) .. "\n"
end
