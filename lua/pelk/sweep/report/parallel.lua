--- Parallel coordinates: an axis for each parameter that varies, and the value; a line for each trial.
-- @module pelk.sweep.report.parallel
local html = require("pelk.sweep.report.html")
local numbers = require("pelk.sweep.report.numbers")
local plot = require("pelk.sweep.report.plot")

local parallel = {}

local HEIGHT, TOP, BOTTOM, EDGE, GAP = 326, 46, 296, 62, 132
local LABEL = 16 -- characters of a tick's label
local DISTINCT = 6 -- up to so many different numbers are ticks themselves

local at = plot.at

--- Different values as {text, value}, in the order of first sight.
local function distinct(values)
  local list, seen = {}, {}
  for _, v in ipairs(values) do
    local text = numbers.value(v)
    if not seen[text] then
      seen[text] = true
      list[#list + 1] = { text = text, value = v }
    end
  end
  return list
end

--- "[7,7,7]" before "[31,15,7]": runs of digits compare as numbers.
local function natural(s) return (s:gsub("%d+", function(n) return ("0"):rep(12 - #n) .. n end)) end

--- An axis of words and lists: places at equal distances.
local function category_axis(list, to)
  table.sort(list, function(a, b) return natural(a.text) < natural(b.text) end)
  local places, ticks = {}, {}
  for i, entry in ipairs(list) do
    local y = #list == 1 and (to + TOP) / 2 or to + (i - 1) / (#list - 1) * (TOP - to)
    places[entry.text] = y
    ticks[i] = { y = y, text = entry.text }
  end
  return { ticks = ticks, place = function(v) return places[numbers.value(v)] end }
end

local function number_axis(values, list, to)
  local scale = numbers.scale(values, { from = to, to = TOP, log = "auto", margin = 0 })
  local ticks = {}
  if #list <= DISTINCT then
    for i, entry in ipairs(list) do ticks[i] = { y = scale(entry.value), text = entry.text } end
  else
    for i, v in ipairs(scale.ticks) do ticks[i] = { y = scale(v), text = numbers.short(v) } end
  end
  return { ticks = ticks, place = scale, log = scale.log }
end

--- The axis of a column of values by trial; trials without the parameter meet below the others.
local function axis_of(label, name, numeric, by_row, rows)
  local values, missing = {}, false
  for i in ipairs(rows) do
    if by_row[i] == nil then missing = true else values[#values + 1] = by_row[i] end
  end
  local to, list = missing and BOTTOM - 26 or BOTTOM, distinct(values)
  local axis = numeric and number_axis(values, list, to) or category_axis(list, to)
  axis.label, axis.name = label, name
  if missing then table.insert(axis.ticks, 1, { y = BOTTOM, text = "not set" }) end
  local place = axis.place
  axis.y = {}
  for i in ipairs(rows) do axis.y[i] = by_row[i] == nil and BOTTOM or place(by_row[i]) end
  return axis
end

local function axes_of(d, rows)
  local axes = {}
  for _, column in ipairs(d.columns) do
    local by_row = {}
    for i, row in ipairs(rows) do by_row[i] = row.params[column.index] end
    axes[#axes + 1] = axis_of(column.label, column.name, column.numeric, by_row, rows)
  end
  local values = {}
  for i, row in ipairs(rows) do values[i] = row.value end
  axes[#axes + 1] = axis_of(d.metric_label, d.metric, true, values, rows)
  local left = EDGE
  for _, tick in ipairs(axes[1].ticks) do left = math.max(left, 20 + 7 * math.min(LABEL, utf8.len(tick.text) or 0)) end
  for i, axis in ipairs(axes) do axis.x = left + (i - 1) * GAP end
  return axes
end

local function cut(s, most)
  local stop = utf8.len(s) and utf8.len(s) > most and utf8.offset(s, most)
  return stop and s:sub(1, stop - 1) .. "…" or s
end

--- Its label, line and ticks; a tick too near the one before has no text.
local function draw_axis(axis, n, last)
  local parts = { plot.text(axis.x, 20, "label mid", cut(axis.label, 17) .. (axis.log and " (log)" or "")),
    html.shape("line", { class = "axis", x1 = axis.x, x2 = axis.x, y1 = TOP, y2 = BOTTOM }),
    html.shape("rect", { class = "brush", x = axis.x - 11, width = 22, y = TOP - 8, height = BOTTOM - TOP + 16 }) }
  table.sort(axis.ticks, function(a, b) return a.y > b.y end)
  local free = math.huge
  for _, tick in ipairs(axis.ticks) do
    if tick.y <= free then
      parts[#parts + 1] = html.shape("line", { class = "axis", x1 = axis.x - 3, x2 = axis.x + 3, y1 = at(tick.y),
        y2 = at(tick.y) })
      parts[#parts + 1] = plot.text(axis.x + (last and 8 or -8), tick.y + 4, last and "tick halo" or "tick end halo",
        cut(tick.text, LABEL))
      free = tick.y - 13
    end
  end
  return html.tag("g", { class = "parallel-axis", ["data-axis"] = n, ["aria-label"] = axis.label, ["data-x"] = axis.x },
    html.tag("title", nil, html.escape(axis.name)) .. table.concat(parts))
end

local function draw_line(row, i, axes, format)
  local points, places = {}, {}
  for n, axis in ipairs(axes) do
    places[n] = at(axis.y[i])
    points[n] = at(axis.x) .. "," .. places[n]
  end
  return plot.link(row, html.shape("polyline", plot.of_trial(row, { class = "line" .. (row.rank <= 3 and " best" or ""),
    points = table.concat(points, " "), ["data-y"] = table.concat(places, " ") }),
    ("#%d %s: %s"):format(row.rank, row.name, format(row.value))))
end

local MOST = 500 -- lines drawn: the best ones

--- The section, or nil where nothing varies or nothing has a value.
function parallel.section(d)
  local rows, left = {}, 0
  for _, row in ipairs(d.rows) do
    if row.value and #rows < MOST then rows[#rows + 1] = row else left = left + 1 end
  end
  if #rows == 0 or #d.columns == 0 then return nil end
  local axes = axes_of(d, rows)
  local width = axes[#axes].x + EDGE
  local parts = {}
  for i = #rows, 1, -1 do parts[#parts + 1] = draw_line(rows[i], i, axes, d.format) end
  for n, axis in ipairs(axes) do parts[#parts + 1] = draw_axis(axis, n, n == #axes) end
  local note = "Each line is a trial, coloured by its value."
  if left > 0 then
    local why = left + #rows > MOST and ("without a value, or beyond the best %d,"):format(MOST) or "without a value"
    note = note .. (" Not drawn: %d %s."):format(left, why)
  end
  return html.tag("p", nil, note .. '<span class="with-script"> Drag along an axis (or focus it and use arrow keys, '
    .. "with Shift to widen) to choose trials; a click or Escape lets them all back in.</span>")
    .. plot.figure("Parameters and " .. d.metric_label, table.concat(parts), nil, { width = width, height = HEIGHT,
    class = "chart parallel", style = ("min-width:%dpx;max-width:%dpx"):format(math.floor(width * 0.86),
    math.floor(width * 1.25)), scroll = true, axes = #axes })
end

return parallel
