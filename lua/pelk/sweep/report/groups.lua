--- Trials that differ in their seed alone: mean and deviation of each group.
-- @module pelk.sweep.report.groups
local html = require("pelk.sweep.report.html")
local numbers = require("pelk.sweep.report.numbers")

local groups = {}

--- The column of the seed, if one varies.
function groups.seed_column(d)
  for _, column in ipairs(d.columns) do
    if column.name:match("[^.]+$") == "seed" then return column end
  end
end

local function without(params, path)
  local first, rest = path:match("^([^.]+)%.?(.*)$")
  local out = {}
  for key, value in pairs(params) do
    if key == path or (key == first and rest == "") then value = nil
    elseif key == first and type(value) == "table" then value = without(value, rest) end
    out[key] = value
  end
  return out
end

--- A text that is the same for equal parameters only.
local function key_of(value)
  if type(value) ~= "table" then return ("%s:%q"):format(type(value), tostring(value)) end
  local parts = {}
  for k, v in pairs(value) do parts[#parts + 1] = key_of(k) .. "=" .. key_of(v) end
  table.sort(parts)
  return "{" .. table.concat(parts, ",") .. "}"
end

--- n, mean, deviation (of a sample; nil for one value), least, most.
function groups.moments(values)
  local sum, low, high = 0, math.huge, -math.huge
  for _, v in ipairs(values) do sum, low, high = sum + v, math.min(low, v), math.max(high, v) end
  local mean, square = sum / #values, 0
  for _, v in ipairs(values) do square = square + (v - mean) ^ 2 end
  return { n = #values, mean = mean, low = low, high = high,
    deviation = #values > 1 and math.sqrt(square / (#values - 1)) or nil }
end

--- Groups of the trials that are done, the best mean first; nil where no seed varies.
-- @tab d as gather.all gives it
-- @treturn table {{rows, params, n, mean, deviation, low, high}, ...}
function groups.of(d)
  local seed = groups.seed_column(d)
  if not seed then return nil end
  local list, by_key = {}, {}
  for _, row in ipairs(d.rows) do
    if row.state == "done" and row.value then
      local key = key_of(without(row.all, seed.name))
      if not by_key[key] then
        by_key[key] = { rows = {}, params = row.params }
        list[#list + 1] = by_key[key]
      end
      table.insert(by_key[key].rows, row)
    end
  end
  for _, group in ipairs(list) do
    local values = {}
    for i, row in ipairs(group.rows) do values[i] = row.value end
    for name, v in pairs(groups.moments(values)) do group[name] = v end
  end
  table.sort(list, function(a, b)
    if a.mean ~= b.mean then
      if d.goal == "min" then return a.mean < b.mean end
      return a.mean > b.mean
    end
    return a.rows[1].rank < b.rows[1].rank
  end)
  return list
end

-- ---- the table ----

local STRIP = 120 -- units wide

--- A dot for each seed, on one scale for all groups, and a bar over mean +- deviation.
local function strip(group, scale)
  local shapes = {}
  if group.deviation then
    shapes[1] = html.shape("rect", { class = "spread", x = ("%.1f"):format(scale(group.mean - group.deviation)), y = 4,
      width = ("%.1f"):format(math.max(1, scale(group.mean + group.deviation) - scale(group.mean - group.deviation))),
      height = 10, rx = 2 })
  end
  for _, row in ipairs(group.rows) do
    shapes[#shapes + 1] = html.shape("circle", { class = "dot", ["data-trial"] = row.rank, cx = ("%.1f"):format(
      scale(row.value)), cy = 9, r = 3.5, style = ("--t:%.3f"):format(row.shade or 0) })
  end
  return html.tag("svg", { class = "strip", viewBox = ("0 0 %d 18"):format(STRIP), width = STRIP, height = 18,
    ["aria-hidden"] = "true" }, table.concat(shapes))
end

local function scale_of(list)
  local values = {}
  for _, group in ipairs(list) do
    table.insert(values, group.low)
    table.insert(values, group.high)
    if group.deviation then
      table.insert(values, group.mean - group.deviation)
      table.insert(values, group.mean + group.deviation)
    end
  end
  return numbers.scale(values, { from = 5, to = STRIP - 5, log = false, margin = 0 })
end

local function cell(value, text, class)
  return html.tag("td", { class = class, ["data-v"] = value == nil and "" or tostring(value) }, text)
end

local function line_of(d, group, shown, scale, place)
  local cells = { cell(place, tostring(place), "n") }
  for _, column in ipairs(shown) do
    local v = group.params[column.index]
    local text = v ~= nil and numbers.value(v) or ""
    cells[#cells + 1] = cell(math.type(v) and v or text, html.escape(text), column.numeric and "n" or nil)
  end
  local spread = group.deviation and " ± " .. ("%.2g"):format(group.deviation) or ""
  cells[#cells + 1] = cell(group.mean, html.tag("b", nil, d.format(group.mean)) .. spread, "n")
  cells[#cells + 1] = cell(group.low, d.format(group.low), "n")
  cells[#cells + 1] = cell(group.high, d.format(group.high), "n")
  cells[#cells + 1] = cell(group.n, tostring(group.n), "n")
  cells[#cells + 1] = html.tag("td", nil, strip(group, scale))
  return html.tag("tr", nil, table.concat(cells))
end

--- The section, or nil where no seed varies or nothing is done.
function groups.section(d)
  local list = groups.of(d)
  if not list or #list == 0 then return nil end
  local seed, shown, lines = groups.seed_column(d), {}, {}
  local heads = { html.tag("th", { scope = "col", class = "n" }, "#") }
  for _, column in ipairs(d.columns) do
    if column ~= seed then
      shown[#shown + 1] = column
      heads[#heads + 1] = html.tag("th", { scope = "col", class = column.numeric and "n" or nil, title = column.name },
        html.escape(column.label))
    end
  end
  for _, label in ipairs { d.metric_label .. ", mean ± deviation", "least", "most", "seeds" } do
    heads[#heads + 1] = html.tag("th", { scope = "col", class = "n" }, html.escape(label))
  end
  heads[#heads + 1] = html.tag("th", { scope = "col", class = "plain" }, "each seed")
  local scale = scale_of(list)
  for i, group in ipairs(list) do lines[i] = line_of(d, group, shown, scale, i) end
  return html.tag("p", nil, ("Trials that are done, grouped over <code>%s</code>; the deviation is that of a sample "
    .. "(n − 1)."):format(html.escape(seed.name))) .. html.tag("div", { class = "scroll", tabindex = 0, role = "region",
    ["aria-label"] = "Means over seeds" }, html.tag("table", { class = "sortable" }, html.tag("thead", nil,
    html.tag("tr", nil, table.concat(heads))) .. html.tag("tbody", nil, table.concat(lines, "\n"))))
end

return groups
