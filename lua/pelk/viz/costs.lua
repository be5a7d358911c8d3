-- What kernels cost: parameters and multiply-adds against size, time by module.
local core = require "pelk.core"
local models = require "pelk.models"
local options = require "pelk.options"
local plot = require "pelk.viz.plot"
local show = require "pelk.show"

local costs = {}

local STRIPE = 5 -- the short side of SLaK's stripes
local MIXERS = { "dense", "stripe", "peripheral" }

local Growth = {}
Growth.__index = Growth

function Growth:__tostring()
  local function number(v) return self.model and ("%.2f"):format(v) or ("%d"):format(v) end
  local head = { "kernel" }
  for _, what in ipairs { self.unit, self.macs_unit } do
    for _, name in ipairs(MIXERS) do head[#head + 1] = ("%s, %s"):format(what, name) end
  end
  local rows = { head }
  for i, k in ipairs(self.kernels) do
    rows[i + 1] = { tostring(k) }
    for _, part in ipairs { self, self.macs } do
      for _, name in ipairs(MIXERS) do table.insert(rows[i + 1], number(part[name][i])) end
    end
  end
  return table.concat(show.columns(rows, 1), "\n")
end

local growth_rules = { kernels = { "table" }, radius = { "integer", 2, 0 }, base = { "integer", 2, 1 },
  rule = { "string", "truncate" }, model = { "string|table" }, image_size = { "integer|table", 224 },
  title = { "string" } }

--- One channel's kernel: its weights, and the products of one pixel of its output.
local function channel_growth(g, o)
  g.unit, g.macs_unit = "weights", "products"
  for i, k in ipairs(g.kernels) do
    local grid = options.call(core.grid, k, { radius = o.radius, base = o.base, rule = o.rule })
    g.dense[i], g.stripe[i], g.peripheral[i] = k * k, 2 * k * math.min(k, STRIPE), #grid * #grid
    for _, name in ipairs(MIXERS) do g.macs[name][i] = g[name][i] end
  end
end

--- A whole network, all of whose kernels become one of that size: millions of parameters, thousands of millions of
-- multiply-adds.
local function model_growth(g, o)
  g.unit, g.macs_unit, g.model = "M params", "G MACs", true
  local spec = type(o.model) == "table" and o.model or options.call(models.spec, o.model)
  for i, k in ipairs(g.kernels) do
    local kernels = {}
    for stage = 1, #spec.depths do kernels[stage] = k end
    for _, name in ipairs(MIXERS) do
      local count = models.count(spec, { mixer = name, kernels = kernels, radius = o.radius, base = o.base,
        rule = o.rule, position = "off", small_kernel = name == "stripe" and math.min(k, STRIPE) or 0 },
        { image_size = o.image_size })
      g[name][i], g.macs[name][i] = count.params / 1e6, count.macs_run / 1e9
    end
  end
end

--- Parameters and multiply-adds against the kernel's side: dense k x k, two crossed stripes of k x 5 (SLaK), peripheral
-- k' x k' (PeLK, figures 2 and 6). Of one channel: weights, and products a pixel of the output, which are as many (the
-- peripheral kernel's rectangles cost additions besides). Of a whole network (model): parameters in millions, and
-- multiply-adds in thousands of millions as pelk runs them ("run" of m:count: what cannot reach the map is left out).
-- @string[opt] path of a chart: parameters left, multiply-adds right
-- @tab[opt] given kernels={7,13,31,51,101,151}, radius=2, base=2, rule="truncate"; model: a preset's name, or a table
-- of options, all of whose kernels are replaced (without position maps; stripes keep SLaK's 5x5 beside them);
-- image_size=224; title
-- @treturn table {kernels, dense, stripe, peripheral, macs = {dense, stripe, peripheral}}; prints. nil, message when
-- the chart fails.
-- @usage print(viz.growth("growth.png", { model = "convnext_tiny" }))
function costs.growth(path, given)
  local o = options.read("viz.growth", given, growth_rules)
  local g = setmetatable({ kernels = o.kernels or { 7, 13, 31, 51, 101, 151 }, macs = {} }, Growth)
  for _, name in ipairs(MIXERS) do g[name], g.macs[name] = {}, {} end
  if o.model then model_growth(g, o) else channel_growth(g, o) end
  if not path then return g end
  local function panel(part, label)
    local list = { ylabel = label }
    for i, name in ipairs(MIXERS) do list[i] = { x = g.kernels, y = part[name], title = name } end
    return list
  end
  local labels = o.model and { "parameters, millions", "multiply-adds, 10^9" }
    or { "weights a channel", "products a pixel and channel" }
  local ok, message = plot({ panel(g, labels[1]), panel(g.macs, labels[2]) }, path, { xlabel = "kernel side",
    logy = not o.model, title = o.title, width = 1100, height = 420 })
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
