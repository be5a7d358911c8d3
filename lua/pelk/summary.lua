--- What a model is made of and what its parts cost: m:summary(), m:profile(x).
local core = require("pelk.core")
local cost = require("pelk.cost")
local options = require("pelk.options")
local outline = require("pelk.outline")
local show = require("pelk.show")

local Summary = {}
Summary.__index = Summary

local function shape_text(shape) return shape and "{" .. table.concat(shape, ",") .. "}" or "-" end

--- The kernel in a layer's own description, "46, kernel 51, grid 9,8,..": what is before it, the kernel.
local function split_kernel(text)
  local before, kernel = text:match("^(.-),? ?kernel (.*)$")
  return before or text, kernel
end

--- The kernels of a line: its own, or those of the layers that are not printed below it.
local function kernels_of(line, found)
  local _, own = split_kernel(line.text)
  found = found or {}
  if own and not found[own] then
    found[own] = true
    found[#found + 1] = own
  end
  for _, child in ipairs(line.children) do kernels_of(child, found) end
  return found
end

local function kind_of(line)
  local text = split_kernel(line.text)
  local kind = text ~= "" and ("%s(%s)"):format(line.class, text) or line.class
  return line.copies > 1 and ("%d x %s"):format(line.copies, kind) or kind
end

local columns = {
  { "module", function(line) return ("  "):rep(line.level) .. line.name end },
  { "kind", kind_of },
  { "kernel, grid", function(line, open) return open and (select(2, split_kernel(line.text)) or "")
    or table.concat(kernels_of(line), " + ") end },
  { "output", function(line) return shape_text(line.shape) end },
  { "parameters", function(line) return cost.thousands(line.params) end },
  { "MACs run", function(line) return cost.short(line.macs_run) end },
}
local timed_columns = {
  { "ms", function(line) return ("%.3f"):format(line.seconds * 1e3) end },
  { "share", function(line, _, all) return ("%.1f %%"):format(100 * line.seconds / all.seconds) end },
}

--- Lines of cells, down to the depth.
local function cells_of(self)
  local wanted = table.move(columns, 1, #columns, 1, {})
  if self.measured then table.move(timed_columns, 1, #timed_columns, #wanted + 1, wanted) end
  local cells, root = { {} }, outline.fold(self)
  for i, column in ipairs(wanted) do cells[1][i] = column[1] end
  local function add(line)
    local open, row = line.level < self.depth, {}
    for i, column in ipairs(wanted) do row[i] = column[2](line, open, root) end
    cells[#cells + 1] = row
    if not open then return end
    for _, child in ipairs(line.children) do add(child) end
  end
  add(root)
  return cells
end

function Summary:__tostring()
  local lines = show.columns(cells_of(self), 3)
  table.insert(lines, 2, ("-"):rep(utf8.len(lines[1])))
  if self.measured then
    lines[#lines + 1] = ("%.3f ms a forward at input %s, %d threads, the fastest of %d"):format(self[1].seconds * 1e3,
      shape_text(self.input), core.threads(), self.repeats)
  end
  lines[#lines + 1] = "\n" .. tostring(self.count)
  return table.concat(lines, "\n")
end

--- Seconds of every row: of the fastest of some forwards of x, after one that warms caches and pools.
local function measure(m, x, rows, repeats)
  local best = options.call(core.profile, m, x)
  for i = 1, repeats do
    local run = options.call(core.profile, m, x)
    if i == 1 or run[1].seconds < best[1].seconds then best = run end
  end
  local seconds = {}
  for _, row in ipairs(best) do seconds[row.path] = row.seconds end
  for _, row in ipairs(rows) do row.seconds = seconds[row.path] or 0 end
end

--- The rows of m for that input; x: to measure with it too.
local function summarise(m, input, x, o)
  local rows = cost.rows(m, input)
  if x then measure(m, x, rows, o.repeats) end
  for _, row in ipairs(rows) do row.macs = row.macs_run end
  rows.count = cost.totals(rows, input)
  rows.params, rows.macs, rows.input = rows.count.params, rows.count.macs_run, input
  rows.measured, rows.repeats, rows.depth = x ~= nil, o.repeats, o.depth
  return setmetatable(rows, Summary)
end

local summary = {}

local rules = { measure = { "boolean", false }, depth = { "integer", 4, 0 }, repeats = { "integer", 3, 1 } }
local profile_rules = { depth = rules.depth, repeats = rules.repeats }
for name, rule in pairs(cost.rules) do rules[name] = rule end

--- A table of all modules: name, kind, kernel and grid, output shape, parameters, multiply-adds, time when measured.
-- Prints as one; blocks of one kind that follow each other share a line, whose figures are the sums over them.
-- @tparam Module m
-- @tab[opt] given image_size=224 (n or {h, w}), batch=1, channels, input (as for count), depth=4 (how deep to print),
-- measure=false: true runs the model and gives times, repeats=3 (the fastest counts)
-- @treturn table rows {path, class, text, depth, shape, params, macs, macs_paper, macs_dense, macs_in_image, macs_run,
-- seconds}; params, macs and count of the whole. `macs` is macs_run: a peripheral kernel costs its shared weights, not
-- its taps
-- @raise for options that make no sense and inputs that the model does not take
-- @usage print(model:summary { image_size = 28, measure = true })
function summary.summary(m, given)
  options.check_module("summary", m)
  local o = options.read("summary", given, rules)
  local input = cost.input("summary", m, o)
  return summarise(m, input, o.measure and core.zeros(input) or nil, o)
end

--- Where the time of a forward goes, module by module, measured with images of yours.
-- @tparam Module m run in evaluation mode, without gradients; its modes come back
-- @tparam Tensor x what it takes
-- @tab[opt] given depth=4 (how deep to print), repeats=3 (the fastest counts)
-- @treturn table as summary gives it, measured; each row has its share of the time too
-- @raise for what is no tensor and inputs that the model does not take
-- @usage print(model:profile(pelk.randn { 1, 224, 224, 3 }))
function summary.profile(m, x, given)
  options.check_module("profile", m)
  if type(x) ~= "userdata" or getmetatable(x) ~= "pelk.Tensor" then
    options.raise("profile: wants a tensor to run the model with, got " .. type(x))
  end
  local o = options.read("profile", given, profile_rules)
  local rows = summarise(m, x:shape(), x, o)
  for _, row in ipairs(rows) do row.share = row.seconds / rows[1].seconds end
  return rows
end

return summary
