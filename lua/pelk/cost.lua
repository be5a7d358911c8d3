--- What a model costs: m:count(). Counted from shapes alone, so any model at any size costs a moment.
local core = require("pelk.core")
local options = require("pelk.options")

local cost = {}

cost.rules = {
  image_size = { "integer|table", 224, 1 },
  channels = { "integer", nil, 1 },
  batch = { "integer", 1, 1 },
  input = { "table" },
}

--- 12345678 as "12,345,678".
function cost.thousands(n)
  local text = ("%d"):format(n)
  local out = text:reverse():gsub("(%d%d%d)", "%1,"):reverse()
  return (out:gsub("^,", ""))
end

--- 1430000000 as "1.430 G", 12345 as "0.012 M".
function cost.short(n)
  if n == 0 then return "-" end
  if n >= 1e9 then return ("%.3f G"):format(n / 1e9) end
  return ("%.3f M"):format(n / 1e6)
end

--- Channels that m takes: what its first layer with channels says, or 3.
local function channels_of(m)
  for _, child in ipairs(m:modules()) do
    local own = child.module:options()
    for _, n in ipairs { own.in_channels or 0, own.channels or 0 } do -- 0: as many as something else says
      if n > 0 then return n end
    end
  end
  return 3
end

local function side(owner, value, what)
  local n = math.tointeger(value)
  if not n or n < 1 then
    options.raise(("%s: %s, got %s"):format(owner, what or "image_size must be a whole number from 1 on, or {h, w}",
      tostring(value)))
  end
  return n
end

--- The input's shape that the options ask for: input itself, or {batch, h, w, channels} from image_size.
function cost.input(owner, m, o)
  if o.input then
    local shape = {}
    for i, n in ipairs(o.input) do shape[i] = side(owner, n, "input must be a list of whole numbers from 1 on") end
    return shape
  end
  local h, w = o.image_size, o.image_size
  if type(h) == "table" then
    if #h ~= 2 then options.raise(("%s: image_size must be n or {h, w}, got a list of %d"):format(owner, #h)) end
    h, w = h[1], h[2]
  end
  return { o.batch, side(owner, h), side(owner, w), o.channels or channels_of(m) }
end

--- Counts of every module for an input of that shape, in tree order, as core.count gives them; params, weights and
-- zeros are sums over the module and all below it.
function cost.rows(m, input, density)
  local rows = options.call(core.count, m, input, density)
  local open = {}
  for i = #rows, 1, -1 do -- from the leaves up: a row's children are the rows behind it that are one deeper
    local row = rows[i]
    row.params, row.weights, row.zeros = row.own_params, row.own_weights, row.own_zeros
    local below = open[row.depth + 1] or {}
    for _, child in ipairs(below) do
      for _, key in ipairs({ "params", "weights", "zeros" }) do row[key] = row[key] + child[key] end
    end
    open[row.depth + 1] = nil
    open[row.depth] = open[row.depth] or {}
    table.insert(open[row.depth], row)
  end
  return rows
end

local Count = {}
Count.__index = Count

local macs = {
  { "macs_paper", "paper", "all taps, padding included, times the density of the weights" },
  { "macs_dense", "dense", "all taps, padding included" },
  { "macs_in_image", "in image", "taps inside the image" },
  { "macs_run", "run", "products that pelk executes" },
}

function Count:__tostring()
  local dense = self.params_nonzero == self.params
  local lines = {
    ("parameters    %14s"):format(cost.thousands(self.params)),
    ("  not zero    %14s%s"):format(cost.thousands(self.params_nonzero),
      self.density and not dense and ("   at density %g"):format(self.density) or ""),
    ("multiply-adds at input {%s}"):format(table.concat(self.input, ",")),
  }
  for _, entry in ipairs(macs) do
    lines[#lines + 1] = ("  %-11s %14s   %s"):format(entry[2], cost.short(self[entry[1]]), entry[3])
  end
  return table.concat(lines, "\n")
end

--- The totals of rows of cost.rows.
function cost.totals(rows, input, density)
  local all = rows[1]
  local nonzero = density and all.params - (1 - density) * all.weights or all.params - all.zeros
  local count = { params = all.params, params_nonzero = math.floor(nonzero + 0.5), density = density, input = input }
  for _, entry in ipairs(macs) do count[entry[1]] = math.floor(all[entry[1]] + 0.5) end
  return setmetatable(count, Count)
end

local count_rules = { density = { "number", nil, 0 } }
for name, rule in pairs(cost.rules) do count_rules[name] = rule end

--- Parameters and multiply-adds of a model, without running it.
--
-- Multiply-adds are those of convolutions, linear layers and matrix products; norms, activations, biases and box sums
-- are not counted, as in the papers. Four figures, never to be confused: `macs_paper` (all taps of the expanded kernel,
-- padding included, times the density: the convention that reproduces the FLOPs that PeLK and SLaK print), `macs_dense`
-- (all taps), `macs_in_image` (taps inside the image), `macs_run` (the products that pelk's kernels execute: k'^2
-- instead of k^2). `params_nonzero`: weights of convolutions and linear layers times the density; norms, biases and
-- position maps whole.
-- @tparam Module m
-- @tab[opt] given image_size=224 (n or {h, w}); density (0 to 1, of all weights; without it what is not zero, or not
-- masked, is counted layer by layer); channels (of the image; without it what the first layer takes); batch=1;
-- input (a whole shape instead, for models of anything but images)
-- @treturn table {params, params_nonzero, macs_paper, macs_dense, macs_in_image, macs_run}, whole numbers; prints as a
-- table
-- @raise for options that make no sense and inputs that the model does not take
-- @usage print(pelk.models.create("pelk_tiny"):count { image_size = 224, density = 0.6 })
function cost.count(m, given)
  options.check_module("count", m)
  local o = options.read("count", given, count_rules)
  if o.density and o.density > 1 then options.raise(("count: density must be 0 to 1, got %s"):format(o.density)) end
  local input = cost.input("count", m, o)
  return cost.totals(cost.rows(m, input, o.density), input, o.density)
end

return cost
