-- Charts of numbers against numbers: lines, points, bars; one panel, or several side by side.
local gnuplot = require "pelk.viz.gnuplot"
local options = require "pelk.options"

local quote = gnuplot.quote

local rules = {
  title = { "string" }, xlabel = { "string", "" }, ylabel = { "string", "" }, logx = { "boolean", false },
  logy = { "boolean", false }, width = { "integer", 800, 200 }, height = { "integer", 500, 150 },
  key = { "string", "top left" },
}

local styles = { lines = "lines", points = "points", ["lines+points"] = "linespoints", bars = "bars" }

local finite = options.is_finite

-- The points of a series as lines of a block; on a logarithmic axis only what is above 0.
local function block(n, series, o)
  if type(series) ~= "table" or type(series.x) ~= "table" or type(series.y) ~= "table" then
    options.raise(("viz.plot: series %d wants lists x and y"):format(n))
  end
  if #series.x ~= #series.y or (series.labels and #series.labels ~= #series.x) then
    options.raise(("viz.plot: series %d has %d x and %d y%s"):format(n, #series.x, #series.y,
      series.labels and (" and %d labels"):format(#series.labels) or ""))
  end
  local lines = {}
  for i, x in ipairs(series.x) do
    local y = series.y[i]
    if finite(x) and finite(y) and not (o.logx and x <= 0) and not (o.logy and y <= 0) then
      local label = series.labels and (' "%s"'):format(tostring(series.labels[i]):gsub('["\\\n]', " ")) or ""
      lines[#lines + 1] = ("%.10g %.10g%s"):format(x, y, label)
    end
  end
  return #lines > 0 and table.concat(lines, "\n") or nil
end

local head = [[
set encoding utf8
set terminal pngcairo size %d,%d font 'sans,11' background rgb 'white'
set output %s
set border 3 linecolor rgb '#555555'
set tics nomirror textcolor rgb '#333333'
set grid linecolor rgb '#dddddd' linetype 1 linewidth 1
set key %s box linecolor rgb '#cccccc' opaque spacing 1.2 width 1 noenhanced
set xlabel %s noenhanced
set ylabel %s noenhanced
set autoscale fix
set offsets graph 0.03, graph 0.06, graph 0.05, graph 0.03
]]

-- ---- series ----

local function plots_of(n, name, series, o)
  local style = styles[series.style or "lines+points"]
  if not style then
    local names = { "lines", "points", "lines+points", "bars" }
    options.raise(("viz.plot: style must be one of %s, got '%s'"):format(table.concat(names, ", "),
      tostring(series.style)))
  end
  local color = gnuplot.colors[(n - 1) % #gnuplot.colors + 1]
  local title = series.title and "title " .. quote(series.title) or "notitle"
  local how = style == "bars" and "with boxes fillstyle solid 0.8 noborder"
    or ("with %s linewidth 2 pointtype 7 pointsize 0.8"):format(style)
  if style == "lines" then how = "with lines linewidth 2" end
  local list = { ("%s using 1:2 %s linecolor rgb '%s' %s"):format(name, how, color, title) }
  if series.labels and style ~= "bars" then
    list[2] = ("%s using 1:2:3 with labels offset 0.7,0.6 left noenhanced font ',9' notitle"):format(name)
  end
  return table.concat(list, ", "), block(n, series, o)
end

-- Bars stand on 0; their labels are the marks of the axis below.
local function bars_of(series)
  local lines = { "set boxwidth 0.8\nset yrange [0:*]" }
  if series.labels then
    local tics = {}
    for i, label in ipairs(series.labels) do tics[i] = ("%s %.10g"):format(quote(tostring(label)), series.x[i]) end
    lines[2] = "set xtics (" .. table.concat(tics, ", ") .. ") rotate by -30 noenhanced"
  end
  return table.concat(lines, "\n")
end

-- ---- panels ----

-- The commands of one panel, which is a list of series, and whether there is anything to see; `number` makes names of
-- its own.
local function panel_of(number, list, o)
  local script, plots, titled = {}, {}, false
  for _, series in ipairs(list) do titled = titled or (type(series) == "table" and series.title ~= nil) end
  script[1] = titled and "set key" or "unset key"
  if list.ylabel then script[2] = ("set ylabel %s noenhanced"):format(quote(list.ylabel)) end
  for n, series in ipairs(list) do
    local name = ("$series%d_%d"):format(number, n)
    local plot, data = plots_of(n, name, series, o)
    if data then
      script[#script + 1] = ("%s << EOD\n%s\nEOD"):format(name, data)
      plots[#plots + 1] = plot
      if series.style == "bars" then script[#script + 1] = bars_of(series) end
    end
  end
  script[#script + 1] = #plots > 0 and "plot " .. table.concat(plots, ", ") or nil
  return table.concat(script, "\n"), #plots > 0
end

local function script_of(panels, out, o)
  local script = { head:format(o.width, o.height, quote(out), o.key, quote(o.xlabel), quote(o.ylabel)) }
  if o.logx then script[#script + 1] = "set logscale x" end
  if o.logy then script[#script + 1] = "set logscale y" end
  local title = o.title and ("title %s noenhanced font ',13'"):format(quote(o.title)) or ""
  if #panels > 1 then
    script[#script + 1] = ("set multiplot layout 1,%d %s"):format(#panels, title)
  elseif o.title then
    script[#script + 1] = "set " .. title
  end
  local drawn = true
  for number, list in ipairs(panels) do
    local commands, any = panel_of(number, list, o)
    script[#script + 1], drawn = commands, drawn and any
  end
  if not drawn then return nil, "nothing to plot: no finite points" end
  script[#script + 1] = (#panels > 1 and "unset multiplot\n" or "") .. "set output\n"
  return table.concat(script, "\n")
end

-- plot(list, path, {title =, xlabel =, ylabel =, logx = false, logy = false, width = 800, height = 500,
-- key = "top left"}): list of series {x = {...}, y = {...}, title =, labels = {...},
-- style = "lines+points" | "lines" | "points" | "bars"}; or a list of such lists, each a panel, which may have a ylabel
-- of its own: {{series, ..., ylabel =}, ...}. true, or nil, message.
return function(list, path, given)
  local o = options.read("viz.plot", given, rules)
  if type(list) ~= "table" or #list == 0 then options.raise("viz.plot: wants a list of series") end
  if type(path) ~= "string" or path == "" then options.raise("viz.plot: wants the path of the picture") end
  if not o.key:find("^[%a ]+$") then options.raise("viz.plot: key is words like \"top left\"") end
  local panels = type(list[1]) == "table" and type(list[1][1]) == "table" and list or { list }
  script_of(panels, "", o) -- wrong use raises, whether gnuplot is there or not
  return gnuplot.draw(path, function(out) return script_of(panels, out, o) end)
end
