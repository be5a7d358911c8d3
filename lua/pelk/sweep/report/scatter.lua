--- What a trial reached against what it costs: parameters, multiply-adds, speed; with the Pareto front.
-- @module pelk.sweep.report.scatter
local find_front = require("pelk.sweep.report.front")
local html = require("pelk.sweep.report.html")
local numbers = require("pelk.sweep.report.numbers")
local plot = require("pelk.sweep.report.plot")

local scatter = {}

--- The costs: name of the metric, the axis, which way is better, how numbers are written.
scatter.costs = {
  { name = "params", label = "parameters", title = "parameters", goal = "min", format = numbers.count },
  { name = "macs", label = "multiply-adds", title = "multiply-adds", goal = "min",
    format = numbers.count },
  { name = "images_per_second", label = "images/s, measured", title = "measured images/s",
    goal = "max", format = numbers.short },
}

local at = plot.at

--- Rows that have both.
local function known(d, cost)
  local rows, xs, ys, points = {}, {}, {}, {}
  for _, row in ipairs(d.rows) do
    local x = row.metrics[cost.name]
    if row.value and x then
      rows[#rows + 1], xs[#xs + 1], ys[#ys + 1] = row, x, row.value
      points[#points + 1] = { x, row.value }
    end
  end
  return rows, xs, ys, points
end

--- Stairs along the front: from a member to the next one, x changes first where less of it is better.
local function stairs(front, points, sx, sy, cost, d)
  local parts = {}
  for n, i in ipairs(front) do
    local x, y = at(sx(points[i][1])), at(sy(points[i][2]))
    if n == 1 then parts[1] = ("M%s %s"):format(x, y)
    elseif cost.goal == "min" then parts[#parts + 1] = ("H%sV%s"):format(x, y)
    else parts[#parts + 1] = ("V%sH%s"):format(y, x) end
  end
  if #front < 2 then return "" end
  return html.shape("path", { class = "front", d = table.concat(parts), ["data-goal"] = d.goal })
end

local function mark(row, point, sx, sy, on_front, tip)
  local circle = html.shape("circle", plot.of_trial(row, { class = on_front and "dot best" or "dot",
    cx = at(sx(point[1])), cy = at(sy(point[2])), r = on_front and 5.5 or 4.5 }), tip)
  return plot.link(row, circle, on_front)
end

--- Names beside the members, those left out that would lie on another.
local function names_of(front, rows, points, sx, sy)
  local parts, taken = {}, {}
  for _, i in ipairs(front) do
    local x, y, free = sx(points[i][1]), sy(points[i][2]) - 9, true
    for _, p in ipairs(taken) do
      if math.abs(p[1] - x) < 26 and math.abs(p[2] - y) < 12 then free = false end
    end
    if free then
      parts[#parts + 1] = plot.text(x, y, "name mid", "#" .. rows[i].rank, { ["data-trial"] = rows[i].rank })
      taken[#taken + 1] = { x, y }
    end
  end
  return table.concat(parts)
end

local MEMBERS_SHOWN = 12
local MEMBERS_OPEN = 6 -- lists up to so long are open from the beginning

local function member_list(d, front, rows, points, cost)
  local items = {}
  for n, i in ipairs(front) do
    if n <= MEMBERS_SHOWN then
      items[n] = html.tag("li", nil, ("<a href=\"#trial-%d\">#%d</a> %s: <b>%s</b> at %s"):format(rows[i].rank,
        rows[i].rank, html.escape(rows[i].name), d.format(points[i][2]), cost.format(points[i][1])))
    end
  end
  if #front > MEMBERS_SHOWN then
    items[#items + 1] = html.tag("li", nil, ("and %d more"):format(#front - MEMBERS_SHOWN))
  end
  local summary = ("Pareto front: %d of %d"):format(#front, #rows)
  return html.tag("details", { class = "members", open = #front <= MEMBERS_OPEN }, html.tag("summary", nil, summary)
    .. html.tag("ul", nil, table.concat(items)))
end

local function chart(d, cost)
  local rows, xs, ys, points = known(d, cost)
  if #rows == 0 then return nil end
  local sx, sy = plot.scales(xs, ys, { x = { log = "auto" }, y = { log = d.goal == "min" and "auto" or false } })
  local front, on_front = find_front(points, cost.goal, d.goal), {}
  for _, i in ipairs(front) do on_front[i] = true end
  local labels = { x = cost.label, y = d.metric_label, x_format = cost.format }
  local parts = { plot.frame(sx, sy, labels),
    stairs(front, points, sx, sy, cost, d) }
  for pass = 1, 2 do -- members of the front lie above the others
    for i = #rows, 1, -1 do
      if (on_front[i] == true) == (pass == 2) then
        parts[#parts + 1] = mark(rows[i], points[i], sx, sy, on_front[i], ("#%d %s: %s at %s"):format(rows[i].rank,
          rows[i].name, d.format(points[i][2]), cost.format(points[i][1])))
      end
    end
  end
  parts[#parts + 1] = names_of(front, rows, points, sx, sy)
  return plot.figure(("%s against %s"):format(d.metric_label, cost.title), table.concat(parts),
    member_list(d, front, rows, points, cost))
end

--- The section, or nil where no trial knows what it costs.
function scatter.section(d)
  local charts, missing = {}, {}
  for _, cost in ipairs(scatter.costs) do
    local figure = chart(d, cost)
    if figure then charts[#charts + 1] = figure else missing[#missing + 1] = cost.title end
  end
  if #charts == 0 then return nil end
  local note = "The line is the Pareto front: no other trial is at least as good in both and better in one."
  if #missing > 0 then note = note .. (" Not known of any trial: %s."):format(table.concat(missing, ", ")) end
  return html.tag("p", nil, note) .. html.tag("div", { class = "charts" }, table.concat(charts))
end

return scatter
