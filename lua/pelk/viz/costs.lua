-- What kernels cost: parameters against size, time by module.
local core = require "pelk.core"
local options = require "pelk.options"
local plot = require "pelk.viz.plot"

local costs = {}

local STRIPE = 5 -- the short side of SLaK's stripes

local Growth = {}
Growth.__index = Growth

function Growth:__tostring()
  local lines = { "kernel     dense    stripe  peripheral" }
  for i, k in ipairs(self.kernels) do
    lines[#lines + 1] = ("%6d  %8d  %8d  %10d"):format(k, self.dense[i], self.stripe[i], self.peripheral[i])
  end
  return table.concat(lines, "\n")
end

local growth_rules = { kernels = { "table" }, radius = { "integer", 2, 0 }, base = { "integer", 2, 1 },
  rule = { "string", "truncate" }, title = { "string" } }

--- Weights of one channel's kernel against its side: dense k x k, two stripes of k x 5 (SLaK), peripheral k' x k'
-- (PeLK, figure 2). They are the products an output pixel costs too, but for the additions of the peripheral kernel's
-- boxes.
-- @string[opt] path of a chart
-- @tab[opt] given kernels={7,13,31,51,101,151}, radius, base, rule, title
-- @treturn table {kernels, dense, stripe, peripheral}; prints. nil, message when the chart fails.
function costs.growth(path, given)
  local o = options.read("viz.growth", given, growth_rules)
  local g = setmetatable({ kernels = o.kernels or { 7, 13, 31, 51, 101, 151 }, dense = {}, stripe = {},
    peripheral = {} }, Growth)
  for i, k in ipairs(g.kernels) do
    local grid = options.call(core.grid, k, { radius = o.radius, base = o.base, rule = o.rule })
    g.dense[i], g.stripe[i], g.peripheral[i] = k * k, 2 * k * math.min(k, STRIPE), #grid * #grid
  end
  if not path then return g end
  local function series(name) return { x = g.kernels, y = g[name], title = name } end
  local ok, message = plot({ series "dense", series "stripe", series "peripheral" }, path, { xlabel = "kernel side",
    ylabel = "weights a channel", logy = true, title = o.title })
  if not ok then return nil, message end
  return g
end

-- ---- time ----

local Share = {}
Share.__index = Share

function Share:__tostring()
  local lines = {}
  for i, row in ipairs(self) do
    lines[i] = ("%-18s %8.2f ms  %5.1f %%"):format(row.class, 1e3 * row.seconds, 100 * row.share)
  end
  lines[#lines + 1] = ("%-18s %8.2f ms"):format("all", 1e3 * self.seconds)
  return table.concat(lines, "\n")
end

-- Seconds of each row without those of its children.
local function own_seconds(rows)
  local own, open = {}, {}
  for i, row in ipairs(rows) do
    own[i] = row.seconds
    while #open > 0 and rows[open[#open]].depth >= row.depth do open[#open] = nil end
    if #open > 0 then own[open[#open]] = own[open[#open]] - row.seconds end
    open[#open + 1] = i
  end
  return own
end

--- Where the time of a forward goes, by class of module: measured, one pass to warm up and the fastest of `runs`.
-- @tparam Module model
-- @tparam Tensor x an input
-- @string[opt] path of a chart of bars
-- @tab[opt] given runs=3, title
-- @treturn table rows {class, seconds, share}, longest first, and seconds; time that a module spends outside of its
-- children is its own; prints. nil, message when the chart fails.
function costs.time_share(model, x, path, given)
  local o = options.read("viz.time_share", given, { runs = { "integer", 3, 1 }, title = { "string" } })
  options.check_module("viz.time_share", model)
  options.call(core.profile, model, x)
  local rows
  for _ = 1, o.runs do
    local again = core.profile(model, x)
    if not rows or again[1].seconds < rows[1].seconds then rows = again end
  end
  local by_class, list, own = {}, setmetatable({ seconds = rows[1].seconds }, Share), own_seconds(rows)
  for i, row in ipairs(rows) do by_class[row.class] = (by_class[row.class] or 0) + math.max(0, own[i]) end
  local total = 0
  for _, seconds in pairs(by_class) do total = total + seconds end
  for class, seconds in pairs(by_class) do
    list[#list + 1] = { class = class, seconds = seconds, share = seconds / math.max(total, 1e-12) }
  end
  table.sort(list, function(a, b)
    if a.seconds ~= b.seconds then return a.seconds > b.seconds end
    return a.class < b.class
  end)
  if not path then return list end
  local places, shares, labels = {}, {}, {}
  for i, row in ipairs(list) do
    if row.share >= 0.005 then places[#places + 1], shares[i], labels[i] = i, 100 * row.share, row.class end
  end
  local ok, message = plot({ { x = places, y = shares, labels = labels, style = "bars" } }, path,
    { ylabel = "% of the time", title = o.title })
  if not ok then return nil, message end
  return list
end

return costs
