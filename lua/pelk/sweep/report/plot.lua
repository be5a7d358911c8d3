--- The frame of a chart in SVG: grid, ticks, labels. Sizes are units of a view of 380 x 290, which is about pixels on
-- a phone.
-- @module pelk.sweep.report.plot
local html = require("pelk.sweep.report.html")
local numbers = require("pelk.sweep.report.numbers")

local plot = { width = 380, height = 290, left = 58, right = 364, top = 16, bottom = 244 }

local function at(v) return ("%.1f"):format(v) end
plot.at = at

--- Scales of a chart for the values on both axes.
-- @tab xs, ys finite numbers, not empty
-- @tab o x, y: options of numbers.scale
function plot.scales(xs, ys, o)
  local function scale(values, from, to, more)
    local given = { from = from, to = to }
    for key, value in pairs(more or {}) do given[key] = value end
    return numbers.scale(values, given)
  end
  return scale(xs, plot.left, plot.right, o.x), scale(ys, plot.bottom, plot.top, o.y)
end

local function text(x, y, class, s, more)
  local given = { x = at(x), y = at(y), class = class }
  for key, value in pairs(more or {}) do given[key] = value end
  return html.tag("text", given, html.escape(s))
end
plot.text = text

--- Ticks whose labels would touch the one before are left without.
local function x_ticks(parts, sx, format)
  local free = -math.huge
  for _, v in ipairs(sx.ticks) do
    local x, s = sx(v), format(v)
    parts[#parts + 1] = html.shape("line", { class = "grid", x1 = at(x), x2 = at(x), y1 = plot.top, y2 = plot.bottom })
    local half = #s * 3.4
    if x - half > free then
      parts[#parts + 1] = text(x, plot.bottom + 17, "tick mid", s)
      free = x + half + 5
    end
  end
end

local function y_ticks(parts, sy, format)
  for _, v in ipairs(sy.ticks) do
    local y = sy(v)
    parts[#parts + 1] = html.shape("line", { class = "grid", y1 = at(y), y2 = at(y), x1 = plot.left, x2 = plot.right })
    parts[#parts + 1] = text(plot.left - 6, y + 4, "tick end", format(v))
  end
end

--- Grid, axes and labels.
-- @tab o x, y (labels), x_format, y_format (functions to text)
function plot.frame(sx, sy, o)
  local parts = {}
  x_ticks(parts, sx, o.x_format or numbers.short)
  y_ticks(parts, sy, o.y_format or numbers.short)
  parts[#parts + 1] = html.shape("path", { class = "axis", d = ("M%d %dV%dH%d"):format(plot.left, plot.top, plot.bottom,
    plot.right) })
  local function label(s, scale) return s .. (scale.log and " (log)" or "") end
  parts[#parts + 1] = text((plot.left + plot.right) / 2, plot.height - 8, "label mid", label(o.x, sx))
  parts[#parts + 1] = text(0, 0, "label mid", label(o.y, sy), { transform = ("translate(12 %d) rotate(-90)"):format(
    (plot.top + plot.bottom) // 2) })
  return table.concat(parts)
end

--- A figure around a chart.
-- @string title
-- @string inner what is drawn
-- @string[opt] below HTML under it
-- @tab[opt] o width, height, class, style of the svg
function plot.figure(title, inner, below, o)
  o = o or {}
  local svg = html.tag("svg", { viewBox = ("0 0 %d %d"):format(o.width or plot.width, o.height or plot.height),
    role = "group", ["aria-label"] = title, class = o.class or "chart", style = o.style,
    ["data-axes"] = o.axes }, inner)
  if o.scroll then
    svg = html.tag("div", { class = "scroll", tabindex = 0, role = "region", ["aria-label"] = title }, svg)
  end
  return html.tag("figure", nil, html.tag("figcaption", nil, html.escape(title)) .. svg .. (below or ""))
end

--- A point or line's attributes that tie it to its trial.
function plot.of_trial(row, given)
  given["data-trial"] = row.rank
  given.style = ("--t:%.3f"):format(row.shade or 0)
  return given
end

--- A link to the row of a trial in the table.
function plot.link(row, inner, focus)
  return html.tag("a", { href = "#trial-" .. row.rank, tabindex = not focus and "-1" or nil,
    ["aria-label"] = ("#%d %s"):format(row.rank, row.name) }, inner)
end

return plot
