--- The table of trials.
-- @module pelk.sweep.report.table
local html = require("pelk.sweep.report.html")
local numbers = require("pelk.sweep.report.numbers")
local progress = require("pelk.progress")

local tables = {}

--- A cell; `key` is what it is sorted by (nil comes last).
local function cell(key, inner, class) return html.tag("td", { class = class,
  ["data-v"] = key ~= nil and tostring(key) or "" }, inner) end

local function number_cell(v, format)
  return cell(v, v ~= nil and html.escape(format(v)) or "", "n")
end

local function parameter_cell(v, column)
  local text = v ~= nil and numbers.value(v) or ""
  return cell(math.type(v) and v or v ~= nil and text or nil, html.escape(text), column.numeric and "n" or "w")
end

local ERROR_SHOWN = 140 -- characters of an error's first line

--- The first line of an error, and all of it behind it where there is more.
local function error_of(row)
  local text = html.clean(row.error)
  local first = text:match("[^\n]*")
  local stop = utf8.len(first) > ERROR_SHOWN and utf8.offset(first, ERROR_SHOWN)
  if stop then first = first:sub(1, stop - 1) .. "…" end
  if first == text then return html.tag("p", { class = "error" }, html.escape(first)) end
  return html.tag("details", { class = "error" }, html.tag("summary", nil, html.escape(first))
    .. html.tag("pre", nil, html.escape(text)))
end

local function state_cell(row)
  return cell(row.state, html.tag("span", { class = "state " .. row.state:gsub("%W", "") }, html.escape(row.state))
    .. (row.error and error_of(row) or ""), "s")
end

local function value_cell(d, row)
  if not row.value then return cell(nil, "", "n") end
  return cell(row.value, html.tag("i", { class = "swatch", style = ("--t:%.3f"):format(row.shade or 0),
    ["aria-hidden"] = "true" }, "") .. html.tag("b", nil, d.format(row.value)), "n")
end

local function line_of(d, row)
  local cells = { cell(row.rank, tostring(row.rank), "n rank"), value_cell(d, row) }
  for i, column in ipairs(d.columns) do cells[#cells + 1] = parameter_cell(row.params[i], column) end
  for _, metric in ipairs(d.metrics) do
    cells[#cells + 1] = number_cell(row.metrics[metric.name], metric.format)
  end
  cells[#cells + 1] = state_cell(row)
  cells[#cells + 1] = number_cell(row.seconds, progress.duration)
  cells[#cells + 1] = cell(row.id, html.tag("code", nil, html.escape(row.id)))
  cells[#cells + 1] = cell(row.command, row.command and html.tag("code", { class = "command" },
    html.escape(row.command)) or "", "c")
  return html.tag("tr", { id = "trial-" .. row.rank, ["data-trial"] = row.rank, class = row.state:gsub("%W", "") },
    table.concat(cells))
end

local function head(label, numeric, title)
  return html.tag("th", { scope = "col", class = numeric and "n" or nil, title = title }, html.escape(label))
end

local function heads_of(d)
  local heads = { head("#", true, "rank by " .. d.metric), head(d.metric_label, true, d.metric) }
  for _, column in ipairs(d.columns) do heads[#heads + 1] = head(column.label, column.numeric, column.name) end
  for _, metric in ipairs(d.metrics) do heads[#heads + 1] = head(metric.label, true, metric.name) end
  heads[#heads + 1] = head("state")
  heads[#heads + 1] = head("time", true)
  heads[#heads + 1] = head("trial")
  heads[#heads + 1] = head("command that runs it again")
  return heads
end

--- The section: every trial, the best first.
function tables.section(d)
  local lines = {}
  for i, row in ipairs(d.rows) do lines[i] = line_of(d, row) end
  return html.tag("div", { class = "scroll", tabindex = 0, role = "region", ["aria-label"] = "Table of trials" },
    html.tag("table", { id = "trials", class = "sortable" }, html.tag("thead", nil, html.tag("tr", nil,
    table.concat(heads_of(d)))) .. html.tag("tbody", nil, "\n" .. table.concat(lines, "\n"))))
end

return tables
