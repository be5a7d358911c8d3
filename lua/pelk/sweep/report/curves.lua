--- Learning curves of the trials.
-- @module pelk.sweep.report.curves
local gather = require("pelk.sweep.report.gather")
local html = require("pelk.sweep.report.html")
local numbers = require("pelk.sweep.report.numbers")
local plot = require("pelk.sweep.report.plot")

local curves = {}

local MOST = 60 -- trials drawn: the best ones
local POINTS = 150 -- points a line
local CHARTS = 3

local at, finite = plot.at, numbers.finite

--- The finite points of a metric, every k-th of many, and the last.
local function points_of(row, name)
  local all, kept = {}, {}
  for _, e in ipairs(row.curve) do
    if finite(e.epoch) and finite(e[name]) then all[#all + 1] = { e.epoch, e[name] } end
  end
  local step = math.max(1, math.ceil(#all / POINTS))
  for i = 1, #all, step do kept[#kept + 1] = all[i] end
  if #all > 0 and kept[#kept] ~= all[#all] then kept[#kept + 1] = all[#all] end
  return kept
end

--- Trials with points of the metric, the best first.
local function lines_of(d, name)
  local lines, left = {}, 0
  for _, row in ipairs(d.rows) do
    local points = points_of(row, name)
    if #points > 0 then
      if #lines < MOST then lines[#lines + 1] = { row = row, points = points } else left = left + 1 end
    end
  end
  return lines, left
end

local function draw(line, sx, sy)
  local row, places = line.row, {}
  for i, p in ipairs(line.points) do places[i] = at(sx(p[1])) .. "," .. at(sy(p[2])) end
  local tip = ("#%d %s"):format(row.rank, row.name)
  if #places == 1 then
    local x, y = places[1]:match("(.*),(.*)")
    return plot.link(row, html.shape("circle", plot.of_trial(row, { class = "dot", cx = x, cy = y, r = 3 }), tip))
  end
  return plot.link(row, html.shape("polyline", plot.of_trial(row, { class = "line" .. (row.rank <= 3 and " best" or ""),
    points = table.concat(places, " ") }), tip))
end

local function chart(d, name, label)
  local lines, left = lines_of(d, name)
  if #lines == 0 then return nil end
  local xs, ys, longest = {}, {}, 0
  for _, line in ipairs(lines) do
    longest = math.max(longest, #line.points)
    for _, p in ipairs(line.points) do xs[#xs + 1], ys[#ys + 1] = p[1], p[2] end
  end
  if longest < 2 then return nil end -- one report a trial is no curve
  local sx, sy = plot.scales(xs, ys, { x = { whole = true, margin = 0.02, log = false },
    y = { log = name:find("loss") and "auto" or false } })
  local parts = { plot.frame(sx, sy, { x = "epoch", y = label }) }
  for i = #lines, 1, -1 do parts[#parts + 1] = draw(lines[i], sx, sy) end
  local note = left > 0 and html.tag("p", { class = "note" }, ("The best %d trials; %d more have curves."):format(
    #lines, left)) or nil
  return plot.figure(label .. " by epoch", table.concat(parts), note)
end

--- Is the metric the value by another name, in every epoch?
local function same_as_value(d, name)
  for _, row in ipairs(d.rows) do
    for _, e in ipairs(row.curve) do if e[name] ~= nil and e[name] ~= e.value then return false end end
  end
  return true
end

--- The section, or nil where no trial has a curve.
function curves.section(d)
  local charts = {}
  for _, name in ipairs { "value", "top1", "loss", "train_loss", "train_top1" } do
    if #charts < CHARTS and (name == "value" or not same_as_value(d, name)) then
      charts[#charts + 1] = chart(d, name, name == "value" and d.metric_label or gather.labels[name])
    end
  end
  if #charts == 0 then return nil end
  return html.tag("p", nil, "Colours go by the trial's value; the three best are thicker.")
    .. html.tag("div", { class = "charts" }, table.concat(charts))
end

return curves
